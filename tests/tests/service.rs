//! The gateway as a service: what its unit promises, and what a service manager is told.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, await_that, require_lab};
use nix::sys::signal::{Signal, kill};

const UNIT: &str = include_str!("../../packaging/gateway.service");
const CONFIGURATION: &str = "../packaging/gateway.toml";

/// The words of a setting of the unit.
fn setting(name: &str) -> Vec<&'static str> {
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn the_units_capabilities_are_enough_and_the_manager_is_told() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::prepare(&lab, "mode = \"enforce\"\n", &["--on-exit", "detach"])?;
    let path = gateway.state("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(Duration::from_secs(30)))?;
    let capabilities = setting("CapabilityBoundingSet");
    ensure!(capabilities.len() == 4, "{capabilities:?}");
    let bounding: Vec<String> = capabilities
        .iter()
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    gateway.through(&format!(
        "if [ -z \"$NOTIFY_SOCKET\" ]; then\nexport NOTIFY_SOCKET='{}'\nexec setpriv --no-new-privs --inh-caps=-all \
         --bounding-set=-all,{} sh \"$0\" \"$@\"\nfi",
        path.display(),
        bounding.join(",")
    ))?;
    gateway.begin()?;
    let mut told = [0; 1024];
    let length =
        manager.recv(&mut told).context("nothing was told; is it up?").with_context(|| gateway.log())?;
    let first = String::from_utf8_lossy(&told[..length]).into_owned();
    ensure!(first.starts_with("READY=1\nSTATUS="), "{first}");
    // Ready is told only when it protects.
    let status = gateway.document(&["status", "--json"])?;
    ensure!(status["interfaces"][0]["attached"] == true, "{status}");
    let length = manager.recv(&mut told)?;
    ensure!(&told[..length] == b"WATCHDOG=1\n", "{:?}", String::from_utf8_lossy(&told[..length]));
    let held = fs::read_to_string(format!("/proc/{}/status", gateway.pid()?))?;
    let effective = held.lines().find_map(|line| line.strip_prefix("CapEff:")).context("no capabilities")?;
    let effective = u64::from_str_radix(effective.trim(), 16)?;
    ensure!(effective.count_ones() as usize == capabilities.len(), "it has {effective:x}");
    // All that it does goes with these: each kind of change, and the way off.
    for verb in [
        &["block", "add", "198.51.100.7"][..],
        &["block", "add", "198.51.100.0/24"],
        &["allow", "add", "192.0.2.9"],
        &["limit", "set", "default", "syn", "50/s"],
        &["mode", "monitor"],
        &["reload"],
    ] {
        gateway.done(verb)?;
    }
    let status = gateway.done(&["status"])?;
    ensure!(!status.contains("ermi") && !status.contains("EPERM"), "{status}");
    kill(gateway.pid()?, Signal::SIGTERM)?;
    await_that("the end is told", Duration::from_secs(10), || {
        let length = manager.recv(&mut told)?;
        Ok(&told[..length] == b"STOPPING=1\n")
    })?;
    Ok(())
}

/// systemd-analyze says nothing of a word that it does not know, so the settings are compared as they stand.
#[test]
fn the_unit_says_what_it_means() {
    assert_eq!(setting("CapabilityBoundingSet"), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_CHOWN"]);
    assert_eq!(setting("Type"), ["notify"]);
    assert_eq!(setting("ExecStart"), ["/usr/bin/gateway", "run", "--on-exit", "keep"]);
    assert_eq!(setting("ExecReload"), ["/usr/bin/gateway", "reload"]);
    assert_eq!(setting("SystemCallFilter"), ["@system-service", "bpf", "perf_event_open"]);
}

#[test]
fn the_packages_configuration_is_right_and_drops_nothing() {
    let config = gateway_user::config::Config::load(CONFIGURATION.as_ref()).unwrap();
    assert_eq!(config.mode, gateway_user::model::Mode::Monitor);
    assert!(config.warnings.problems.is_empty(), "{}", config.warnings);
}
