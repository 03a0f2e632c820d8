//! Hosts that share a /64 and have nothing to do with each other, in the lab.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use gateway_tests::lab::{
    self, ATTACKER_V6, Gateway, Lab, PlainListener, SERVER_V6, alone, await_that, require_lab,
};
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a few looks of the daemon's take.
const A_WHILE: Duration = Duration::from_millis(600);
const PLAIN: u16 = 9_100;
const GATED: u16 = 9_101;
/// What a source may have open.
const EACH: usize = 3;
/// A neighbour in the attacker's /64, and both as sources.
const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 1, 2);
const SOURCES: [&str; 2] = ["2001:db8:2::/120", "2001:db8:2::1:0/120"];

fn config() -> String {
    format!(
        "mode = \"enforce\"\n[limits]\nsyn = \"none\"\n\
         [[limits.network]]\nsources = [\"2001:db8:2::/64\"]\nipv6_prefix = 120\n\
         [[service]]\nname = \"plain\"\nprotocol = \"tcp\"\nports = [{PLAIN}]\nconnections = {EACH}\n\
         [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [{GATED}]\nrequire = \"tls\"\n\
         [ban]\nstrikes = 5\nwithin = \"60s\"\nfirst = \"1h\"\n"
    )
}

/// One of two has all the connections that it may have, and is banned; the other, of the same /64, is not hurt.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn each_counts_by_itself() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    lab.attacker.ip(&[format!("address add {NEIGHBOUR}/128 dev uplink nodad")])?;
    lab.server.ip(&[format!("route add {NEIGHBOUR} via {ATTACKER_V6} dev {}", lab.attack_side())])?;
    let [plain, gated] = [PLAIN, GATED].map(|port| SocketAddr::new(SERVER_V6.into(), port));
    let listeners = (PlainListener::start(&lab.server, plain)?, PlainListener::start(&lab.server, gated)?);
    let gateway = Gateway::start(&lab, &config())?;
    let begin = |source: Ipv6Addr, server, count: usize| -> Result<Vec<TcpStream>> {
        lab.attacker.enter(|| (0..count).map(|_| lab::begin(IpAddr::from(source), server)).collect())?
    };
    let open = |port| lab::established(&lab.server, port, None);

    let mut streams = begin(ATTACKER_V6, plain, 3 * EACH)?;
    await_that("one has what it may have", PATIENCE, || Ok(open(PLAIN)? == EACH))?;
    thread::sleep(A_WHILE);
    streams.extend(begin(NEIGHBOUR, plain, EACH)?);
    await_that("its neighbour has as many", PATIENCE, || Ok(open(PLAIN)? == 2 * EACH))?;
    streams.extend(begin(NEIGHBOUR, plain, EACH)?);
    thread::sleep(A_WHILE);
    ensure!(open(PLAIN)? == 2 * EACH, "{} connections are open", open(PLAIN)?);

    let banned = || -> Result<Vec<String>> {
        let rows = gateway.blocked()?;
        Ok(rows.iter().filter_map(|row| row["prefix"].as_str().map(str::to_owned)).collect())
    };
    await_that("plaintext is banned", PATIENCE, || {
        for mut stream in begin(ATTACKER_V6, gated, 1)? {
            thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(!banned()?.is_empty())
    })?;
    ensure!(banned()? == SOURCES[..1], "banned: {:?}", banned()?);
    let before = open(GATED)?;
    let mut late = begin(ATTACKER_V6, gated, 1)?;
    late.extend(begin(NEIGHBOUR, gated, 1)?);
    await_that("the neighbour connects", PATIENCE, || Ok(open(GATED)? > before))?;
    thread::sleep(A_WHILE);
    ensure!(open(GATED)? == before + 1, "who is banned connects, too");

    let told: Value = gateway.document(&["sources", "--json"])?;
    let told = told.to_string();
    ensure!(SOURCES.iter().all(|source| told.contains(source)), "`sources` tells {told}");
    drop((late, streams, listeners));
    Ok(())
}
