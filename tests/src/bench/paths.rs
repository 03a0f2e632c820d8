//! Ways through the packet path, each with a policy and a frame that takes it.

use gateway_common::{
    abi::{FOREVER, listing},
    limit::rate::{Dimension, Limit},
    source::KEY_V4,
};
use gateway_tests::builder::{Frame, IpProto, ethernet, flags, hello, ip};
use gateway_tests::cases::{Draft as _, Offer, SERVER, SERVER_V6, limit};
use gateway_user::host::Stand;

/// One way.
pub(crate) struct Path {
    /// In words.
    pub(crate) name: &'static str,
    /// The policy.
    pub(crate) stand: Stand,
    /// A source that is banned: a key of `gateway_common::state::bans`.
    pub(crate) banned: Option<u64>,
    /// Frames that come once, before it is measured.
    pub(crate) before: Vec<Vec<u8>>,
    /// The frame that is measured.
    pub(crate) frame: Vec<u8>,
    /// Whether it is to be dropped.
    pub(crate) drops: bool,
}

impl Path {
    fn new(name: &'static str, stand: Stand, frame: &Frame, drops: bool) -> Self {
        Self { name, stand, banned: None, before: Vec::new(), frame: frame.build(), drops }
    }

    fn banned(mut self, source: [u8; 4]) -> Self {
        self.banned = Some(KEY_V4 | u64::from(u32::from_be_bytes(source)));
        self
    }

    fn after(mut self, frames: &[Frame]) -> Self {
        self.before = frames.iter().map(Frame::build).collect();
        self
    }
}

/// More than a test run can use up.
fn ample(dimension: Dimension) -> Limit {
    let rate = if dimension == Dimension::Bytes { 10_000_000_000 } else { 100_000_000 };
    limit(dimension, rate, rate)
}

/// Next to nothing.
fn scarce(dimension: Dimension) -> Limit {
    limit(dimension, 10, 10)
}

/// The policy of a host that limits what the documentation's example limits, with room for everything.
fn limited() -> Stand {
    let each = [Dimension::Packets, Dimension::Bytes, Dimension::Syn, Dimension::Udp, Dimension::Icmp];
    let stand =
        each.into_iter().fold(Stand::new(), |stand, dimension| stand.each(dimension, ample(dimension)));
    [Dimension::Packets, Dimension::Syn]
        .into_iter()
        .fold(stand, |stand, dimension| stand.neighbours(dimension, ample(dimension)))
}

/// The same with a gated service that has a total.
fn gated() -> Stand {
    limited().serve(Offer::tls(443).total(Dimension::Syn, ample(Dimension::Syn)))
}

/// A source of its own for each way, so that none meets what another has left in the tables.
fn from(last: u8) -> String {
    format!("192.0.2.{last}")
}

/// Makes a frame of 60 bytes, the least that Ethernet carries.
const QUESTION: &[u8] = b"a question of 18 b";

fn udp(last: u8) -> Frame {
    ip(&from(last), SERVER).udp(40_000, 53).payload(QUESTION)
}

fn tcp(last: u8) -> Frame {
    ip(&from(last), SERVER).tcp(40_000, 443).seq(1_001)
}

fn syn(last: u8) -> Frame {
    tcp(last).flags(flags::SYN).seq(1_000).tcp_options(&[2, 4, 5, 180])
}

/// All ways.
pub(crate) fn all() -> Vec<Path> {
    [open(), limits(), lists(), unlike(), gate()].into_iter().flatten().collect()
}

fn open() -> Vec<Path> {
    let chain = ip("2001:db8::9", SERVER_V6)
        .extension(IpProto::HopOpt, &[1, 4, 0, 0, 0, 0])
        .extension(IpProto::Ipv6Route, &[2; 6])
        .extension(IpProto::Ipv6Opts, &[1, 4, 0, 0, 0, 0])
        .udp(40_000, 53);
    let plain = ip("2001:db8::8", SERVER_V6).udp(40_000, 53);
    vec![
        Path::new("not IP (ARP)", limited(), &ethernet(0x0806, &[0; 46]), false),
        Path::new("UDP, no limits at all", Stand::new(), &udp(1), false),
        Path::new("IPv6 UDP, no limits at all", Stand::new(), &plain, false),
        Path::new("IPv6 UDP behind 3 extension headers, no limits", Stand::new(), &chain, false),
    ]
}

fn limits() -> Vec<Path> {
    let over = limited().each(Dimension::Udp, scarce(Dimension::Udp));
    let crowd = limited().neighbours(Dimension::Packets, scarce(Dimension::Packets));
    // A neighbourhood of its own: what it owes shall not hold the others.
    let far = ip("198.51.7.9", SERVER).udp(40_000, 53).payload(QUESTION);
    let one = Stand::new().each(Dimension::Packets, ample(Dimension::Packets));
    vec![
        Path::new("dropped: one source over its limit", over, &udp(2), true),
        Path::new("dropped: its neighbourhood over its limit", crowd, &far, true),
        Path::new("admitted: one budget", one, &udp(3), false),
        Path::new("admitted: UDP, 4 budgets", limited(), &udp(4), false),
        Path::new("admitted: SYN, 5 budgets", limited(), &syn(5), false),
        Path::new("admitted: SYN to a gated service, 6 budgets", gated(), &syn(6), false),
    ]
}

fn lists() -> Vec<Path> {
    let block = |stand: Stand, prefix: &str| stand.list(prefix, listing::BLOCK, 0);
    let many = (0..10_000_u32).fold(limited(), |stand, index| {
        block(stand, &format!("{}.{}.{}.0/24", 20 + index / 5_000, index / 250 % 20, index % 250))
    });
    vec![
        Path::new("dropped: block list, 1 prefix", block(limited(), "192.0.2.7/32"), &udp(7), true),
        Path::new("dropped: banned", limited(), &udp(8), true).banned([192, 0, 2, 8]),
        Path::new("dropped: of a banned prefix", limited().live("192.0.2.14/31", 0, FOREVER), &udp(14), true),
        Path::new("admitted: UDP, 4 budgets, list of 10,000 prefixes", many, &udp(9), false),
    ]
}

/// What becomes of frames that do not match the dropped one before: those with a VLAN tag match none, and a tag costs next to nothing.
fn unlike() -> Vec<Path> {
    let over = limited().each(Dimension::Udp, scarce(Dimension::Udp));
    let listed = limited().list("192.0.2.18/32", listing::BLOCK, 0);
    let with_options = |frame: Frame| frame.options(&[1, 1, 1, 1]);
    vec![
        Path::new("judged anew, dropped: one source over its limit", over, &with_options(udp(15)), true),
        Path::new("judged anew, dropped: block list, 1 prefix", listed, &with_options(udp(18)), true),
        Path::new("judged anew, dropped: banned", limited(), &with_options(udp(19)), true)
            .banned([192, 0, 2, 19]),
    ]
}

fn gate() -> Vec<Path> {
    let http = b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n";
    let hello = hello::tls13("api.example.org");
    let first = |last: u8| tcp(last).flags(flags::ACK | flags::PSH);
    let later = first(11).seq(1_001 + hello.len() as u32).payload(&[23; 1_200]);
    let started = [syn(11), first(11).payload(&hello)];
    vec![
        Path::new("dropped: HTTP without TLS", gated(), &first(10).payload(http), true).after(&[syn(10)]),
        Path::new("gated: 1,200 bytes of a connection that has proved TLS", gated(), &later, false)
            .after(&started),
        Path::new("gated: ACK without data", gated(), &tcp(12), false).after(&[syn(12)]),
        Path::new("gated: ClientHello, again and again", gated(), &first(13).payload(&hello), false)
            .after(&[syn(13)]),
    ]
}
