//! Answers that the host asked for come through, and those that nobody asked for do not.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Scale, datagrams};
use crate::builder::ip;
use crate::lab::{
    CLIENT_V4, CLIENT_V6, FLOOD_V4, FLOOD_V6, Flood, Gateway, Lab, Pace, SERVER_V4, SERVER_V6, Sources,
    Template,
};

/// No limit, so that nothing else hides what the stage does.
const CONFIG: &str = "mode = \"enforce\"\n\
    [limits]\npackets = \"none\"\nbytes = \"none\"\nudp = \"none\"\nicmp = \"none\"\n\
    [limits.neighbours]\npackets = \"none\"\n";
/// A port of the server's that has no socket.
const CLOSED: u16 = 40_000;
/// How long an answer may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Questions of the server are answered beside floods of reflectors and of ICMP errors, none of which reaches it; while
/// the server forwards, its sockets are not asked.
///
/// # Errors
/// Where one of that is not so, or the lab fails.
pub fn reflection(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    forward(&lab, "0")?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let frames = scale.flood / 10 + 1;
    for (server, client, from) in families() {
        let (asking, open) = lab.server.enter(|| -> Result<_> {
            let asking = UdpSocket::bind((server, 0))?;
            asking.connect((client, 53))?;
            Ok((asking, UdpSocket::bind((server, 0))?))
        })??;
        let port = asking.local_addr()?.port();
        for (name, port, reason) in
            [("no socket", CLOSED, "reflection"), ("another's socket", port, "reflection")]
        {
            let template = Template::udp(from, server, (53, port), 400)?;
            flooded(&lab, &gateway, template, frames, reason).with_context(|| format!("{from}: {name}"))?;
        }
        let bound = (53, open.local_addr()?.port());
        flood(&lab, Template::udp(from, server, bound, 400)?, frames)?;
        open.set_read_timeout(Some(PATIENCE))?;
        open.recv(&mut [0; 512]).with_context(|| format!("{from}: nothing comes to a bound port"))?;
        let listener = lab.server.enter(|| TcpListener::bind((server, 443)))??;
        let (from_text, server_text) = (from.to_string(), server.to_string());
        let sent = ip(&server_text, &from_text);
        for quote in [sent.clone().udp(CLOSED, 53), sent.tcp(443, CLOSED)] {
            flooded(&lab, &gateway, error(from, server, &quote.packet())?, frames, "icmp_error")?;
        }
        drop(listener);
        answered(&lab, &asking, client).with_context(|| format!("a question to {client}"))?;
        refused(&lab, server, client).with_context(|| format!("a closed port of {client}"))?;
    }
    forwarding(&lab, &gateway, frames)
}

fn families() -> [(IpAddr, IpAddr, IpAddr); 2] {
    [
        (SERVER_V4.into(), CLIENT_V4.into(), FLOOD_V4.into()),
        (SERVER_V6.into(), CLIENT_V6.into(), FLOOD_V6.into()),
    ]
}

/// Whether the server forwards.
fn forward(lab: &Lab, value: &str) -> Result<()> {
    lab.server.sysctl(&[("net/ipv4/ip_forward", value), ("net/ipv6/conf/all/forwarding", value)])
}

/// Sends from many sources; gives how many frames arrived.
fn flood(lab: &Lab, template: Template, frames: u64) -> Result<u64> {
    let is_v4 = template.bytes()[12..14] == [8, 0];
    let sources = if is_v4 {
        Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 }
    } else {
        Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 }
    };
    let flood = Flood {
        sources,
        pace: Pace::Bursts(100_000),
        frames: Some(frames),
        duration: Duration::from_secs(120),
        ..Flood::new(template)
    };
    let report = lab.flood(&flood)?.wait()?;
    ensure!(report.sent == frames, "{} of {frames} were sent", report.sent);
    Ok(report.delivered)
}

/// A flood of which nothing reaches the server, and everything is dropped for this reason.
fn flooded(lab: &Lab, gateway: &Gateway<'_>, template: Template, frames: u64, reason: &str) -> Result<()> {
    let dropped = || -> Result<u64> { Ok(gateway.metrics()?.packets(lab.attack_side(), "drop", reason)) };
    let (dropped_before, reached_before) = (dropped()?, datagrams(lab)?);
    let sent = flood(lab, template, frames)?;
    let (dropped, reached) = (dropped()? - dropped_before, datagrams(lab)? - reached_before);
    println!("reflection: {sent} frames, {dropped} dropped as {reason}, {reached} reached the server's UDP");
    ensure!(reached == 0, "{reached} reached the server");
    ensure!(dropped == sent, "{dropped} of {sent} were dropped as {reason}");
    Ok(())
}

/// Port unreachable, about what the server has not sent.
fn error(from: IpAddr, server: IpAddr, quote: &[u8]) -> Result<Template> {
    let (kind, code) = if server.is_ipv6() { (1, 4) } else { (3, 3) };
    let frame = ip(&from.to_string(), &server.to_string()).icmp(kind, code, [0; 4]).payload(quote);
    Template::from_frame(&frame.build())
}

/// The server asks, and the client answers from port 53.
fn answered(lab: &Lab, asking: &UdpSocket, client: IpAddr) -> Result<()> {
    let answering = lab.client.enter(|| UdpSocket::bind((client, 53)))??;
    asking.set_read_timeout(Some(PATIENCE))?;
    answering.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 16];
    asking.send(b"a question")?;
    let (_, from): (_, SocketAddr) = answering.recv_from(&mut buffer)?;
    answering.send_to(b"an answer", from)?;
    let length = asking.recv(&mut buffer)?;
    ensure!(buffer.get(..length) == Some(b"an answer"), "the answer is another");
    Ok(())
}

/// An ICMP error about what the server has sent comes through.
fn refused(lab: &Lab, server: IpAddr, client: IpAddr) -> Result<()> {
    let asking = lab.server.enter(|| UdpSocket::bind((server, 0)))??;
    asking.connect((client, 123))?;
    asking.set_read_timeout(Some(PATIENCE))?;
    asking.send(b"a question")?;
    let error = asking.recv(&mut [0; 16]).err().context("somebody answers")?;
    ensure!(error.kind() == ErrorKind::ConnectionRefused, "{error}");
    Ok(())
}

/// While the server forwards, answers may be for others, unless it is told that they are not.
fn forwarding(lab: &Lab, gateway: &Gateway<'_>, frames: u64) -> Result<()> {
    forward(lab, "1")?;
    for (server, _, from) in families() {
        let before = datagrams(lab)?;
        let sent = flood(lab, Template::udp(from, server, (53, CLOSED), 400)?, frames)?;
        let reached = datagrams(lab)? - before;
        ensure!(reached > 0, "{server}: none of {sent} passes while the host forwards");
    }
    gateway.write_config(&format!("{CONFIG}[reflection]\ndrop = \"always\"\nports_extra = [999]\n"))?;
    gateway.done(&["reload"])?;
    for (server, _, from) in families() {
        for port in [53, 999] {
            flooded(lab, gateway, Template::udp(from, server, (port, CLOSED), 400)?, frames, "reflection")?;
        }
    }
    Ok(())
}
