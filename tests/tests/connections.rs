//! Connections are held to their number and their time, in the lab.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gateway_tests::builder::{between, flags, hello};
use gateway_tests::lab::{
    self, CLIENT_V4, CLIENT_V6, Gateway, Https, Lab, Namespace, PlainListener, SERVER_V4, SERVER_V6, Wire,
    alone, require_lab,
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a few looks of the daemon's take.
const A_WHILE: Duration = Duration::from_millis(400);
const PLAIN: u16 = 9_100;
const TOTAL: u16 = 9_101;
const NEAR: u16 = 9_102;
const SLOW: u16 = 9_103;
/// What a source may have open, a service of all, and a neighbourhood.
const EACH: usize = 20;
const ALL: usize = 30;
const NEIGHBOURS: usize = 25;

fn config() -> String {
    let service = |name: &str, port: u16, more: &str| {
        format!("[[service]]\nname = \"{name}\"\nprotocol = \"tcp\"\nports = [{port}]\n{more}\n")
    };
    [
        "mode = \"enforce\"\n[limits]\nsyn = \"none\"\n".to_owned(),
        service("plain", PLAIN, &format!("connections = {EACH}")),
        service("total", TOTAL, &format!("total.connections = {ALL}")),
        service("slow", SLOW, "require = \"tls\"\nhello_timeout = \"2s\""),
        service("web", 443, "require = \"tls\"\nhello_timeout = \"2s\"\nidle_timeout = \"4s\""),
    ]
    .concat()
}

/// Begins connections, without waiting for them.
fn begin(from: &Namespace, source: IpAddr, server: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    from.enter(|| (0..count).map(|_| lab::begin(source, server)).collect())?
}

/// How many connections the server has open on a port.
fn open(lab: &Lab, port: u16) -> Result<usize> {
    lab::established(&lab.server, port, None)
}

/// Waits until as many are open as it says.
fn until(lab: &Lab, port: u16, is_it: impl Fn(usize) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let now = open(lab, port)?;
        if is_it(now) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{now} connections to port {port} are open");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until so many are open, and looks whether it stays so.
fn stays(lab: &Lab, port: u16, count: usize) -> Result<()> {
    until(lab, port, |now| now == count)?;
    thread::sleep(A_WHILE);
    let now = open(lab, port)?;
    ensure!(now == count, "{now} connections to port {port} are open, not {count}");
    Ok(())
}

/// Whether the other side has ended a connection: nothing while it is open.
fn ended(mut stream: &TcpStream) -> Result<Option<ErrorKind>> {
    stream.set_nonblocking(true)?;
    match stream.read(&mut [0; 4_096]) {
        Ok(0) => Ok(Some(ErrorKind::UnexpectedEof)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(None),
        Err(error) => Ok(Some(error.kind())),
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_source_has_as_many_open_as_it_may() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, &config())?;
    for (address, source) in
        [(IpAddr::from(SERVER_V4), IpAddr::from(CLIENT_V4)), (SERVER_V6.into(), CLIENT_V6.into())]
    {
        let server = SocketAddr::new(address, PLAIN);
        let _listener = PlainListener::start(&lab.server, server)?;
        let first = begin(&lab.client, source, server, EACH / 2)?;
        stays(&lab, PLAIN, EACH / 2)?;
        let before = gateway.metrics()?.packets(lab.client_side(), "drop", "limit_connections");
        // What comes at once is ended; what comes later does not get as far.
        let mut more = begin(&lab.client, source, server, 2 * EACH)?;
        stays(&lab, PLAIN, EACH)?;
        more.extend(begin(&lab.client, source, server, EACH)?);
        stays(&lab, PLAIN, EACH)?;
        for stream in &first {
            ensure!(ended(stream)?.is_none(), "an older connection was ended");
        }
        let metrics = gateway.metrics()?;
        let refused = metrics.packets(lab.client_side(), "drop", "limit_connections") - before;
        let told = metrics.sum("gateway_connections", &[("service", "plain")]);
        ensure!(
            refused >= EACH as u64 && told == EACH as u64,
            "{refused} SYNs refused, {told} connections told"
        );
        // One goes, and there is room for one; of those that wait for it TCP sends SYNs again and again.
        drop(first);
        stays(&lab, PLAIN, EACH)?;
        drop(more);
        stays(&lab, PLAIN, 0)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn services_and_neighbourhoods_have_as_many_as_they_may() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let sources = lab.add_clients(10)?;
    let neighbours = format!("{}[limits.neighbours]\nsyn = \"none\"\nconnections = {NEIGHBOURS}\n", config());
    let near = format!("{neighbours}[[service]]\nname = \"near\"\nprotocol = \"tcp\"\nports = [{NEAR}]\n");
    let gateway = Gateway::start(&lab, &config())?;
    let from_all = |port: u16| -> Result<Vec<TcpStream>> {
        let server = SocketAddr::new(SERVER_V4.into(), port);
        let one = |source: &Ipv4Addr| begin(&lab.attacker, (*source).into(), server, 5);
        Ok(sources.iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    let listen = |port| PlainListener::start(&lab.server, SocketAddr::new(SERVER_V4.into(), port));
    let _total = listen(TOTAL)?;
    let kept = from_all(TOTAL)?;
    stays(&lab, TOTAL, ALL)?;
    let refused = from_all(TOTAL)?;
    stays(&lab, TOTAL, ALL)?;
    drop((kept, refused));
    stays(&lab, TOTAL, 0)?;
    let _near = listen(NEAR)?;
    gateway.write_config(&near)?;
    gateway.done(&["reload"])?;
    let _kept = from_all(NEAR)?;
    stays(&lab, NEAR, NEIGHBOURS)?;
    let _refused = from_all(NEAR)?;
    stays(&lab, NEAR, NEIGHBOURS)?;
    // Others are not held by it.
    let other = begin(&lab.client, CLIENT_V4.into(), SocketAddr::new(SERVER_V4.into(), NEAR), 3)?;
    stays(&lab, NEAR, NEIGHBOURS + other.len())?;
    let metrics = gateway.metrics()?;
    for reason in ["total_connections", "neighbours_connections"] {
        let refused = metrics.packets(lab.attack_side(), "drop", reason);
        ensure!(refused > 0, "no SYN was refused as {reason}");
    }
    // Trust holds at once, and is taken back at once.
    gateway.done(&["allow", "add", "203.0.113.0/24"])?;
    let more = from_all(NEAR)?;
    until(&lab, NEAR, |now| now >= NEIGHBOURS + other.len() + more.len())?;
    gateway.done(&["allow", "del", "203.0.113.0/24"])?;
    stays(&lab, NEAR, NEIGHBOURS + other.len())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn nothing_forged_counts_and_monitor_mode_ends_nothing() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, &config())?;
    let server = SocketAddr::new(SERVER_V4.into(), PLAIN);
    let _listener = PlainListener::start(&lab.server, server)?;
    // By the attacker's cable, in the client's name.
    let wire = Wire::open(&lab)?;
    for port in 0..4 * EACH as u16 {
        let syn =
            between(CLIENT_V4.into(), SERVER_V4.into()).tcp(30_000 + port, PLAIN).flags(flags::SYN).seq(7);
        wire.send(&syn)?;
    }
    let honest = begin(&lab.client, CLIENT_V4.into(), server, EACH)?;
    stays(&lab, PLAIN, EACH)?;
    drop(honest);
    stays(&lab, PLAIN, 0)?;
    gateway.done(&["mode", "monitor"])?;
    let _many = begin(&lab.client, CLIENT_V4.into(), server, 2 * EACH)?;
    stays(&lab, PLAIN, 2 * EACH)?;
    let _more = begin(&lab.client, CLIENT_V4.into(), server, 1)?;
    stays(&lab, PLAIN, 2 * EACH + 1)?;
    let metrics = gateway.metrics()?;
    let would = metrics.packets(lab.client_side(), "would_drop", "limit_connections");
    let ended = metrics.sum("gateway_connections_ended_total", &[("service", "plain"), ("cause", "limit")]);
    ensure!(would == 1 && ended == 0, "{would} SYNs would have been dropped, {ended} connections were ended");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn silent_and_slow_ones_have_their_time() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config())?;
    let server = SocketAddr::new(SERVER_V4.into(), 443);
    let https = Https { keep_alive: true, rate: Some(1), ..Https::new(&nginx) };
    thread::scope(|scope| {
        // Whoever speaks stays, for longer than any of the times.
        let honest = scope.spawn(|| https.run(&lab.client, 8));
        let silent = lab.client.enter(|| TcpStream::connect(server))??;
        let mut slow = lab.client.enter(|| TcpStream::connect(server))??;
        let start = Instant::now();
        let whole = hello::tls13("gateway.test");
        let mut slow_for = None;
        for byte in whole.chunks(1) {
            if slow.write_all(byte).is_err() || ended(&slow)?.is_some() {
                slow_for = Some(start.elapsed());
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "a slow hello is not ended");
            thread::sleep(Duration::from_millis(100));
        }
        println!("a byte every 100 ms: ended after {slow_for:?}");
        ensure!(slow_for.is_some_and(|time| time > Duration::from_secs(1)), "a slow hello: {slow_for:?}");
        ensure!(ended(&silent)? == Some(ErrorKind::ConnectionReset), "a silent connection is open");
        let outcome = honest.join().expect("the requests")?;
        ensure!(outcome.failed == 0, "honest requests: {outcome:?}");
        Ok(())
    })?;
    // A server that does not come to read is late itself.
    let address = SocketAddr::new(SERVER_V4.into(), SLOW);
    let sleepy = lab.server.enter(|| std::net::TcpListener::bind(address))??;
    let mut unread = lab.client.enter(|| TcpStream::connect(address))??;
    unread.write_all(&hello::tls13("gateway.test"))?;
    let silent = lab.client.enter(|| TcpStream::connect(address))??;
    thread::sleep(Duration::from_secs(4));
    ensure!(ended(&unread)?.is_none(), "a connection was ended whose server is late");
    ensure!(ended(&silent)? == Some(ErrorKind::ConnectionReset), "a silent connection is open");
    drop(sleepy);
    // What speaks no more has its time too, where it is asked for.
    let outcome = Https { keep_alive: true, rate: None, ..https }.run(&lab.client, 1)?;
    ensure!(outcome.ok == 1, "{outcome:?}");
    let ended = |cause| {
        let labels = [("service", "web"), ("cause", cause)];
        Ok::<_, anyhow::Error>(gateway.metrics()?.sum("gateway_connections_ended_total", &labels))
    };
    ensure!(ended("hello_timeout")? == 2, "{} were ended for their hello", ended("hello_timeout")?);
    let status = gateway.done(&["status"])?;
    ensure!(status.contains("HELLO TIMEOUT"), "{status}");
    Ok(())
}
