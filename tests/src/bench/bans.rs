//! What a ban costs whom: a table with one ban beside a table with a million, by the same frames.
//!
//! One frame again and again finds everything in caches. Frames of many sources, each shown once, find little: what they
//! cost includes the call for each of them, which is the same for all tables.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Result, ensure};
use gateway_common::{abi::FOREVER, source::KEY_V4};
use gateway_tests::builder::ip;
use gateway_tests::cases::SERVER;
use gateway_tests::kernel::apply;
use gateway_user::host::Stand;
use gateway_user::kernel::Kernel;
use serde_json::{Value, json};

use crate::{
    spread::Spread,
    subject::{gateway, gateway_run},
};

/// Frames of a run.
const FRAMES: u32 = 200_000;
/// Sources of a run that shows each once.
const SOURCES: u32 = 20_000;
/// Bans of the full table, from 10.0.0.0 on.
const MILLION: u32 = 1_000_000;
const FIRST: u32 = 0x0a00_0000;
/// An address that is not banned, and the first of many.
const OTHERS: u32 = 0x1000_0000;
/// A step through many addresses in no order that a cache could guess; prime.
const STEP: u32 = 611_953;
/// What XDP programs return.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Sources that are shown, and what becomes of them with one ban and with a million.
struct Row {
    name: &'static str,
    sources: fn(u32) -> u32,
    count: u32,
    verdicts: [u32; 2],
}

const ROWS: [Row; 4] = [
    Row { name: "a banned source", sources: |_| FIRST, count: 1, verdicts: [XDP_DROP, XDP_DROP] },
    Row { name: "a source that is not", sources: |_| OTHERS, count: 1, verdicts: [XDP_PASS, XDP_PASS] },
    Row {
        name: "20,000 sources, none banned, each once",
        sources: |index| OTHERS + index.wrapping_mul(STEP) % (1 << 24),
        count: SOURCES,
        verdicts: [XDP_PASS, XDP_PASS],
    },
    Row {
        name: "20,000 sources, of the million, each once",
        sources: |index| FIRST + 1 + index.wrapping_mul(STEP) % (MILLION - 1),
        count: SOURCES,
        verdicts: [XDP_PASS, XDP_DROP],
    },
];

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!("A packet among bans, BPF_PROG_TEST_RUN, {rounds} rounds, ns with the program's call");
    let (full, took) = loaded(MILLION)?;
    let mut kernels = [loaded(1)?.0, full];
    println!("{MILLION} bans written in {took:.2} s");
    println!("{:48}{:>20}{:>20}{:>8}", "", "one ban", "a million", "ratio");
    let mut rows = vec![json!({ "bans": MILLION, "load_seconds": took })];
    for row in &ROWS {
        let mut measured = [const { Vec::new() }; 2];
        // Round by round, so that what the machine does meanwhile falls on all alike; the first is the warm-up.
        for round in 0..=rounds {
            for (index, kernel) in kernels.iter_mut().enumerate() {
                let time = show(kernel, row, row.verdicts[index], round as u32)?;
                measured[index].extend((round != 0).then_some(time));
            }
        }
        let [one, million] = measured.map(Spread::of);
        let ratio = million.median / one.median.max(1.0);
        println!("{:48}{:>20}{:>20}{ratio:>8.2}", row.name, one.text(0), million.text(0));
        rows.push(json!({ "sources": row.name, "one_ns": one.json(), "million_ns": million.json(), "ratio": ratio }));
    }
    println!();
    Ok(Value::Array(rows))
}

/// A program with so many bans, and the seconds that it took to write them.
fn loaded(bans: u32) -> Result<(Kernel, f64)> {
    let mut kernel = gateway(vec![1])?;
    apply(&mut kernel, &Stand::new())?;
    let start = Instant::now();
    for index in 0..bans {
        kernel.ban(KEY_V4 | u64::from(FIRST + index), FOREVER)?;
    }
    Ok((kernel, start.elapsed().as_secs_f64()))
}

/// Nanoseconds a frame of a row's sources.
fn show(kernel: &mut Kernel, row: &Row, expected: u32, round: u32) -> Result<f64> {
    let frame = |source: u32| ip(&Ipv4Addr::from(source).to_string(), SERVER).udp(40_000, 53).build();
    let repeat = if row.count == 1 { FRAMES } else { 1 };
    let mut sum = 0.0;
    for index in 0..row.count {
        // Others in each round, so that none is in a cache from the last.
        let (time, verdict) = gateway_run(kernel, &frame((row.sources)(round * row.count + index)), repeat)?;
        ensure!(verdict == expected, "{}: XDP action {verdict}, not {expected}", row.name);
        sum += time;
    }
    Ok(sum / f64::from(row.count))
}
