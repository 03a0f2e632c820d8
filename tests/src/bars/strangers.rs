//! Who comes for the first time, in a flood of more SYNs than cookies answer.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::Scale;
use super::cookies::{config, text, warm_up};
use super::flood::reasons;
use crate::lab::{Flood, Gateway, Https, Lab, Outcome, Pace, RECEIVER};

/// Forged SYNs a second: far more than are answered, and not so many that the filter takes most of them for SYNs that come again.
const PACE: u64 = 1_600_000;
/// Strangers that have a request under way.
const AT_ONCE: u8 = 10;
/// How long a request may take: two SYNs a second apart, and one that found no room in a queue.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One request of each of many sources while SYNs are forged: all succeed, though most of the first SYNs are not answered.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn strangers(scale: &Scale) -> Result<()> {
    let lab = Lab::without_answers()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config("auto"))?;
    warm_up(&lab, &nginx)?;
    let sources = lab.add_clients(AT_ONCE * scale.seconds.min(20) as u8)?;
    lab.receive_on(RECEIVER)?;
    let flooding = lab.flood(&Flood::forged_syns(Pace::Smooth(PACE), Duration::from_secs(120))?)?;
    thread::sleep(Duration::from_secs(1));
    let https = Https { timeout: TIMEOUT, ..Https::new(&nginx) };
    let one_by_one = |sources: &[Ipv4Addr]| {
        sources.iter().try_fold(Outcome::default(), |mut all, &source| {
            all.add(Https { source: Some(source.into()), ..https.clone() }.run(&lab.attacker, 1)?);
            Ok::<_, anyhow::Error>(all)
        })
    };
    let outcome = thread::scope(|scope| {
        let parts = sources.chunks(sources.len().div_ceil(usize::from(AT_ONCE)));
        let runs: Vec<_> = parts.map(|part| scope.spawn(move || one_by_one(part))).collect();
        runs.into_iter().try_fold(Outcome::default(), |mut all, run| {
            all.add(run.join().map_err(|_| anyhow!("the requests panicked"))??);
            Ok::<_, anyhow::Error>(all)
        })
    })?;
    let report = flooding.stop()?;
    let longest = outcome.quantile(1.0).context("no request was answered")?;
    println!("strangers: {}, longest {longest:.1?}, flood {:.0}/s", text(&outcome), report.rate());
    let side = lab.attack_side();
    let metrics = gateway.metrics()?;
    let [answered, unanswered] = [("tx", "syn_cookie"), ("drop", "syn_unanswered")]
        .map(|(verdict, reason)| metrics.packets(side, verdict, reason));
    println!("strangers:   SYNs answered {answered}, not answered {unanswered}");
    if outcome.failed > 0 {
        reasons(&lab, &gateway)?;
    }
    ensure!(unanswered > answered, "most SYNs were answered: this shows nothing");
    ensure!(outcome.failed == 0, "{} failed: {:?}", outcome.failed, outcome.error);
    Ok(())
}
