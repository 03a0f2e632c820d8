//! What lies around the segment: IP options and extension headers, fragments, VLAN tags, padding, flags.

use network_types::ip::IpProto;

use super::{PLAIN, Read, Scenario, honest};
use crate::builder::{Frame, TPID_QINQ, flags};
use crate::lab::ByHand;
use Read::{All, Lawful};

/// A way to wrap a segment that changes nothing of what TCP makes of it.
type Wrap = fn(&ByHand<'_>, Frame) -> Frame;

/// Router alert (RFC 2113); no operation and end of options.
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];
const NO_OPERATION: [u8; 40] = [1; 40];
/// An IPv6 option for experiments, which whoever does not know it skips (RFC 4727).
const UNKNOWN: u8 = 0x1e;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// PadN of four bytes, as the body of an IPv6 options header.
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

const WAYS: [(&str, Wrap); 13] = [
    ("no PSH", |_, frame| frame.flags(flags::ACK)),
    ("ECN flags", |_, frame| frame.flags(flags::ACK | 0xc0)),
    ("padding", |_, frame| frame.pad(1_200)),
    ("TCP options of 40 bytes", |_, frame| frame.tcp_options(&NO_OPERATION)),
    ("reserved bits of TCP", |_, frame| frame.poke_transport(12, &[0x5e])),
    ("a priority tag", |_, frame| frame.vlan(0)),
    ("two priority tags", |_, frame| frame.tag(TPID_QINQ, 0).vlan(0)),
    ("IP options", |tcp, frame| {
        if tcp.is_v6() { frame.extension(IpProto::Ipv6Opts, &PAD) } else { frame.options(&ROUTER_ALERT) }
    }),
    ("IP options of 40 bytes", |tcp, frame| {
        if tcp.is_v6() {
            frame
                .extension(IpProto::HopOpt, &PAD)
                .extension(IpProto::Ipv6Opts, &[&[UNKNOWN, 252], &[0; 252][..]].concat())
        } else {
            frame.options(&NO_OPERATION)
        }
    }),
    ("a chain of extension headers", |tcp, frame| {
        if !tcp.is_v6() {
            return frame;
        }
        // A routing header of type 4 with nowhere left to go.
        let routing = [4, 0, 0, 0, 0, 0];
        frame
            .extension(IpProto::HopOpt, &PAD)
            .extension(IpProto::Ipv6Opts, &PAD)
            .extension(IpProto::Ipv6Route, &routing)
            .extension(IpProto::Ipv6Opts, &PAD)
    }),
    ("an atomic fragment header", |tcp, frame| if tcp.is_v6() { frame.fragment(0, false) } else { frame }),
    ("two hops left", |_, frame| frame.hops(2)),
    ("a window of one byte", |_, frame| frame.window(1)),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, wrap) in WAYS {
        all.push(Scenario::new(format!("plaintext with {name}"), move |tcp, _| {
            tcp.connect()?;
            tcp.send(&wrap(tcp, tcp.at(0, PLAIN)))?;
            Ok(Lawful)
        }));
        all.push(Scenario::new(
            format!("a hello with {name}, then plaintext in its place"),
            move |tcp, _| {
                tcp.connect()?;
                tcp.send(&wrap(tcp, tcp.at(0, &honest())))?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            },
        ));
        // Linux takes neither the type-4 routing header without `seg6_enabled`, nor wrong checksums of reserved bits.
        if !matches!(name, "a chain of extension headers" | "reserved bits of TCP") {
            all.push(Scenario::new(format!("a hello with {name}"), move |tcp, _| {
                tcp.connect()?;
                tcp.send(&wrap(tcp, tcp.at(0, &honest())))?;
                Ok(All(honest()))
            }));
        }
    }
    all.extend([lying_lengths(), pieces()].into_iter().flatten());
    all
}

/// Headers whose lengths contradict the frame.
fn lying_lengths() -> Vec<Scenario> {
    vec![
        Scenario::new("plaintext behind a packet's end", |tcp, _| {
            tcp.connect()?;
            let hello = tcp.at(0, &honest()[..11]);
            let end = hello.build().len();
            tcp.send(&hello.pad(end + PLAIN.len()).poke(end - ETHERNET, PLAIN))?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("plaintext in a packet without a length", |tcp, _| {
            tcp.connect()?;
            // An IPv6 length of 0 in front of a hop-by-hop header may mean a jumbogram (RFC 2675).
            let frame = if tcp.is_v6() {
                tcp.at(0, PLAIN).extension(IpProto::HopOpt, &PAD)
            } else {
                tcp.at(0, PLAIN)
            };
            let field = if tcp.is_v6() { 4 } else { 2 };
            tcp.send(&frame.poke(field, &[0, 0]))?;
            Ok(Lawful)
        }),
        Scenario::new("a TCP header longer than its segment", |tcp, _| {
            tcp.connect()?;
            tcp.send(&tcp.at(0, PLAIN).poke_transport(12, &[0xf0]))?;
            tcp.send(&tcp.at(0, PLAIN).poke_transport(12, &[0x10]))?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
    ]
}

/// IP fragments.
fn pieces() -> Vec<Scenario> {
    // In multiples of eight bytes, behind a whole TCP header.
    let halves = |frame: &Frame, tcp: &ByHand<'_>| {
        let packet = frame.packet();
        let segment = packet[if tcp.is_v6() { 40 } else { 20 }..].to_vec();
        let (head, tail) = segment.split_at(24);
        let piece = |bytes: &[u8], start, more| {
            crate::builder::between(tcp.local.ip(), tcp.remote.ip())
                .protocol(IpProto::Tcp as u8)
                .payload(bytes)
                .fragment(start, more)
        };
        [piece(head, 0, true), piece(tail, 24, false)]
    };
    vec![
        Scenario::new("plaintext in fragments", move |tcp, _| {
            tcp.connect()?;
            halves(&tcp.at(0, PLAIN), tcp).iter().try_for_each(|piece| tcp.send(piece))?;
            Ok(Lawful)
        }),
        Scenario::new("plaintext in fragments, the later first", move |tcp, _| {
            tcp.connect()?;
            halves(&tcp.at(0, PLAIN), tcp).iter().rev().try_for_each(|piece| tcp.send(piece))?;
            Ok(Lawful)
        }),
        Scenario::new("a fragmented SYN, then plaintext", move |tcp, _| {
            let syn = tcp.syn().tcp_options(&[2, 4, 5, 180, 1, 1, 1, 1]);
            halves(&syn, tcp).iter().try_for_each(|piece| tcp.send(piece))?;
            tcp.connect()?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("plaintext in fragments over a hello's", move |tcp, _| {
            tcp.connect()?;
            for frame in [tcp.at(0, &honest()), tcp.at(0, PLAIN)] {
                halves(&frame, tcp).iter().try_for_each(|piece| tcp.send(piece))?;
            }
            tcp.write(0, &honest())?;
            Ok(Lawful)
        }),
    ]
}
