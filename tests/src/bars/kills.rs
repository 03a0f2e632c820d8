//! Deaths at random moments: what was answered as written is there, and the record verifies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use serde_json::Value;

use super::Scale;
use crate::lab::{Flood, Gateway, Lab, Pace, SERVER_V4, Sources, Template, await_that};

const PATIENCE: Duration = Duration::from_secs(60);
/// Deaths, at full length and briefly.
const DEATHS: u32 = 200;
const FEW: u32 = 4;
/// How long a daemon lives at most before it is killed, in milliseconds.
const LIFE: u64 = 1_500;

/// What is known of the bans that were asked for: the last answer about each, if it was sure.
#[derive(Default)]
struct Asked {
    sure: BTreeMap<String, bool>,
}

/// Under a flood a daemon is killed again and again while bans come and go. After each death the next one starts, and has every
/// ban that an earlier one has answered as written.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn kills(scale: &Scale) -> Result<()> {
    let deaths = if *scale == Scale::FULL { DEATHS } else { FEW };
    let lab = Lab::without_answers()?;
    let mut gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let template = Template::syn([198, 18, 0, 9].into(), SERVER_V4.into(), (4_000, 443))?;
    let flood = Flood {
        sources: Sources::Fixed,
        pace: Pace::Bursts(20_000),
        duration: Duration::from_secs(3_600),
        ..Flood::new(template)
    };
    let flooding = lab.flood(&flood)?;
    let (mut asked, mut number, mut changes) = (Asked::default(), 0_u32, 0_u32);
    for death in 1..=deaths {
        let life = Duration::from_millis(rand::rng().random_range(0..LIFE));
        let dies = AtomicBool::new(false);
        thread::scope(|scope| {
            let (gateway, dies) = (&gateway, &dies);
            let asking = scope.spawn(move || {
                let mut answers = Vec::new();
                let mut number = number;
                while !dies.load(Ordering::Relaxed) {
                    number += 1;
                    // Each third one is about an address that was asked for before.
                    let [.., high, low] = (number / 3).to_be_bytes();
                    let address = format!("10.7.{high}.{low}");
                    let verb = if number % 3 == 2 { "del" } else { "add" };
                    let output = gateway.cli(&["block", verb, &address, "--json"])?;
                    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
                    let is_sure = answer.is_some_and(|answer| answer["durable"] == true);
                    answers.push((address, verb == "add", is_sure && output.status.success()));
                }
                anyhow::Ok((number, answers))
            });
            thread::sleep(life);
            let pid = gateway.pid()?;
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
            dies.store(true, Ordering::Relaxed);
            let (last, answers) = asking.join().ok().context("the one who asks")??;
            number = last;
            for (address, is_banned, is_sure) in answers {
                changes += 1;
                if is_sure {
                    asked.sure.insert(address, is_banned);
                } else {
                    // It may have been done, or not.
                    asked.sure.remove(&address);
                }
            }
            anyhow::Ok(())
        })?;
        gateway.kill()?;
        let began = Instant::now();
        gateway.run().with_context(|| format!("after death {death}"))?;
        let blocked: Vec<String> =
            gateway.blocked()?.iter().filter_map(|row| row["prefix"].as_str().map(str::to_owned)).collect();
        for (address, is_banned) in &asked.sure {
            let has = blocked.contains(address);
            ensure!(has == *is_banned, "after death {death} {address} is banned: {has}, not {is_banned}");
        }
        ensure!(began.elapsed() < PATIENCE, "a start takes {:.1?}", began.elapsed());
    }
    let report = flooding.stop()?;
    await_that("the record has all of it", PATIENCE, || {
        let rows = gateway.done(&["audit", "query", "--json", "--kind", "start", "--limit", "1000"])?;
        Ok(rows.lines().count() >= deaths as usize)
    })?;
    let verified = gateway.done(&["audit", "verify"])?;
    ensure!(verified.contains("are as they were written"), "{verified}");
    println!(
        "kills: {deaths} deaths under a flood of {} packets, {changes} changes asked, {} known for sure, none lost; {}",
        report.sent,
        asked.sure.len(),
        verified.lines().next().unwrap_or_default()
    );
    Ok(())
}
