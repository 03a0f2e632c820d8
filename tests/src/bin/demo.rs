//! The gateway at work: the same attacks on a real web server, first without it, then behind it.
//!
//! ```text
//! demo [--quick]
//! ```

#[path = "../demo/gateway.rs"]
mod gateway;
#[path = "../demo/plaintext.rs"]
mod plaintext;
#[path = "../demo/round.rs"]
mod round;
#[path = "../demo/table.rs"]
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use gateway_tests::lab::{Lab, missing};

use gateway::Gateway;
use round::{Guard, Load, Scene};

/// What a demo shows.
const WHOLE: Load = Load { honest: 100, plaintext: 40, flood_rate: 400_000 };
/// Half of it, for those in a hurry.
const QUICK: Load = Load { honest: 50, plaintext: 20, flood_rate: 200_000 };

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let load = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => WHOLE,
        ["--quick"] => QUICK,
        ["--help" | "-h"] => {
            println!("Shows the gateway at work in a network of namespaces.\n\nUsage: demo [--quick]");
            return Ok(ExitCode::SUCCESS);
        }
        _ => bail!("wants nothing, or --quick for half the load"),
    };
    if let Some(what) = missing() {
        bail!("the demo needs {what}");
    }
    show(load)
}

fn show(load: Load) -> Result<ExitCode> {
    let began = Instant::now();
    let tell = |what: &str| println!("[{:3.0} s] {what}", began.elapsed().as_secs_f64());
    tell("three network namespaces: a client, an attacker, and a server with nginx on port 443");
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    tell("first round: without the gateway");
    let guard = Guard::nothing(&lab)?;
    let without = Scene { lab: &lab, nginx: &nginx, guard: &guard, load, began }.play()?;
    drop(guard);
    tell("second round: `gateway run` in the server's namespace, on both of its interfaces");
    let guard = Guard::Gateway(Box::new(Gateway::start(&lab)?));
    let with = Scene { lab: &lab, nginx: &nginx, guard: &guard, load, began }.play()?;
    tell("done; this is what came of it:\n");
    table::print(&without, &with, load);
    if let Guard::Gateway(gateway) = &guard {
        println!("What the gateway dropped or answered itself, and why (`gateway status`):");
        for (reason, packets) in gateway.not_passed()?.iter().take(6) {
            println!("  {:>12} {reason}", table::count(*packets));
        }
    }
    let wrongs = table::wrongs(&with);
    for wrong in &wrongs {
        eprintln!("not as it must be: {wrong}");
    }
    Ok(if wrongs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
