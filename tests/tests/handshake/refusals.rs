//! Refused openings end on both sides; and what ends nobody's connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gateway_tests::builder::{Frame, between, flags, hello};
use gateway_tests::lab::{
    ByHand, Counters, FLOOD_V4, FLOOD_V6, Gateway, Lab, PlainListener, SERVER_V4, SERVER_V6, Wire, alone,
    require_lab,
};

use super::{PATIENCE, until};

const RESET: u16 = 9_000;
const DROP: u16 = 9_001;
const COOKIES: u16 = 9_002;
const NAMED: u16 = 9_003;
const DUAL: u16 = 9_004;
const CONFIG: &str = "mode = \"enforce\"\n[attach]\nset_sysctls = true\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n\
    [ban]\nstrikes = 10000\n\
    [[service]]\nname = \"reset\"\nprotocol = \"tcp\"\nports = [9000]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n\
    [[service]]\nname = \"drop\"\nprotocol = \"tcp\"\nports = [9001]\nrequire = \"tls\"\nsyn_cookies = \"off\"\nrefuse = \"drop\"\n\
    [[service]]\nname = \"cookies\"\nprotocol = \"tcp\"\nports = [9002]\nrequire = \"tls\"\nsyn_cookies = \"always\"\n\
    [[service]]\nname = \"named\"\nprotocol = \"tcp\"\nports = [9003]\nrequire = \"tls\"\nserver_names = [\"gateway.test\"]\nsyn_cookies = \"off\"\n\
    [[service]]\nname = \"dual\"\nprotocol = \"tcp\"\nports = [9004]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n";
const PLAINTEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
/// Longer than the daemon waits before it ends a connection, on a busy machine too.
const A_WHILE: Duration = Duration::from_millis(150);

/// Whether the server's connection with a peer is over; nothing: it has none.
fn closed(listener: &PlainListener, peer: SocketAddr) -> Option<bool> {
    let is_it = |one: &SocketAddr| one.ip().to_canonical() == peer.ip() && one.port() == peer.port();
    listener.delivered().iter().rfind(|one| is_it(&one.peer)).map(|one| one.closed)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_refused_connection_is_reset_before_it_sends_again() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let mut ended = 0;
    for address in [IpAddr::from(SERVER_V4), SERVER_V6.into()] {
        for offload in ["off", "on"] {
            // Where it is on, the program sees a checksum that is not finished.
            lab.client.run("ethtool", &["-K", "uplink", "tx", offload])?;
            for (port, sent) in [
                (RESET, PLAINTEXT.to_vec()),
                (RESET, [&hello::tls13("gateway.test")[..3], b"no hello"].concat()),
                (NAMED, hello::tls13("another.test")),
                (COOKIES, PLAINTEXT.to_vec()),
                (DUAL, PLAINTEXT.to_vec()),
            ] {
                let server = SocketAddr::new(address, port);
                // One socket for both families has the addresses of IPv4 in those of IPv6.
                let own =
                    if port == DUAL { SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), DUAL) } else { server };
                let listener = PlainListener::start(&lab.server, own)?;
                // Before it is known that connections end here, no cookie answers.
                let warm = lab.client.enter(|| TcpStream::connect(server))??;
                drop(warm);
                let before = Counters::read(&lab.client)?;
                let mut stream = lab.client.enter(|| TcpStream::connect(server))??;
                stream.set_read_timeout(Some(PATIENCE))?;
                let start = Instant::now();
                stream.write_all(&sent)?;
                let read = stream.read(&mut [0; 16]);
                let took = start.elapsed();
                let again = Counters::read(&lab.client)?.since(&before).get("TcpRetransSegs");
                println!("{server}, offload {offload}: {read:?} after {took:?}, {again} sent again");
                ensure!(
                    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
                    "{server}: no reset"
                );
                ensure!(again == 0, "{server}: {again} segments were sent again");
                let own = stream.local_addr()?;
                until(|| closed(&listener, own) == Some(true), "the server's socket stays open")?;
                ended += u64::from(port == RESET);
            }
        }
    }
    let counted = gateway.metrics()?.sum("gateway_refused_reset_total", &[("service", "reset")]);
    ensure!(counted == ended, "{counted} connections counted, not {ended}");
    let status = gateway.done(&["status"])?;
    ensure!(status.contains(&format!("{ended} connections to reset that were refused")), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn where_it_is_not_wanted_nothing_ends() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    for (port, mode) in [(DROP, "enforce"), (RESET, "monitor")] {
        gateway.done(&["mode", mode])?;
        let server = SocketAddr::new(SERVER_V4.into(), port);
        let listener = PlainListener::start(&lab.server, server)?;
        let mut stream = lab.client.enter(|| TcpStream::connect(server))??;
        stream.set_read_timeout(Some(2 * A_WHILE))?;
        stream.write_all(PLAINTEXT)?;
        let read = stream.read(&mut [0; 16]);
        ensure!(
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{server} in {mode} mode ended"
        );
        let delivered = listener.has(stream.local_addr()?, PLAINTEXT);
        ensure!(delivered == (mode == "monitor"), "{server} in {mode} mode: delivered {delivered}");
    }
    Ok(())
}

/// MSS and timestamps.
fn syn_options(stamp: u32) -> Vec<u8> {
    [&[2, 4, 5, 180][..], &stamps(stamp)].concat()
}

fn stamps(stamp: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &stamp.to_be_bytes(), &[0; 4]].concat()
}

/// A timestamp of the client's, with room before it.
const STAMP: u32 = 1_000_000;

/// What is sent into a connection that is open, in one batch.
type Sent = fn(&ByHand<'_>) -> Vec<Frame>;

fn plaintext(by_hand: &ByHand<'_>, position: i32) -> Frame {
    by_hand.at(position, PLAINTEXT).tcp_options(&stamps(STAMP + 5))
}

/// What must not end a connection, each with a connection of its own; then that a hello still gets through.
const HARMLESS: [(&str, Sent); 11] = [
    ("one byte too early", |hand| vec![plaintext(hand, -1)]),
    ("one byte too late", |hand| vec![plaintext(hand, 1)]),
    ("a checksum that is wrong", |hand| vec![plaintext(hand, 0).poke_transport(16, &[0x12, 0x34])]),
    ("a timestamp that is stale", |hand| vec![hand.at(0, PLAINTEXT).tcp_options(&stamps(STAMP - 1))]),
    ("an acknowledgment of what was not sent", |hand| vec![plaintext(hand, 0).ack(hand.ack.wrapping_add(1))]),
    ("an acknowledgment of what was before", |hand| vec![plaintext(hand, 0).ack(hand.ack.wrapping_sub(1))]),
    ("no acknowledgment", |hand| vec![plaintext(hand, 0).flags(flags::PSH)]),
    ("a signature by MD5", |hand| {
        let signature = [&[19, 18][..], &[7; 16], &[1, 1]].concat();
        vec![hand.at(0, PLAINTEXT).tcp_options(&signature)]
    }),
    ("another address", |hand| {
        let segment = between(neighbour(hand.local.ip()), hand.remote.ip())
            .tcp(hand.local.port(), hand.remote.port())
            .seq(hand.isn.wrapping_add(1));
        vec![segment.ack(hand.ack).tcp_options(&stamps(STAMP + 5)).payload(PLAINTEXT)]
    }),
    ("behind the real segment in its batch", |hand| {
        vec![hand.at(0, &hello::tls13("gateway.test")).tcp_options(&stamps(STAMP + 5)), plaintext(hand, 0)]
    }),
    ("before the real segment in its batch", |hand| {
        vec![plaintext(hand, 0), hand.at(0, &hello::tls13("gateway.test")).tcp_options(&stamps(STAMP + 5))]
    }),
];

/// The next address.
fn neighbour(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ 1).into(),
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn nobody_ends_a_connection_who_could_not_reset_it() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let _gateway = Gateway::start(&lab, CONFIG)?;
    let wire = Wire::open(&lab)?;
    let mut port = 20_000;
    for (local, address) in
        [(IpAddr::from(FLOOD_V4), IpAddr::from(SERVER_V4)), (FLOOD_V6.into(), SERVER_V6.into())]
    {
        let server = SocketAddr::new(address, RESET);
        let listener = PlainListener::start(&lab.server, server)?;
        for (name, sent) in HARMLESS {
            port += 1;
            let hand = open(&wire, &listener, SocketAddr::new(local, port), server)?;
            for frame in sent(&hand) {
                hand.send(&frame)?;
            }
            thread::sleep(A_WHILE);
            ensure!(
                closed(&listener, hand.local) == Some(false),
                "{name}: it has ended the connection to {server}"
            );
            let whole = hello::tls13("gateway.test");
            hand.send(&hand.at(0, &whole).tcp_options(&stamps(STAMP + 9)))?;
            until(
                || listener.has(hand.local, &whole),
                &format!("{name}: no hello gets through to {server}"),
            )?;
        }
        // The same with nothing wrong.
        port += 1;
        let hand = open(&wire, &listener, SocketAddr::new(local, port), server)?;
        hand.send(&plaintext(&hand, 0))?;
        let reset = hand.answer(PATIENCE, |answer| answer.flags & flags::RST != 0)?;
        ensure!(reset.is_some_and(|reset| reset.sequence == hand.ack), "no reset that its client takes");
        until(|| closed(&listener, hand.local) == Some(true), "the server's socket stays open")?;
        in_syn_recv(&wire, &listener, SocketAddr::new(local, port + 1), server)?;
        port += 1;
    }
    Ok(())
}

/// A connection with timestamps that the server has accepted.
fn open<'a>(
    wire: &'a Wire,
    listener: &PlainListener,
    local: SocketAddr,
    server: SocketAddr,
) -> Result<ByHand<'a>> {
    let mut hand = ByHand::new(wire, local, server, 7_000);
    hand.ask(&hand.syn().tcp_options(&syn_options(STAMP)))?;
    hand.send(&hand.at(0, &[]).tcp_options(&stamps(STAMP)))?;
    until(|| closed(listener, local).is_some(), "the connection is not accepted")?;
    Ok(hand)
}

/// While the handshake is under way there is no connection to end; the segment that was refused ends none that comes of it later.
fn in_syn_recv(wire: &Wire, listener: &PlainListener, local: SocketAddr, server: SocketAddr) -> Result<()> {
    let mut hand = ByHand::new(wire, local, server, 7_000);
    hand.ask(&hand.syn().tcp_options(&syn_options(STAMP)))?;
    hand.send(&plaintext(&hand, 0))?;
    thread::sleep(A_WHILE);
    let whole = hello::tls13("gateway.test");
    hand.send(&hand.at(0, &[]).tcp_options(&stamps(STAMP + 9)))?;
    hand.send(&hand.at(0, &whole).tcp_options(&stamps(STAMP + 9)))?;
    until(|| listener.has(local, &whole), "no hello gets through after a handshake that was under way")
}
