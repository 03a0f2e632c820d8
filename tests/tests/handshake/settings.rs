//! What the host's settings let cookies do.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gateway_tests::lab::{Flood, Gateway, Lab, SERVER_V4, Template, alone, require_lab};

use super::{PATIENCE, config, ends, forged, keeps_options, requests, warm_up};

/// What the host's settings allow, and what the gateway says of it.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn settings_of_the_host_are_kept_to() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway =
        Gateway::start(&lab, &config("always").replace("set_sysctls = true", "set_sysctls = false"))?;
    let answered =
        || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie"));
    let warned = |text: &str| Ok::<_, anyhow::Error>(gateway.done(&["status"])?.contains(text));
    warm_up(&lab, &nginx)?;
    // The helper makes no cookies before the queue is full: SYNs go the usual way.
    requests(&lab, &nginx, SERVER_V4.into(), 10)?;
    ensure!(answered()? == 0 && warned("tcp_syncookies=2")? && warned("tcp_timestamps=2")?);
    // Cookies, but none that keep options: the client must not be told of any.
    lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "2")])?;
    gateway.done(&["reload"])?;
    requests(&lab, &nginx, SERVER_V4.into(), 10)?;
    ensure!(answered()? >= 10 && !warned("tcp_syncookies=2")? && warned("tcp_timestamps=2")?);
    let stream = lab.client.enter(|| TcpStream::connect((SERVER_V4, 443)))??;
    let port = stream.local_addr()?.port().to_string();
    let shown = lab.server.run("ss", &["-Htino", "state", "established", "dport", "=", &port])?;
    ensure!(!shown.contains(" ts ") && !shown.contains("sack") && !shown.contains("wscale"), "{shown}");
    lab.server.sysctl(&[("net/ipv4/tcp_timestamps", "2")])?;
    gateway.done(&["reload"])?;
    requests(&lab, &nginx, SERVER_V4.into(), 10)?;
    ensure!(!warned("tcp_timestamps=2")?);
    keeps_options(&lab, SERVER_V4.into())
}

/// The daemon changes the host's settings when a SYN flood begins, and `stop` puts them back; so does a daemon that starts after one
/// was killed.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn settings_are_changed_for_a_flood_alone() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "1"), ("net/ipv4/tcp_timestamps", "1")])?;
    let mut gateway = Gateway::start(&lab, &config("auto"))?;
    let settings = || {
        let read = |name| lab.server.run("cat", &[&format!("/proc/sys/net/ipv4/{name}")]);
        Ok::<_, anyhow::Error>(
            [read("tcp_syncookies")?, read("tcp_timestamps")?].map(|text| text.trim().to_owned()),
        )
    };
    warm_up(&lab, &nginx)?;
    ensure!(settings()? == ["1", "1"], "changed without a flood: {:?}", settings()?);
    ensure!(!gateway.done(&["status"])?.contains("counts as off"));
    let (from, to) = ends(false);
    let flooding = lab.flood(&forged(Template::syn(from, to, (4_000, 443))?, false, 50_000, 5))?;
    let start = Instant::now();
    while settings()? != ["2", "2"] {
        ensure!(start.elapsed() < PATIENCE, "not changed in a flood: {:?}", settings()?);
        thread::sleep(Duration::from_millis(20));
    }
    println!("changed {:?} after the flood's begin", start.elapsed());
    flooding.wait()?;
    let answered = gateway.metrics()?.packets(lab.attack_side(), "tx", "syn_cookie");
    ensure!(answered != 0, "no SYN was answered");
    // Cookies are out, so the next daemon leaves the settings, and knows what they were.
    gateway.kill()?;
    gateway.run()?;
    ensure!(settings()? == ["2", "2"], "put back while cookies are out: {:?}", settings()?);
    keeps_options(&lab, SERVER_V4.into())?;
    gateway.done(&["stop"])?;
    let start = Instant::now();
    while settings()? != ["1", "1"] {
        ensure!(start.elapsed() < PATIENCE, "not put back: {:?}", settings()?);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `auto` answers no SYN while the kernel would make a cookie for some of them only, and says so.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn auto_is_off_where_not_every_syn_gets_a_cookie() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "1")])?;
    let gateway = Gateway::start(&lab, &config("auto").replace("set_sysctls = true", "set_sysctls = false"))?;
    let answered =
        || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.attack_side(), "tx", "syn_cookie"));
    let warned = || Ok::<_, anyhow::Error>(gateway.done(&["status"])?.contains("counts as off"));
    warm_up(&lab, &nginx)?;
    let (from, to) = ends(false);
    let flood = |frames| {
        let flood = forged(Template::syn(from, to, (4_000, 443))?, false, 20_000, 30);
        Ok::<_, anyhow::Error>(Flood { frames: Some(frames), ..flood })
    };
    // Enough that the listener's queue is full, and the kernel's helper would begin.
    lab.flood(&flood(20_000)?)?.wait()?;
    ensure!(answered()? == 0 && warned()?, "{} answered", answered()?);
    lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "2")])?;
    gateway.done(&["reload"])?;
    ensure!(!warned()?, "{}", gateway.done(&["status"])?);
    lab.flood(&flood(20_000)?)?.wait()?;
    // How many depends on how fast the machine sends: `auto` begins above a rate.
    ensure!(answered()? != 0, "no SYN was answered");
    Ok(())
}
