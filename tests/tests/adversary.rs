//! What an application reads of connections that are made by hand, with a real server and the real daemon.

use std::time::Instant;

use anyhow::{Result, ensure};
use gateway_tests::adversary::{CONFIG, Condition, Played, play, scenarios, table};
use gateway_tests::lab::{Gateway, Lab, alone, require_lab};

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn an_application_reads_a_hello_or_nothing() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let _gateway = Gateway::start(&lab, CONFIG)?;
    let scenarios = scenarios();
    let mut all = Vec::new();
    for condition in Condition::ALL {
        let start = Instant::now();
        let played = play(&lab, condition, &scenarios)?;
        println!("{condition:?}: {} played in {:.1} s", played.len(), start.elapsed().as_secs_f64());
        all.extend(played);
    }
    println!("{}", table(&all));
    let breaches: Vec<&Played> = all.iter().filter(|one| one.breach.is_some()).collect();
    for one in &breaches {
        println!("{}", line(one));
    }
    let unexcused = breaches.iter().filter(|one| !one.best_effort).count();
    ensure!(unexcused == 0, "{unexcused} of {} break the law", all.len());
    Ok(())
}

/// The scenarios are worth something: the law does not hold by itself.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_the_gate_applications_read_anything() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let _gateway = Gateway::start(&lab, &CONFIG.replace("enforce", "monitor"))?;
    // Some of each kind: who is honest there waits long for what another has taken the place of.
    let scenarios: Vec<_> = scenarios().into_iter().step_by(8).collect();
    let played = play(&lab, Condition::Usual, &scenarios)?;
    let breaches = played.iter().filter(|one| one.breach.is_some()).count();
    println!("without the gate {breaches} of {} break the law", played.len());
    ensure!(breaches > played.len() / 3, "only {breaches} of {} break the law", played.len());
    Ok(())
}

fn line(played: &Played) -> String {
    let Played { name, condition, breach, best_effort, .. } = played;
    let read: Vec<String> = played.read.iter().map(|bytes| show(bytes)).collect();
    format!(
        "{}{condition:?}, IPv{}: {name}: {}; read {}",
        if *best_effort { "best effort: " } else { "" },
        if played.v6 { 6 } else { 4 },
        breach.as_deref().unwrap_or_default(),
        read.join(", then ")
    )
}

fn show(bytes: &[u8]) -> String {
    let start: Vec<String> = bytes.iter().take(14).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes: {}", bytes.len(), start.join(" "))
}
