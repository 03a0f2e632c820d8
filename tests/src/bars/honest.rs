//! Who speaks TLS gets through, who does not is not heard, and who was there before stays.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{GATED, HONEST, Scale};
use crate::lab::{Counters, Gateway, Https, Lab, Nginx, PlainListener, SERVER_V4, SERVER_V6, TlsVersion};

/// How often it is looked whether segments are sent again.
const ROUNDS: usize = 5;
/// How long connections and segments may be under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests over both versions of TLS and of IP: all are answered, and no segment is sent twice that would not be without
/// the gateway.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn https(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let without = all_kinds(&lab, &nginx, scale.requests)?;
    let gateway = Gateway::start(&lab, HONEST)?;
    let mut with = u64::MAX;
    // On a busy machine a segment is sent again now and then with nothing in between: what is the gateway's doing stays.
    for _ in 0..ROUNDS {
        with = all_kinds(&lab, &nginx, scale.requests)?;
        println!("https: segments sent again: {without} without the gateway, {with} with it");
        if with <= without {
            break;
        }
    }
    ensure!(with <= without, "{with} segments were sent again, {without} without the gateway");
    let metrics = gateway.metrics()?;
    let dropped = metrics.packets(lab.client_side(), "drop", "");
    ensure!(dropped == 0, "{dropped} packets of honest clients were dropped");
    Ok(())
}

/// Requests of each kind; gives how many segments the client and the server sent again because they were missing. Of the others,
/// which a busy machine answers too late, the other end says that it had them (RFC 2883).
fn all_kinds(lab: &Lab, nginx: &Nginx, requests: u32) -> Result<u64> {
    let of = |name: &str| -> Result<u64> {
        Ok(Counters::read(&lab.client)?.get(name) + Counters::read(&lab.server)?.get(name))
    };
    let (resent, needless) = (of("TcpRetransSegs")?, of("TcpExtTCPDSACKRecv")?);
    for server in [SERVER_V4.into(), SERVER_V6.into()] {
        for version in [TlsVersion::V12, TlsVersion::V13] {
            let https =
                Https { server: SocketAddr::new(server, 443), version: Some(version), ..Https::new(nginx) };
            let outcome = https.run(&lab.client, requests)?;
            let median = outcome.quantile(0.5).unwrap_or_default();
            println!("https: {server} {version:?}: {} of {requests}, median {median:?}", outcome.ok);
            ensure!(outcome.failed == 0, "{server} {version:?}: {:?}", outcome.error);
        }
    }
    let (resent, needless) = (of("TcpRetransSegs")? - resent, of("TcpExtTCPDSACKRecv")? - needless);
    Ok(resent.saturating_sub(needless))
}

/// HTTP without TLS to a gated port: not one byte reaches the socket.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn plaintext(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, HONEST)?;
    for address in [SERVER_V4.into(), SERVER_V6.into()].map(|ip| SocketAddr::new(ip, GATED)) {
        let listener = PlainListener::start(&lab.server, address)?;
        let streams = connect(&lab, address, scale.requests as usize)?;
        for mut stream in &streams {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n")?;
        }
        settle(&listener, streams.len(), 0)?;
        // Time for the client to send again what nobody acknowledged.
        thread::sleep(Duration::from_secs(1));
        let delivered = listener.delivered();
        let bytes: u64 = delivered.iter().map(|one| one.total).sum();
        println!("plaintext: {address}: {} connections, {bytes} bytes", delivered.len());
        ensure!(delivered.len() == streams.len(), "{} of {} connected", delivered.len(), streams.len());
        ensure!(bytes == 0, "{bytes} bytes of plaintext reached the socket");
    }
    let metrics = gateway.metrics()?;
    let dropped = metrics.packets(lab.client_side(), "drop", "plaintext_http");
    println!("plaintext: {dropped} segments dropped as plaintext_http");
    ensure!(dropped >= 2 * u64::from(scale.requests), "only {dropped} segments were counted");
    Ok(())
}

/// Plaintext connections that were there before the gateway go on; new ones are not heard.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn adoption(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let address = SocketAddr::new(SERVER_V4.into(), GATED);
    let listener = PlainListener::start(&lab.server, address)?;
    let streams = connect(&lab, address, scale.open)?;
    send(&streams, b"before the gateway")?;
    settle(&listener, streams.len(), 18)?;
    let _gateway = Gateway::start(&lab, HONEST)?;
    send(&streams, b", and after")?;
    settle(&listener, streams.len(), 29)?;
    let late = connect(&lab, address, 1)?;
    send(&late, b"new plaintext")?;
    settle(&listener, streams.len() + late.len(), 0)?;
    thread::sleep(Duration::from_millis(500));
    let delivered = listener.delivered();
    let whole = delivered.iter().filter(|one| one.total == 29).count();
    let bytes = delivered.last().context("no connection")?.total;
    println!(
        "adoption: {whole} of {} connections went on; a new one got {bytes} bytes through",
        streams.len()
    );
    ensure!(whole == streams.len() && bytes == 0, "a connection was cut, or plaintext got through");
    // Both directions: the server's end is closed by the listener's end alone, so nothing must have been reset.
    for mut stream in &streams {
        stream.set_nonblocking(true)?;
        let error = stream.read(&mut [0]).err().context("the server closed a connection")?;
        ensure!(error.kind() == std::io::ErrorKind::WouldBlock, "a connection broke: {error}");
    }
    Ok(())
}

fn connect(lab: &Lab, address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    lab.client.enter(|| {
        let one = |_| {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        (0..count).map(one).collect()
    })?
}

fn send(streams: &[TcpStream], bytes: &[u8]) -> Result<()> {
    for mut stream in streams {
        stream.write_all(bytes)?;
    }
    Ok(())
}

/// Waits until each connection has delivered so many bytes.
fn settle(listener: &PlainListener, connections: usize, bytes: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let delivered = listener.delivered();
        let there = delivered.iter().filter(|one| one.total >= bytes).count();
        if there >= connections {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "only {there} of {connections} connections delivered {bytes} bytes"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
