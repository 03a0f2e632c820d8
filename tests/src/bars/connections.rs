//! Connections that are open and silent: as many as each source may have, whoever else is there.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Scale;
use crate::builder::hello;
use crate::lab::{Gateway, Https, Lab, Nginx, SERVER_V4, begin, established, most_established};

/// How many connections one source opens, and how many the many do.
const ONE: u32 = 5_000;
const MANY: u32 = 50_000;
/// How many the many are.
const SOURCES: u16 = 500;
/// Where they are from.
const FLOOD: &str = "198.18.0.0/15";
/// Connections in a second.
const RATE: u32 = 5_000;
/// What each source may have open.
const EACH: usize = 10;
/// When a connection that has not come about is given up.
const GIVEN_UP: Duration = Duration::from_millis(800);
/// How long before they are counted: the last of them come in the tenth of a second before a look.
const SETTLE: Duration = Duration::from_secs(1);
/// Honest requests, and in how many seconds.
const REQUESTS: u32 = 100;
const SECONDS: u32 = 10;
/// The share that may be open beyond the limit.
const FEW: f64 = 0.01;
/// A hello in pieces of one byte a second is ended after so long, and no later than so long after that.
const HELLO: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(3);

/// Silent connections of one source and of 500, beside honest clients: each source has as many open as it may. The same with nftables'
/// `ct count` in the gateway's place.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn connections(scale: &Scale) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let sources = addresses(&lab)?;
    let share = scale.seconds.min(10) as u32;
    let (one, many) = (ONE * share / 10, MANY * share / 10);
    let quiet = honest(&lab, &nginx)?;
    println!("connections: without a flood {} of {REQUESTS} honest requests, median {:?}", quiet.0, quiet.1);
    let floods: [(&[Ipv4Addr], u32); 2] = [(&sources[..1], one), (&sources, many)];
    {
        let rules = format!(
            "add table inet f; add set inet f open {{ type ipv4_addr; flags dynamic; size 65535; }}; \
             add chain inet f in {{ type filter hook input priority 0; }}; \
             add rule inet f in tcp dport 443 ct state new add @open {{ ip saddr ct count over {EACH} }} drop"
        );
        lab.server.run("nft", &[&rules])?;
        for (sources, count) in floods {
            println!("connections: nftables: {}", measure(&lab, &nginx, sources, count, quiet.1)?.text);
        }
        lab.server.run("nft", &["delete table inet f"])?;
    }
    let config = format!(
        "mode = \"enforce\"\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n[[service]]\nname = \"web\"\n\
         protocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nconnections = {EACH}\nhello_timeout = \"1h\"\n"
    );
    let gateway = Gateway::start(&lab, &config)?;
    for (sources, count) in floods {
        let found = measure(&lab, &nginx, sources, count, quiet.1)?;
        println!("connections: gateway: {}", found.text);
        let allowed = sources.len() * EACH;
        let slack = (allowed as f64 * FEW).ceil() as usize;
        ensure!(found.open.abs_diff(allowed) <= slack, "{} are open, not {allowed}", found.open);
        ensure!(
            found.answered == u64::from(REQUESTS),
            "{} of {REQUESTS} requests were answered",
            found.answered
        );
    }
    gateway.write_config(&config.replace("1h", &format!("{}s", HELLO.as_secs())))?;
    gateway.done(&["reload"])?;
    let times = slow_hellos(&lab)?;
    let (first, last) = (times.iter().min().context("none")?, times.iter().max().context("none")?);
    println!("connections: {} hellos of a byte a second ended after {first:?} to {last:?}", times.len());
    ensure!(*first >= HELLO - Duration::from_millis(100) && *last <= HELLO + LATE, "not on time");
    Ok(())
}

/// What there was while silent connections came.
struct Found {
    open: usize,
    answered: u64,
    text: String,
}

/// Gives the attacker's end of its cable its addresses.
fn addresses(lab: &Lab) -> Result<Vec<Ipv4Addr>> {
    let all: Vec<_> = (0..SOURCES)
        .map(|host| Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 1)) + u32::from(host)))
        .collect();
    let lines: Vec<_> = all.iter().map(|address| format!("address add {address}/32 dev uplink")).collect();
    lab.attacker.ip(&lines)?;
    Ok(all)
}

fn honest(lab: &Lab, nginx: &Nginx) -> Result<(u64, Duration)> {
    let https = Https { rate: Some(REQUESTS / SECONDS), ..Https::new(nginx) };
    let outcome = https.run(&lab.client, REQUESTS)?;
    Ok((outcome.ok, outcome.quantile(0.5).unwrap_or_default()))
}

fn measure(lab: &Lab, nginx: &Nginx, sources: &[Ipv4Addr], count: u32, quiet: Duration) -> Result<Found> {
    let over = AtomicBool::new(false);
    let (streams, (answered, median), most) = thread::scope(|scope| {
        let watch = scope.spawn(|| most_established(&lab.server, 443, Some(FLOOD), &over));
        let requests = scope.spawn(|| honest(lab, nginx));
        let streams = lab.attacker.enter(|| begin_all(sources, count))?;
        let requests = requests.join().map_err(|_| anyhow!("the requests panicked"))?;
        over.store(true, Ordering::Relaxed);
        let most = watch.join().map_err(|_| anyhow!("the watch panicked"))?;
        Ok::<_, anyhow::Error>((streams?, requests?, most?))
    })?;
    thread::sleep(SETTLE);
    let open = open(lab)?;
    let text = format!(
        "{count} silent connections of {} sources: {open} are open, at most {most} were; {answered} of {REQUESTS} honest requests, {:.2} \
         times as long",
        sources.len(),
        median.as_secs_f64() / quiet.as_secs_f64()
    );
    close(streams);
    let start = Instant::now();
    while self::open(lab)? != 0 {
        ensure!(start.elapsed() < Duration::from_secs(30), "connections of the flood stay open");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(Found { open, answered, text })
}

/// Closes connections at a steady rate. Of thousands at once the cable drops some FINs at the sender's own end, which Linux tries again each half
/// second; after eight times it gives the socket up without a word (`tcp_send_probe0`, `tcp_probe_timer`), and the server keeps its own.
fn close(streams: Vec<TcpStream>) {
    const AT_ONCE: usize = 50;
    for (number, stream) in streams.into_iter().enumerate() {
        drop(stream);
        if number % AT_ONCE == AT_ONCE - 1 {
            thread::sleep(Duration::from_secs(1) * AT_ONCE as u32 / RATE);
        }
    }
}

/// The flood's connections that the server has.
fn open(lab: &Lab) -> Result<usize> {
    established(&lab.server, 443, Some(FLOOD))
}

/// Begins connections at a steady rate, and keeps those that come about.
fn begin_all(sources: &[Ipv4Addr], count: u32) -> Result<Vec<TcpStream>> {
    let (start, mut fresh, mut sockets) = (Instant::now(), VecDeque::new(), Vec::new());
    for number in 0..count {
        let due = start + Duration::from_secs(1) * number / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // There are fewer descriptors than connections.
        while let Some((_, socket)) =
            fresh.pop_front_if(|(begun, _): &mut (Instant, TcpStream)| begun.elapsed() > GIVEN_UP)
        {
            sockets.extend(socket.peer_addr().is_ok().then_some(socket));
        }
        let source = sources[number as usize % sources.len()].into();
        fresh.push_back((Instant::now(), begin(source, SocketAddr::new(SERVER_V4.into(), 443))?));
    }
    sockets.extend(fresh.into_iter().map(|(_, socket)| socket));
    Ok(sockets)
}

/// How long connections last whose hello comes byte by byte.
fn slow_hellos(lab: &Lab) -> Result<Vec<Duration>> {
    lab.client.enter(|| {
        let connect = |_| Ok((Instant::now(), TcpStream::connect((IpAddr::V4(SERVER_V4), 443))?));
        let mut open = (0..EACH).map(connect).collect::<Result<Vec<_>>>()?;
        let mut times = Vec::new();
        for byte in hello::tls13("gateway.test").chunks(1) {
            let second = Instant::now();
            open.iter_mut().try_for_each(|(_, stream)| {
                stream.set_nonblocking(true)?;
                // One that is ended is seen below.
                let _ = stream.write(byte);
                Ok::<_, anyhow::Error>(())
            })?;
            while second.elapsed() < Duration::from_secs(1) {
                open.retain_mut(|(start, stream)| {
                    let is_open = stream
                        .read(&mut [0; 64])
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                    if !is_open {
                        times.push(start.elapsed());
                    }
                    is_open
                });
                thread::sleep(Duration::from_millis(10));
            }
            if open.is_empty() {
                break;
            }
        }
        ensure!(open.is_empty(), "{} slow hellos are still open", open.len());
        Ok(times)
    })?
}
