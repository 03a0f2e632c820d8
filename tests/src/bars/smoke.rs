//! Every promise once, briefly: what is tried under other kernels, and on other devices than the lab's own.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{GATED, Scale, servers};
use crate::lab::{
    ATTACKER_V4, ATTACKER_V6, CLIENT_V4, CLIENT_V6, Gateway, Https, Lab, Namespace, Nginx, PlainListener,
    await_that, driver,
};

/// How long anything may take, in an emulated machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where datagrams are counted that no service wants.
const COUNTED: u16 = 5_300;
/// Datagrams of a source that pass at once, and each second.
const BURST: u64 = 50;
const RATE: u64 = 10;
/// Prefixes of each family on the block list.
const PREFIXES: u32 = 10_000;
/// Requests of each family in each place.
const REQUESTS: u32 = 5;
/// Strikes that earn a ban.
const STRIKES: u32 = 5;
/// What a plaintext client sends.
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

/// TLS passes, by SYN cookies too; plaintext does not, and is banned; limits and lists hold, over reloads and a killed daemon.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn smoke(_: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let mut gateway = Gateway::prepare(&lab, "", &[])?;
    let file = gateway.state("block.txt");
    gateway.write_config(&config(&file.display().to_string()))?;
    fs::write(&file, list(false))?;
    gateway.run()?;
    let status: Value = serde_json::from_str(&gateway.done(&["status", "--json"])?)?;
    let drivers: Vec<_> =
        status["interfaces"].as_array().into_iter().flatten().map(|row| &row["driver"]).collect();
    ensure!(drivers == [driver(); 2], "it is attached as {drivers:?}, not {}", driver());
    requests(&lab, &nginx)?;
    let answered = gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie");
    ensure!(answered > u64::from(REQUESTS), "cookies answered {answered} SYNs");
    println!("smoke: TLS passes, and cookies answered {answered} SYNs");
    plaintext(&lab, &gateway)?;
    limits(&lab)?;
    for is_listed in [true, false, true] {
        fs::write(&file, list(is_listed))?;
        gateway.done(&["reload"])?;
        lists(&lab, is_listed)?;
    }
    gateway.kill()?;
    lists(&lab, true)?;
    requests(&lab, &nginx)?;
    gateway.run()?;
    lists(&lab, true)?;
    requests(&lab, &nginx)?;
    println!("smoke: {PREFIXES} prefixes of each family hold, over reloads and a killed daemon");
    Ok(())
}

fn config(file: &str) -> String {
    format!(
        "mode = \"enforce\"\n[attach]\nset_sysctls = true\n\
         [limits]\nsyn = \"none\"\nudp = {{ rate = \"{RATE}/s\", burst = \"{BURST}\" }}\n\
         [limits.neighbours]\nsyn = \"none\"\n\
         [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nsyn_cookies = \"always\"\n\
         [[service]]\nname = \"gated\"\nprotocol = \"tcp\"\nports = [{GATED}]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n\
         [ban]\nstrikes = {STRIKES}\nwithin = \"60s\"\nfirst = \"1h\"\n\
         [lists]\nblock = [\"file:{file}\"]\n"
    )
}

/// A block list of others' prefixes, and the attacker's if it is to be on it.
fn list(is_listed: bool) -> String {
    let mut text = String::new();
    for number in 0..PREFIXES {
        let [high, low] = (number as u16).to_be_bytes();
        text += &format!("10.{high}.{low}.0/24\n2001:db8:a{high:02x}:{low:x}::/64\n");
    }
    if is_listed {
        text += &format!("{ATTACKER_V4}\n{ATTACKER_V6}\n");
    }
    text
}

/// Honest requests of both families.
fn requests(lab: &Lab, nginx: &Nginx) -> Result<()> {
    for server in servers() {
        let https = Https { server: SocketAddr::new(server, 443), timeout: PATIENCE, ..Https::new(nginx) };
        let outcome = https.run(&lab.client, REQUESTS)?;
        ensure!(outcome.failed == 0, "{server}: {} failed: {:?}", outcome.failed, outcome.error);
    }
    Ok(())
}

/// Plaintext from the attacker is not heard, and has it banned, until the ban is taken back.
fn plaintext(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    for (server, attacker) in servers().into_iter().zip([ATTACKER_V4.to_string(), "2001:db8:2::/64".into()]) {
        let address = SocketAddr::new(server, GATED);
        let listener = PlainListener::start(&lab.server, address)?;
        let mut streams = Vec::new();
        // By the metrics: the list has all prefixes in it, and on an emulated CPU a command may take too long to read them.
        let is_banned = || Ok(gateway.metrics()?.sum("gateway_bans", &[("origin", "strikes")]) == 1);
        await_that("the attacker is banned", PATIENCE, || {
            // As many as earn a ban, which may come between.
            for mut stream in (0..STRIKES).map_while(|_| connect(&lab.attacker, address).ok()) {
                stream.write_all(HTTP)?;
                streams.push(stream);
            }
            is_banned()
        })?;
        ensure!(connect(&lab.attacker, address).is_err(), "{attacker} is banned, and connects");
        let bytes: u64 = listener.delivered().iter().map(|one| one.total).sum();
        ensure!(bytes == 0, "{bytes} bytes of plaintext reached the socket");
        await_that("a refused connection is over at the server", PATIENCE, || {
            Ok(listener.delivered().iter().any(|one| one.closed))
        })?;
        drop(streams);
        gateway.done(&["block", "del", &attacker])?;
        await_that("it connects again", PATIENCE, || Ok(connect(&lab.attacker, address).is_ok()))?;
    }
    println!(
        "smoke: plaintext does not reach the socket, its connections are reset, and its sender is banned"
    );
    Ok(())
}

/// A source's datagrams pass as its limit says.
fn limits(lab: &Lab) -> Result<()> {
    for (server, client) in servers().into_iter().zip([IpAddr::from(CLIENT_V4), CLIENT_V6.into()]) {
        let counted = receiver(lab, server)?;
        let began = Instant::now();
        send(&lab.client, client, server, 6 * BURST)?;
        let passed = arrived(&counted)?;
        let most = BURST + (began.elapsed().as_secs_f64() * RATE as f64) as u64 + 1;
        // A reading of the clock that is late withholds a fraction of a packet.
        let least = BURST - 1;
        ensure!((least..=most).contains(&passed), "{passed} of {} passed, not {least} to {most}", 6 * BURST);
    }
    println!("smoke: limits hold");
    Ok(())
}

/// Whether the attacker's datagrams arrive.
fn lists(lab: &Lab, is_listed: bool) -> Result<()> {
    for (server, attacker) in servers().into_iter().zip([IpAddr::from(ATTACKER_V4), ATTACKER_V6.into()]) {
        let counted = receiver(lab, server)?;
        send(&lab.attacker, attacker, server, 3)?;
        let passed = arrived(&counted)?;
        ensure!((passed == 0) == is_listed, "{attacker}: listed {is_listed}, and {passed} datagrams passed");
    }
    Ok(())
}

fn receiver(lab: &Lab, server: IpAddr) -> Result<UdpSocket> {
    Ok(lab.server.enter(|| UdpSocket::bind((server, COUNTED)))??)
}

fn send(namespace: &Namespace, from: IpAddr, to: IpAddr, count: u64) -> Result<()> {
    let socket = namespace.enter(|| UdpSocket::bind((from, 0)))??;
    for _ in 0..count {
        socket.send_to(b"counted", (to, COUNTED))?;
    }
    Ok(())
}

/// Datagrams that have come, once no more do.
fn arrived(socket: &UdpSocket) -> Result<u64> {
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut count = 0;
    while socket.recv(&mut [0; 16]).is_ok() {
        count += 1;
    }
    Ok(count)
}

fn connect(namespace: &Namespace, address: SocketAddr) -> Result<TcpStream> {
    Ok(namespace.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(1_500)))??)
}
