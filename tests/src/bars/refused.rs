//! Connections that are refused hold nothing: neither at the server nor at their clients.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::Scale;
use crate::builder::hello;
use crate::lab::{Counters, Gateway, Https, Lab, PlainListener, SERVER_V4, most_established};

/// Plaintext connections in a second, and addresses that they come from.
const RATE: u32 = 1_000;
const SOURCES: u8 = 50;
/// Seconds of it, at full length: 10,000 connections.
const SECONDS: u32 = 10;
/// What is sent.
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
/// When a client is reset at the latest, but for a few that the machine keeps waiting.
const RESET: Duration = Duration::from_millis(50);
/// The share of connections that may be late, or open at the server at any time.
const FEW: f64 = 0.01;
/// How much longer an honest request may take, in the median.
const HONEST: f64 = 1.2;
/// Honest requests, and how many of them in a second.
const REQUESTS: u32 = 100;
/// Workers of the server that has a process for each connection.
const WORKERS: usize = 50;
const NGINX: u16 = 443;
const PATIENT: u16 = 9_000;
const PREFORK: u16 = 9_001;

fn config() -> String {
    let service = |name: &str, port: u16| {
        format!("[[service]]\nname = \"{name}\"\nprotocol = \"tcp\"\nports = [{port}]\nrequire = \"tls\"\n")
    };
    let services = [("nginx", NGINX), ("patient", PATIENT), ("prefork", PREFORK)];
    let services: String = services.into_iter().map(|(name, port)| service(name, port)).collect();
    format!("mode = \"enforce\"\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n{services}")
}

/// Plaintext from 50 addresses to nginx, to a server without time-outs and to one with 50 workers: hardly any of it is open at the server
/// at any time, its clients are reset before they send again, and honest requests are answered as quickly as without.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn refused(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let sources = lab.add_clients(SOURCES)?;
    let nginx = lab.nginx()?;
    let _patient = PlainListener::start(&lab.server, SocketAddr::new(SERVER_V4.into(), PATIENT))?;
    let _prefork = Prefork::start(&lab)?;
    let gateway = Gateway::start(&lab, &config())?;
    let seconds = SECONDS.min(scale.seconds as u32);
    let https = Https { rate: Some(REQUESTS / seconds), ..Https::new(&nginx) };
    let requests = |port: u16| -> Result<(u64, Duration)> {
        if port == PREFORK {
            return answered(&lab, REQUESTS, Duration::from_secs(1) * seconds / REQUESTS);
        }
        let outcome = https.run(&lab.client, REQUESTS)?;
        Ok((outcome.ok, outcome.quantile(0.5).unwrap_or_default()))
    };
    for port in [NGINX, PATIENT, PREFORK] {
        let (_, quiet) = requests(port)?;
        let over = AtomicBool::new(false);
        let before = Counters::read(&lab.attacker)?;
        let (plain, honest, most) = thread::scope(|scope| {
            let watch = scope.spawn(|| most_established(&lab.server, port, Some("203.0.113.0/24"), &over));
            let honest = scope.spawn(|| requests(port));
            let plain = lab.attacker.enter(|| connections(&sources, port, RATE * seconds))?;
            let honest = honest.join().map_err(|_| anyhow!("the requests panicked"))?;
            over.store(true, Ordering::Relaxed);
            let most = watch.join().map_err(|_| anyhow!("the watch panicked"))?;
            Ok::<_, anyhow::Error>((plain?, honest?, most?))
        })?;
        let again = Counters::read(&lab.attacker)?.since(&before).get("TcpRetransSegs");
        let (all, late) = (plain.len(), plain.iter().filter(|took| **took > RESET).count());
        let (answered, median) = honest;
        let ratio = median.as_secs_f64() / quiet.as_secs_f64();
        println!(
            "refused: port {port}: {all} connections, reset after {:.1?} in the median and {:.1?} at most, {late} after {RESET:?}; \
             {again} segments sent again; at most {most} open at the server; {answered} of {REQUESTS} honest requests, {ratio:.2} times as long",
            quantile(&plain, 0.5),
            quantile(&plain, 1.0),
        );
        let few = (all as f64 * FEW) as usize;
        ensure!(most <= few, "port {port}: {most} connections were open at once");
        ensure!(late <= few, "port {port}: {late} clients were not reset within {RESET:?}");
        ensure!(again <= few as u64, "port {port}: {again} segments were sent again");
        ensure!(
            answered == u64::from(REQUESTS),
            "port {port}: {answered} of {REQUESTS} requests were answered"
        );
        ensure!(ratio <= HONEST, "port {port}: honest requests took {ratio:.2} times as long");
    }
    let ended = gateway.metrics()?.sum("gateway_refused_reset_total", &[]);
    ensure!(ended >= u64::from(3 * RATE * seconds), "{ended} connections counted");
    Ok(())
}

fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default()
}

/// Opens connections at a steady rate, sends plaintext, and waits for their end; how long each lasted from the plaintext on.
fn connections(sources: &[Ipv4Addr], port: u16, count: u32) -> Result<Vec<Duration>> {
    let (start, mut open, mut ended) = (Instant::now(), Vec::new(), Vec::new());
    for number in 0..count {
        let due = start + Duration::from_secs(1) * number / RATE;
        while Instant::now() < due {
            collect(&mut open, &mut ended)?;
            thread::sleep(Duration::from_micros(200));
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(sources[number as usize % sources.len()].into(), 0).into())?;
        socket.connect(&SocketAddr::new(SERVER_V4.into(), port).into())?;
        let mut stream: TcpStream = socket.into();
        stream.write_all(HTTP)?;
        stream.set_nonblocking(true)?;
        open.push((Instant::now(), stream));
    }
    let patience = Instant::now() + Duration::from_secs(10);
    while !open.is_empty() {
        ensure!(Instant::now() < patience, "{} connections are not reset", open.len());
        collect(&mut open, &mut ended)?;
        thread::sleep(Duration::from_micros(200));
    }
    Ok(ended)
}

/// Takes those out that are reset.
fn collect(open: &mut Vec<(Instant, TcpStream)>, ended: &mut Vec<Duration>) -> Result<()> {
    let mut wrong = None;
    open.retain_mut(|(since, stream)| match stream.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            ended.push(since.elapsed());
            false
        }
        other => {
            wrong = Some(other);
            false
        }
    });
    ensure!(wrong.is_none(), "a connection ended as {wrong:?}");
    Ok(())
}

/// A server with a thread for each connection, no more than it has workers, and no time-outs.
struct Prefork {
    listener: TcpListener,
    workers: Vec<thread::JoinHandle<()>>,
}

/// What it answers.
const ANSWER: &[u8] = b"here";

impl Prefork {
    fn start(lab: &Lab) -> Result<Self> {
        let address = SocketAddr::new(IpAddr::V4(SERVER_V4), PREFORK);
        let listener = lab.server.enter(|| TcpListener::bind(address))?.context("cannot listen")?;
        let work = |listener: TcpListener| {
            thread::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if stream.read(&mut [0; 1_024]).is_ok_and(|length| length != 0) {
                        let _ = stream.write_all(ANSWER);
                    }
                }
            })
        };
        let workers = (0..WORKERS).map(|_| Ok(work(listener.try_clone()?))).collect::<Result<_>>()?;
        Ok(Self { listener, workers })
    }
}

impl Drop for Prefork {
    fn drop(&mut self) {
        // Whoever waits for a connection is told that there is none any more.
        let _ = SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// Honest connections to it, one after another; how many were answered, and the median of how long each took.
fn answered(lab: &Lab, count: u32, pause: Duration) -> Result<(u64, Duration)> {
    let hello = hello::tls13("gateway.test");
    lab.client.enter(|| {
        let mut times = Vec::new();
        for _ in 0..count {
            thread::sleep(pause);
            let start = Instant::now();
            let mut stream = TcpStream::connect((SERVER_V4, PREFORK))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(&hello)?;
            let mut answer = [0; ANSWER.len()];
            if stream.read_exact(&mut answer).is_ok() {
                times.push(start.elapsed());
            }
        }
        Ok((times.len() as u64, quantile(&times, 0.5)))
    })?
}
