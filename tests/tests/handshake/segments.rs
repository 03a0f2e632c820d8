//! The maximum segment size in an answer by a cookie is this host's own, as in an answer of its TCP.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::builder::hello;
use gateway_tests::lab::{
    ByHand, FLOOD_V4, FLOOD_V6, Gateway, Lab, PlainListener, SERVER_V4, SERVER_V6, Wire, alone, require_lab,
};

use super::{PATIENCE, servers, until};

const ANSWERED: u16 = 443;
const LEFT_ALONE: u16 = 9_000;
const CONFIG: &str = "mode = \"enforce\"\n[attach]\nset_sysctls = true\n\
    [[service]]\nname = \"answered\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nsyn_cookies = \"always\"\n\
    [[service]]\nname = \"alone\"\nprotocol = \"tcp\"\nports = [9000]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n";
/// More than a socket's buffers hold, so that its end proves that segments arrive.
const UPLOAD: usize = 8 << 20;

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_cookie_says_the_segments_that_this_host_takes() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let side = lab.attack_side().to_owned();
    lab.server.run("ip", &["link", "set", &side, "mtu", "1400"])?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let wire = Wire::open(&lab)?;
    let listeners: Vec<_> = servers()
        .into_iter()
        .flat_map(|server| [ANSWERED, LEFT_ALONE].map(|port| SocketAddr::new(server, port)))
        .map(|server| PlainListener::start(&lab.server, server))
        .collect::<Result<_>>()?;
    compare(&wire, &gateway, [1_360, 1_340], 1)?;
    // What a route says of its own counts, too.
    for family in ["-4", "-6"] {
        let route = lab.server.run("ip", &[family, "route", "show", "default"])?;
        let route = route.lines().next().context("the server has no default route")?;
        let change: Vec<&str> = [family, "route", "replace"]
            .into_iter()
            .chain(route.split_whitespace())
            .chain(["advmss", "1300"])
            .collect();
        lab.server.run("ip", &change)?;
    }
    gateway.done(&["reload"])?;
    compare(&wire, &gateway, [1_300, 1_300], 2)?;
    drop(listeners);
    Ok(())
}

/// Over IPv4 and IPv6 the program says what the host's TCP says, and that is so much.
fn compare(wire: &Wire, gateway: &Gateway<'_>, expected: [u16; 2], round: u16) -> Result<()> {
    let from = [IpAddr::from(FLOOD_V4), FLOOD_V6.into()];
    for ((server, from), expected) in servers().into_iter().zip(from).zip(expected) {
        let ask = |port: u16, own: u16| -> Result<u16> {
            let remote = SocketAddr::new(server, port);
            let mut hand =
                ByHand::new(wire, SocketAddr::new(from, 20_000 + 100 * round + own), remote, 7_000);
            let answer = hand.ask(&hand.syn())?;
            let hello = hello::tls13("gateway.test");
            hand.write(0, &[])?;
            hand.write(0, &hello)?;
            hand.acknowledged(hello.len() as i32)?;
            let [2, 4, high, low] = *answer.options.first_chunk().context("no segment size")? else {
                anyhow::bail!("{:?} does not begin with a segment size", answer.options);
            };
            Ok(u16::from_be_bytes([high, low]))
        };
        let kernels = ask(LEFT_ALONE, 0)?;
        ensure!(kernels == expected, "{server}: the host's TCP says {kernels}, not {expected}");
        let answered = || {
            Ok::<_, anyhow::Error>(
                gateway.metrics()?.sum("gateway_packets_total", &[("reason", "syn_cookie")]),
            )
        };
        let before = answered()?;
        let start = Instant::now();
        // Before it is known that connections end here, the host's TCP answers.
        for own in 1.. {
            ensure!(
                ask(ANSWERED, own)? == expected,
                "{server}: a cookie says another segment size than {expected}"
            );
            if answered()? != before {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "{server}: no cookie answers");
        }
    }
    Ok(())
}

/// A client with a larger MTU uploads to a host with a smaller one.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn uploads_reach_a_host_with_a_smaller_mtu() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    lab.server.run("ip", &["link", "set", lab.client_side(), "mtu", "1400"])?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    for server in [IpAddr::from(SERVER_V4), SERVER_V6.into()] {
        let server = SocketAddr::new(server, ANSWERED);
        let listener = PlainListener::start(&lab.server, server)?;
        for turn in 0..3 {
            let before = gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie");
            let mut stream = lab.client.enter(|| TcpStream::connect(server))??;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&hello::tls13("gateway.test"))?;
            stream.write_all(&vec![7; UPLOAD])?;
            let own = stream.local_addr()?;
            let arrived = || {
                let delivered = listener.delivered();
                let of_it = delivered.iter().filter(|one| one.peer == own);
                of_it.map(|one| one.total).sum::<u64>() > UPLOAD as u64
            };
            until(arrived, &format!("{server}: the upload does not arrive"))?;
            let answered = gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie") - before;
            ensure!(turn == 0 || answered != 0, "{server}: no cookie has answered");
        }
    }
    Ok(())
}
