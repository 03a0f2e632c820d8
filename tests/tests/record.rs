//! Changes through every door, as the record tells of them afterwards.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, await_that, require_lab};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

/// How long a row may take into the record.
const PATIENCE: Duration = Duration::from_secs(30);

fn rows(gateway: &Gateway<'_>) -> Result<Vec<Value>> {
    gateway.rows(&["audit", "query", "--json", "--limit", "10000"])
}

/// Whether there is a row by this actor that says this of a thing.
fn tells(rows: &[Value], actor: &str, what: &str, target: &str, to: &str) -> bool {
    rows.iter().any(|row| {
        let change = &row["body"]["change"];
        let is_by =
            row["actor"].as_str().is_some_and(|by| by == actor || by.starts_with(&format!("{actor} (")));
        is_by
            && change["what"] == what
            && change["target"].as_str().unwrap_or_default() == target
            && change["to"].as_str().is_some_and(|text| text.contains(to))
    })
}

/// What is asked for, and what the record is to say of it.
const DOORS: [(&[&str], [&str; 3]); 9] = [
    (&["block", "add", "192.0.2.7", "--reason", "scan"], ["block", "192.0.2.7", "banned"]),
    (&["block", "del", "192.0.2.7"], ["block", "192.0.2.7", "not banned"]),
    (&["block", "add", "198.51.100.0/24", "--for", "2"], ["block", "198.51.100.0/24", "banned"]),
    (&["allow", "add", "192.0.2.8"], ["allow", "192.0.2.8", "trusted"]),
    (&["allow", "del", "192.0.2.8"], ["allow", "192.0.2.8", "not trusted"]),
    (&["limit", "set", "default", "syn", "50/s", "--for", "2"], ["limit", "default syn", "50/s, burst 50"]),
    (&["limit", "set", "default", "udp", "none"], ["limit", "default udp", "no limit"]),
    (&["limit", "unset", "default", "udp"], ["limit", "default udp", "5k/s"]),
    (&["mode", "off", "--for", "2"], ["mode", "", "off"]),
];

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn every_change_by_every_door_has_its_actor() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    for (verb, _) in DOORS {
        gateway.done(verb)?;
    }
    // The ends that were set come.
    thread::sleep(Duration::from_secs(3));
    gateway.write_config("mode = \"monitor\"\n")?;
    let said = gateway.done(&["reload"])?;
    ensure!(said.contains("configuration mode: enforce → monitor"), "the reload does not say it: {said}");
    gateway.write_config(
        "mode = \"enforce\"\n[[class]]\nname = \"partners\"\nsources = [\"203.0.113.0/24\"]\n",
    )?;
    kill(gateway.pid()?, Signal::SIGHUP)?;
    let is_there =
        |actor: &str, [what, target, to]: [&str; 3]| Ok(tells(&rows(&gateway)?, actor, what, target, to));
    await_that("the reload by SIGHUP is on record", PATIENCE, || {
        is_there("SIGHUP", ["configuration", "class/partners", "there"])
    })?;
    for (verb, fact) in DOORS {
        ensure!(is_there("root", fact)?, "{verb:?} is not on record: {:#?}", rows(&gateway)?);
    }
    for fact in [
        ["block", "198.51.100.0/24", "not banned"],
        ["limit", "default syn", "200/s"],
        ["mode", "", "enforce"],
    ] {
        ensure!(is_there("timer", fact)?, "the end of {fact:?} is not on record: {:#?}", rows(&gateway)?);
    }
    ensure!(is_there("root", ["configuration", "mode", "monitor"])?, "the reload is not on record");
    let has_actor = |row: &Value| row["actor"].is_string() || row["kind"] == "drops";
    ensure!(rows(&gateway)?.iter().all(has_actor), "a row has no actor");
    let before = rows(&gateway)?.len();

    // A daemon that is killed loses nothing of it, and the next one goes on.
    gateway.kill()?;
    gateway.run()?;
    await_that("the second start is on record", PATIENCE, || {
        Ok(rows(&gateway)?.iter().filter(|row| row["kind"] == "start").count() == 2)
    })?;
    let all = rows(&gateway)?;
    let ids: Vec<u64> = all.iter().filter_map(|row| row["id"].as_u64()).collect();
    ensure!(ids.len() > before && ids.iter().copied().eq(0..ids.len() as u64), "rows are missing: {ids:?}");
    let verified = gateway.done(&["audit", "verify"])?;
    ensure!(verified.contains("are as they were written"), "{verified}");
    Ok(())
}

/// The folder of state is one daemon's, whatever its control socket is called.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_second_daemon_on_the_same_folder_does_not_start() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let socket = gateway.state("other.sock");
    let socket = socket.to_str().context("a name")?;
    let second = gateway.cli(&["--socket", socket, "run", "--interface", lab.interfaces()[0]])?;
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(second.status.code() == Some(1) && said.contains("another gateway keeps its state"), "{said}");
    ensure!(fs::exists(gateway.state("state.db"))?, "the state is gone");
    gateway.done(&["status"]).map(drop)
}
