//! A device of the server that a test makes itself, with three addresses across it, and whether what comes by it is judged.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Gateway, Lab, PlainListener, await_that, begin, established};
use crate::builder::hello;

/// The server's address on the device.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 1);
/// A source behind it that is blocked.
pub const BLOCKED: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 2);
/// One that is not.
pub const WELCOME: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 3);
/// The port that has the gate.
pub const GATED: u16 = 9_100;
/// The policy by which it is told.
pub const POLICY: &str = "mode = \"enforce\"\n[lists]\nblock = [\"10.77.7.2\"]\n\
    [[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [9100]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n";

/// How long anything may take on a busy machine, an emulated one too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a handshake takes.
const A_WHILE: Duration = Duration::from_millis(300);
const PLAINTEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Makes a pair of veth devices, one end for the attacker.
///
/// # Errors
/// Where they cannot be made.
pub fn pair(lab: &Lab, near: &str, far: &str) -> Result<()> {
    lab.server.ip(&[
        format!("link add {near} type veth peer name {far} netns {}", lab.attacker.name()),
        format!("link set dev {near} up"),
    ])?;
    lab.attacker.ip(&[format!("link set dev {far} up")])
}

/// Gives both ends of a device their addresses.
///
/// # Errors
/// Where one is not there.
pub fn address(lab: &Lab, near: &str, far: &str) -> Result<()> {
    lab.server.ip(&[format!("address add {NEAR}/24 dev {near}"), format!("link set dev {near} up")])?;
    lab.attacker.ip(&[
        format!("address add {BLOCKED}/24 dev {far}"),
        format!("address add {WELCOME}/24 dev {far}"),
        format!("link set dev {far} up"),
    ])
}

/// The blocked source gets no connection; of the other one plaintext is not read, and a TLS hello is.
///
/// # Errors
/// Where it is otherwise, with the daemon's log.
pub fn is_judged(lab: &Lab, gateway: &Gateway<'_>, device: &str) -> Result<()> {
    judged(lab, gateway, device).with_context(|| format!("{device}: {}", gateway.log()))
}

fn judged(lab: &Lab, gateway: &Gateway<'_>, device: &str) -> Result<()> {
    let server = SocketAddr::new(NEAR.into(), GATED);
    let listener = PlainListener::start(&lab.server, server)?;
    let dropped = |reason| anyhow::Ok(gateway.metrics()?.packets(device, "drop", reason));
    let before = [dropped("block_listed")?, dropped("plaintext_http")?];
    let connect = || [BLOCKED, WELCOME, WELCOME].map(|source| begin(IpAddr::from(source), server));
    let [blocked, plain, tls] = lab.attacker.enter(connect)?;
    let (_blocked, plain, tls) = (blocked?, plain?, tls?);
    await_that("a stranger is served", PATIENCE, || {
        Ok(established(&lab.server, GATED, Some("10.77.7.3"))? == 2)
    })?;
    send(&plain, PLAINTEXT)?;
    let hello = hello::tls13("test");
    send(&tls, &hello)?;
    let from = tls.local_addr()?;
    await_that("a hello is read", PATIENCE, || Ok(listener.has(from, &hello)))?;
    await_that("plaintext is dropped", PATIENCE, || Ok(dropped("plaintext_http")? > before[1]))?;
    thread::sleep(A_WHILE);
    let read: usize =
        listener.delivered().iter().filter(|one| one.peer != from).map(|one| one.bytes.len()).sum();
    ensure!(read == 0, "{read} bytes of plaintext are read");
    let blocked = established(&lab.server, GATED, Some("10.77.7.2"))?;
    ensure!(blocked == 0, "the blocked source has {blocked} connections");
    ensure!(dropped("block_listed")? > before[0], "nothing of the blocked source was dropped");
    Ok(())
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    stream.set_nonblocking(false)?;
    Ok(stream.write_all(bytes)?)
}
