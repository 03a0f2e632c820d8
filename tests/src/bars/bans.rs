//! Bans: who earns one and who cannot be given one, and a million of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use gateway_user::bans::Claim;
use gateway_user::model::{Origin, Prefix};
use gateway_user::store::{Batch, State};
use ipnet::IpNet;
use serde_json::Value;
use socket2::SockRef;

use super::{GATED, Scale};
use crate::builder::hello;
use crate::lab::{
    ATTACKER_V4, CLIENT_V4, Flood, Gateway, Lab, Namespace, Pace, PlainListener, SERVER_V4, Sources,
    Template, await_that,
};

/// How long anything may take that has no time of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a plaintext client sends.
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n";
/// Seconds of the first ban, and how many times as long each further one is.
const FIRST: u64 = 4;
const FACTOR: u64 = 3;
/// The longest ban: two are tried, and another one where the machine was too slow for the first.
const LEVELS: u32 = 3;

fn config() -> String {
    format!(
        "mode = \"enforce\"\n[limits]\nsyn = {{ rate = \"2k/s\", burst = \"2k\" }}\n\
         [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [{GATED}]\nrequire = \"tls\"\n\
         [ban]\nstrikes = 5\nwithin = \"60s\"\nfirst = \"{FIRST}s\"\nfactor = {FACTOR}\nlongest = \"1h\"\n\
         never = [\"{ATTACKER_V4}\"]\n"
    )
}

const fn server() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(SERVER_V4), GATED)
}

/// A client that connects and sends plaintext over and over is banned, its next SYN is dropped, the ban ends by itself and the
/// next one is longer. Who is never to be banned is not, and a flood under the address of an honest client bans nobody.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn bans(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let listener = PlainListener::start(&lab.server, server())?;
    page(&lab)?;
    let gateway = Gateway::start(&lab, &config())?;
    forged(scale, &lab, &gateway, &listener)?;
    never(&lab, &gateway)?;
    let mut seen = 0;
    for level in 1..=LEVELS {
        let began = Instant::now();
        let row = offend(&lab, &gateway)?;
        let earned = began.elapsed();
        let length = row["until_at"].as_u64().zip(row["added_at"].as_u64()).map(|(end, start)| end - start);
        let expected = FIRST * FACTOR.pow(level - 1);
        ensure!(length == Some(expected), "ban {level} is {length:?} s long, not {expected}");
        ensure!(row["level"] == level && row["origin"] == "strikes", "ban {level}: {row}");
        let dropped = banned(&gateway, lab.client_side())?;
        let connected = connect(&lab.client).is_ok();
        // Otherwise the machine was too slow to tell, and the next ban is longer.
        let lasts =
            SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() < row["until_at"].as_u64().unwrap_or(0);
        let dropped = banned(&gateway, lab.client_side())? - dropped;
        if lasts {
            ensure!(!connected, "a banned client connects");
            ensure!(dropped > 0, "no SYN was dropped as banned");
            seen += 1;
        }
        await_that("the ban is over", PATIENCE, || Ok(row_of(&gateway, CLIENT_V4)?.is_none()))?;
        await_that("the client connects again", PATIENCE, || Ok(connect(&lab.client).is_ok()))?;
        println!(
            "bans: ban {level} after {earned:.1?} of plaintext, {expected} s long, {dropped} SYNs dropped"
        );
        if seen == 2 {
            break;
        }
    }
    ensure!(seen > 0, "no ban lasted until a connection was tried");
    let bans = gateway.metrics()?.sum("gateway_bans", &[("origin", "strikes")]);
    ensure!(bans == 0, "{bans} bans are still counted");
    Ok(())
}

/// Floods under the address of a client with an open connection: it is not banned, and its connection carries on.
fn forged(scale: &Scale, lab: &Lab, gateway: &Gateway<'_>, listener: &PlainListener) -> Result<()> {
    let mut honest = connect(&lab.client)?;
    let first = hello::tls13("api.example.org");
    honest.write_all(&first)?;
    let port = honest.local_addr()?.port();
    let received = |bytes: usize| {
        let all = listener.delivered();
        Ok(all.iter().any(|one| one.peer.port() == port && one.total == bytes as u64))
    };
    await_that("the hello arrives", PATIENCE, || received(first.len()))?;
    let [from, to]: [IpAddr; 2] = [CLIENT_V4.into(), SERVER_V4.into()];
    let ports = (port, GATED);
    let floods = [
        ("SYNs", Template::syn(from, to, ports)?),
        ("SYNs", Template::syn(from, to, (4_000, GATED))?),
        ("plaintext of its connection", Template::data(from, to, ports, HTTP)?),
        ("plaintext of no connection", Template::data(from, to, (4_000, GATED), HTTP)?),
        ("datagrams", Template::udp(from, to, (4_000, 9), 18)?),
    ];
    let mut sent = 0;
    for (what, template) in floods {
        let flood = Flood {
            sources: Sources::Fixed,
            frames: Some(scale.flood / 5),
            pace: Pace::Bursts(50_000),
            duration: PATIENCE,
            ..Flood::new(template)
        };
        sent += lab.flood(&flood)?.wait()?.sent;
        ensure!(row_of(gateway, CLIENT_V4)?.is_none(), "forged {what} banned the honest client");
    }
    let record = [23; 100];
    honest.write_all(&record)?;
    await_that("the connection carries on", PATIENCE, || received(first.len() + record.len()))?;
    // Whatever had been counted would have been judged by now.
    thread::sleep(Duration::from_secs(1));
    ensure!(row_of(gateway, CLIENT_V4)?.is_none(), "forged packets banned the honest client");
    println!("bans: {sent} forged packets banned nobody, and the client's connection carried on");
    Ok(())
}

/// Who is never banned sends plaintext too: far more strikes than are enough.
fn never(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    let refused =
        || -> Result<u64> { Ok(gateway.metrics()?.packets(lab.attack_side(), "drop", "plaintext_http")) };
    let before = refused()?;
    await_that("plaintext is refused", PATIENCE, || {
        plaintext(&lab.attacker)?;
        Ok(refused()? - before > 20)
    })?;
    thread::sleep(Duration::from_secs(1));
    ensure!(row_of(gateway, ATTACKER_V4)?.is_none(), "one of ban.never was banned");
    let by_hand = gateway.cli(&["block", "add", &ATTACKER_V4.to_string()])?;
    ensure!(by_hand.status.code() == Some(1), "one of ban.never was banned by hand: {}", by_hand.status);
    ensure!(gateway.metrics()?.packets(lab.attack_side(), "drop", "banned") == 0, "ban.never did not win");
    Ok(())
}

/// A page with 64 images at `http://` of a port that takes TLS alone: its reader's TCP sends each request again and again, and is not
/// banned at the README's numbers.
fn page(lab: &Lab) -> Result<()> {
    const IMAGES: u64 = 64;
    let rule =
        config().replace("strikes = 5", "strikes = 100").replace("within = \"60s\"", "within = \"10s\"");
    // A connection that is reset sends nothing again.
    let rule = rule.replace("require = \"tls\"\n", "require = \"tls\"\nrefuse = \"drop\"\n");
    let gateway = Gateway::start(lab, &rule)?;
    let mut streams = Vec::new();
    for _ in 0..IMAGES {
        let mut stream = connect(&lab.client)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(HTTP)?;
        streams.push(stream);
    }
    let refused =
        || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.client_side(), "drop", "plaintext_http"));
    await_that("requests are sent again", PATIENCE, || Ok(refused()? >= 4 * IMAGES))?;
    // Whatever had been counted would have been judged by now.
    thread::sleep(Duration::from_secs(1));
    ensure!(row_of(&gateway, CLIENT_V4)?.is_none(), "a page with {IMAGES} images banned its reader");
    println!("bans: {IMAGES} refused connections at once, {} refused segments, no ban", refused()?);
    Ok(())
}

/// Plaintext until there is a ban; its row.
fn offend(lab: &Lab, gateway: &Gateway<'_>) -> Result<Value> {
    let mut row = None;
    await_that("the plaintext client is banned", PATIENCE, || {
        // The ban may come between.
        let _ = plaintext(&lab.client);
        row = row_of(gateway, CLIENT_V4)?;
        Ok(row.is_some())
    })?;
    row.context("no ban")
}

/// A connection that sends plaintext. Reset then: else the client's TCP would go on sending it.
fn plaintext(namespace: &Namespace) -> Result<()> {
    let mut stream = connect(namespace)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.write_all(HTTP)?;
    thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn connect(namespace: &Namespace) -> Result<TcpStream> {
    Ok(namespace.enter(|| TcpStream::connect_timeout(&server(), Duration::from_millis(1_500)))??)
}

fn banned(gateway: &Gateway<'_>, interface: &str) -> Result<u64> {
    Ok(gateway.metrics()?.packets(interface, "drop", "banned"))
}

/// The row of an address in the block list.
fn row_of(gateway: &Gateway<'_>, address: Ipv4Addr) -> Result<Option<Value>> {
    Ok(gateway.blocked()?.into_iter().find(|row| row["prefix"] == address.to_string()))
}

/// The time in which a million bans are to be loaded.
const LOAD: Duration = Duration::from_secs(2);

/// A million bans: a restart restores all of them to the second and in time, packets of the first and last are dropped, and
/// the list streams.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn million(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    let mut gateway = Gateway::start(&lab, &config())?;
    let empty = restart(&mut gateway)?;
    gateway.kill()?;
    let bans = fill(&gateway, scale.bans)?;
    let full = restart_from(&mut gateway)?;
    compare(&gateway, &bans)?;
    // Now the table holds them, too, as an earlier daemon left it.
    let again = restart(&mut gateway)?;
    let (took, first) = compare(&gateway, &bans)?;
    println!(
        "million: {} bans; start without {empty:.2?}, with {full:.2?}, again {again:.2?}; list of all {took:.2?}, its first \
         line after {first:.2?}; {}",
        bans.len(),
        gateway
            .log()
            .lines()
            .find(|line| line.contains("bans restored"))
            .unwrap_or("no word of it in the log")
    );
    let flood = Flood {
        sources: Sources::Ipv4 { first: Ipv4Addr::new(10, 0, 0, 0), count: 1 << 14 },
        frames: Some(50_000),
        duration: PATIENCE,
        ..Flood::new(Template::udp(Ipv4Addr::new(10, 0, 0, 0).into(), SERVER_V4.into(), (4_000, 9), 18)?)
    };
    let sent = lab.flood(&flood)?.wait()?.delivered;
    let dropped = banned(&gateway, lab.attack_side())?;
    ensure!(dropped == sent, "{dropped} of {sent} packets of banned sources were dropped as banned");
    gateway.kill()?;
    // What is not kept any more goes out of the table that the daemon left.
    let (last, rest) = bans.split_last().context("no bans")?;
    let gone = Batch { claims: [((last.0, Origin::Strikes), None)].into(), ..Batch::default() };
    State::open(&gateway.state("state.db"))?.write(&gone)?;
    gateway.run()?;
    let held = gateway.metrics()?.sum("gateway_table_entries", &[("table", "bans")]);
    ensure!(held == rest.len() as u64, "{held} bans are in the kernel, not {}", rest.len());
    if *scale == Scale::FULL {
        ensure!(again.saturating_sub(empty) < LOAD, "loading again took {:?}", again.saturating_sub(empty));
        ensure!(full.saturating_sub(empty) < LOAD, "loading took {:?}", full.saturating_sub(empty));
    }
    Ok(())
}

/// Kills the daemon and starts it again; how long that took.
fn restart(gateway: &mut Gateway<'_>) -> Result<Duration> {
    gateway.kill()?;
    restart_from(gateway)
}

fn restart_from(gateway: &mut Gateway<'_>) -> Result<Duration> {
    let start = Instant::now();
    gateway.run()?;
    Ok(start.elapsed())
}

/// Writes bans as a daemon would have; each prefix with its end.
fn fill(gateway: &Gateway<'_>, count: u32) -> Result<Vec<(Prefix, u64)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let reason: Arc<str> = "100 strikes within 10s".into();
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let mut bans = Vec::new();
    let mut batch = Batch::default();
    for index in 0..count {
        let prefix = Prefix::try_from(IpNet::from(IpAddr::from(Ipv4Addr::from(first + index))))?;
        let until_at = now + 3_600 + u64::from(index % 86_400);
        let reason = Some(Arc::clone(&reason));
        let claim = Claim { reason, level: 1, added_at: now - 60, until_at: Some(until_at) };
        batch.claims.insert((prefix, Origin::Strikes), Some(claim));
        bans.push((prefix, until_at));
    }
    State::open(&gateway.state("state.db"))?.write(&batch)?;
    Ok(bans)
}

/// Reads the list as it comes: all bans are there, each with its end. How long that took, and its first line.
fn compare(gateway: &Gateway<'_>, bans: &[(Prefix, u64)]) -> Result<(Duration, Duration)> {
    let start = Instant::now();
    let mut first = None;
    let mut child = gateway.start_cli(&["block", "list", "--json"])?;
    let output = BufReader::new(child.stdout.take().context("no output")?);
    let (mut count, mut peak) = (0, String::new());
    for (line, (prefix, until_at)) in output.lines().zip(bans) {
        let row: Value = serde_json::from_str(&line?)?;
        first.get_or_insert_with(|| start.elapsed());
        let is_it = row["prefix"] == prefix.to_string() && row["until_at"] == *until_at;
        ensure!(is_it, "{row} instead of {prefix} until {until_at}");
        count += 1;
        if count == bans.len() / 2 {
            let memory = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let is_peak = |line: &&str| line.starts_with("VmHWM");
            peak = memory.lines().find(is_peak).unwrap_or_default().split_whitespace().skip(1).collect();
        }
    }
    ensure!(child.wait()?.success(), "the list ended with an error");
    ensure!(count == bans.len(), "{count} rows of {}", bans.len());
    println!("million: memory of the command that lists them, half way: {peak}");
    Ok((start.elapsed(), first.unwrap_or_default()))
}
