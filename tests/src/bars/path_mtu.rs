//! Path-MTU messages: a flood of them passes as its limit says, and the one that is about a packet of ours comes through.

use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::Scale;
use crate::builder::ip;
use crate::lab::{
    CLIENT_V4, CLIENT_V6, FLOOD_V4, FLOOD_V6, Flood, Gateway, Lab, Pace, SERVER_V4, SERVER_V6, Sources,
    Template,
};

/// Messages in a second that pass whatever they quote, and that may come at once.
const PER_SECOND: u64 = 1_000;
/// Messages in a second that are sent.
const FLOOD: u64 = 100_000;
/// What the honest message says.
const MTU: u16 = 1_300;
/// A port of the client's that the server asks.
const ASKED: u16 = 123;

/// Forged messages pass at no more than their limit, and the honest one among them is heard.
///
/// # Errors
/// Where that is not so, or the lab fails.
pub fn path_mtu(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let families: [(IpAddr, IpAddr, IpAddr); 2] = [
        (SERVER_V4.into(), CLIENT_V4.into(), FLOOD_V4.into()),
        (SERVER_V6.into(), CLIENT_V6.into(), FLOOD_V6.into()),
    ];
    for (server, client, from) in families {
        let count = |verdict, reason| -> Result<u64> {
            Ok(gateway.metrics()?.packets(lab.attack_side(), verdict, reason))
        };
        let (passed, dropped) = (count("pass", "path_mtu")?, count("drop", "icmp_error")?);
        let flood = lab.flood(&forged(server, from, scale.seconds)?)?;
        thread::sleep(Duration::from_secs(1));
        heard(&lab, server, client)?;
        let report = flood.wait()?;
        let (passed, dropped) = (count("pass", "path_mtu")? - passed, count("drop", "icmp_error")? - dropped);
        let most = PER_SECOND + (report.elapsed.as_secs_f64() * PER_SECOND as f64) as u64 + PER_SECOND / 10;
        println!(
            "path-mtu: {server}: {passed} of {} forged messages passed, at most {most} may; the honest one was heard",
            report.delivered
        );
        ensure!(passed <= most, "{passed} forged messages passed");
        ensure!(passed + dropped == report.delivered, "{passed} and {dropped} are not {}", report.delivered);
    }
    Ok(())
}

/// Messages of anybody that quote packets which the server has not sent.
fn forged(server: IpAddr, from: IpAddr, seconds: u64) -> Result<Flood> {
    let quote = ip(&server.to_string(), &from.to_string()).tcp(443, 40_000).packet();
    let sources = match from {
        IpAddr::V4(_) => Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
        IpAddr::V6(_) => Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 },
    };
    let template = Template::from_frame(&message(from, server, &quote).build())?;
    let duration = Duration::from_secs(seconds);
    Ok(Flood { sources, pace: Pace::Bursts(FLOOD), duration, ..Flood::new(template) })
}

/// A message about the packet that it quotes.
fn message(from: IpAddr, to: IpAddr, quote: &[u8]) -> crate::builder::Frame {
    let frame = ip(&from.to_string(), &to.to_string());
    let [high, low] = MTU.to_be_bytes();
    match to {
        IpAddr::V4(_) => frame.icmp(3, 4, [0, 0, high, low]),
        IpAddr::V6(_) => frame.icmp(2, 0, [0, 0, high, low]),
    }
    .payload(quote)
}

/// The server asks the client, and is told that its packet was too large; then it knows the path's MTU.
fn heard(lab: &Lab, server: IpAddr, client: IpAddr) -> Result<()> {
    let asking = lab.server.enter(|| UdpSocket::bind((server, 0)))??;
    asking.connect((client, ASKED))?;
    asking.send(&[0; 64])?;
    let quote = ip(&server.to_string(), &client.to_string());
    let quote = quote.udp(asking.local_addr()?.port(), ASKED).payload(&[0; 64]).packet();
    let packet = message(client, server, &quote).packet();
    let (domain, protocol, header) = match server {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 20),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 40),
    };
    lab.client.enter(|| -> Result<()> {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.send_to(&packet[header..], &std::net::SocketAddr::new(server, 0).into())?;
        Ok(())
    })??;
    thread::sleep(Duration::from_millis(300));
    let route = lab.server.run("ip", &["route", "get", &client.to_string()]).context("no route")?;
    ensure!(route.contains(&format!("mtu {MTU}")), "{server} was not heard of its path's MTU: {route}");
    Ok(())
}
