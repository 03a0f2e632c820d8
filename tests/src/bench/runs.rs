//! Nanoseconds a packet by `BPF_PROG_TEST_RUN`: one frame again and again, so caches and branches are at their best.

use anyhow::{Result, ensure};
use gateway_common::abi::FOREVER;
use gateway_tests::kernel::apply;
use serde_json::{Value, json};

use crate::paths::{self, Path};
use crate::spread::Spread;
use crate::subject::{Baseline, gateway, gateway_run, test_run};

/// Frames of a run.
const FRAMES: u32 = 200_000;
/// Frames of the first run, that finds nothing in any cache.
const COLD: u32 = 100;
/// What XDP programs return.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// What the rounds of one path measured.
#[derive(Default)]
struct Measured {
    first: f64,
    net: Vec<f64>,
    gross: Vec<f64>,
    bare: Vec<f64>,
}

/// Measures all paths in so many rounds, prints them, and gives them for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "Nanoseconds a packet, BPF_PROG_TEST_RUN, {rounds} rounds of {FRAMES} frames, net of a bare XDP_DROP"
    );
    let mut kernel = gateway(vec![1])?;
    let mut bare = Baseline::load("drop")?;
    let paths = paths::all();
    let mut measured: Vec<Measured> = paths.iter().map(|_| Measured::default()).collect();
    // Round by round, so that what the machine does meanwhile falls on all alike.
    for round in 0..=rounds {
        for (path, measured) in paths.iter().zip(&mut measured) {
            apply(&mut kernel, &path.stand)?;
            path.banned.map_or(Ok(()), |source| kernel.ban(source, FOREVER))?;
            for frame in &path.before {
                gateway_run(&mut kernel, frame, 1)?;
            }
            let (first, _) = gateway_run(&mut kernel, &path.frame, COLD)?;
            let (gross, verdict) = gateway_run(&mut kernel, &path.frame, FRAMES)?;
            expect(path, verdict)?;
            path.banned.map_or(Ok(()), |source| kernel.unban(source))?;
            let (empty, _) = test_run(bare.program()?, &path.frame, FRAMES)?;
            if round == 0 {
                // The warm-up, and the one time that the first run was really the first.
                measured.first = first;
                continue;
            }
            measured.net.push(gross - empty);
            measured.gross.push(gross);
            measured.bare.push(empty);
        }
    }
    Ok(print(&paths, measured))
}

fn expect(path: &Path, verdict: u32) -> Result<()> {
    let expected = if path.drops { XDP_DROP } else { XDP_PASS };
    ensure!(verdict == expected, "`{}` ended with XDP action {verdict}, not {expected}", path.name);
    Ok(())
}

fn print(paths: &[Path], measured: Vec<Measured>) -> Value {
    println!("{:56}{:>20}{:>12}{:>14}", "", "net ns", "x bare", "first 100, ns");
    let mut rows = Vec::new();
    for (path, Measured { first, net, gross, bare }) in paths.iter().zip(measured) {
        let (net, gross, bare) = (Spread::of(net), Spread::of(gross), Spread::of(bare));
        let ratio = gross.median / bare.median.max(1.0);
        println!("{:56}{:>20}{ratio:>12.1}{first:>14.0}", path.name, net.text(0));
        rows.push(json!({
            "path": path.name,
            "net_ns": net.json(),
            "gross_ns": gross.json(),
            "bare_drop_ns": bare.json(),
            "ratio_to_bare_drop": ratio,
            "first_run_ns": first,
        }));
    }
    println!();
    Value::Array(rows)
}
