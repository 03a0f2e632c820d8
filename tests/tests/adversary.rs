//! What an application reads of connections that are made by hand, with a real server and the real daemon.

use anyhow::{Result, ensure};
use gateway_tests::adversary::{Condition, Played, play, scenarios};
use gateway_tests::lab::{Gateway, Lab, is_privileged};

/// TLS alone on all ports that scenarios go to.
const CONFIG: &str = "mode = \"enforce\"\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n\
    [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [\"9000-9099\"]\nrequire = \"tls\"\n";

#[test]
fn an_application_reads_a_hello_or_nothing() -> Result<()> {
    if !is_privileged("an_application_reads_a_hello_or_nothing") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let _gateway = Gateway::start(&lab, CONFIG)?;
    let scenarios = scenarios();
    let mut breaches = 0;
    for condition in Condition::ALL {
        let start = std::time::Instant::now();
        let played = play(&lab, condition, &scenarios)?;
        let (broken, kept): (Vec<&Played>, Vec<&Played>) =
            played.iter().partition(|one| one.breach.is_some());
        println!("{condition:?}: {} kept, {} broken, {:?}", kept.len(), broken.len(), start.elapsed());
        for one in &broken {
            println!("  {}", line(one));
        }
        breaches += broken.len();
    }
    ensure!(breaches == 0, "{breaches} breaches of {} scenarios", scenarios.len());
    Ok(())
}

fn line(played: &Played) -> String {
    let read: Vec<String> = played.read.iter().map(|bytes| show(bytes)).collect();
    let breach = played.breach.as_deref().unwrap_or_default();
    format!("{} v{}: {breach}; read {read:?}", played.name, if played.v6 { 6 } else { 4 })
}

fn show(bytes: &[u8]) -> String {
    let start: Vec<String> = bytes.iter().take(14).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes: {}", bytes.len(), start.join(" "))
}
