//! IPv4 headers, options and fragments.

use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, PORT, ack, data, datagram, ping, v4};
use super::{Case, Draft, Offer, one};
use crate::builder::{Frame, IpProto};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;

fn gated(name: &str, frame: Frame, reason: Reason) -> Case {
    Case::under(name, Stand::new().serve(Offer::tls(443))).gets(frame, reason)
}

pub(super) fn cases() -> Vec<Case> {
    [headers(), fragments()].concat()
}

fn headers() -> Vec<Case> {
    let malformed = |name: &str, frame: Frame| one(name, frame, Reason::Ipv4Malformed);
    vec![
        gated("IPv4 without options", data(HTTP), Reason::PlaintextHttp),
        gated("IPv4 with one word of options", data(HTTP).options(&[1; 4]), Reason::PlaintextHttp),
        gated("IPv4 with ten words of options", data(HTTP).options(&[1; 40]), Reason::PlaintextHttp),
        gated("an IPv4 packet padded to 60 bytes", ack().pad(60), Reason::Ok),
        gated("padding is no data", ack().pad(60).poke(40, HTTP.first_chunk::<6>().unwrap()), Reason::Ok),
        one("a transport that nobody parses", v4().protocol(132).payload(&[0; 2]), Reason::Ok),
        one("IPv4 without payload", v4().protocol(50), Reason::Ok),
        malformed("no IPv4 header", ack().truncate(14)),
        malformed("an IPv4 header cut off", ack().truncate(14 + 19)),
        malformed("version 5 in an IPv4 frame", ack().poke(0, &[0x55])),
        malformed("version 6 in an IPv4 frame", ack().poke(0, &[0x65])),
        malformed("an IPv4 header of four words", ack().poke(0, &[0x44])),
        malformed("an IPv4 header of no words", ack().poke(0, &[0x40])),
        malformed("an IPv4 packet shorter than its header", ack().poke(2, &[0, 19])),
        malformed("an IPv4 packet shorter than its options", ack().options(&[1; 8]).poke(2, &[0, 27])),
        malformed("an IPv4 packet of length 0", ack().poke(2, &[0, 0])),
        malformed("an IPv4 packet longer than its frame", ack().poke(2, &[0, 41])),
        malformed("an IPv4 packet cut off", data(HTTP).truncate(60)),
        malformed("IPv4 options beyond the frame", v4().protocol(TCP).poke(0, &[0x4f])),
    ]
}

fn fragments() -> Vec<Case> {
    // Its first bytes would be ports 40000 and 443.
    let later = |start| v4().protocol(TCP).payload(&data(HTTP).packet()[20..]).fragment(start, true);
    let first = |frame: Frame| frame.fragment(0, true);
    vec![
        gated("a first fragment to a gated service", first(data(HTTP)), Reason::GatedFragment),
        gated("a later fragment has no ports", later(24), Reason::Ok),
        gated("the last fragment has no ports", later(1_480).fragment(1_480, false), Reason::Ok),
        one("a first fragment of TCP", first(data(HTTP)), Reason::Ok),
        one(
            "a first fragment of UDP, its datagram longer",
            first(datagram()).poke_transport(4, &[9, 0]),
            Reason::Ok,
        ),
        one("a first fragment of ICMP", first(ping()), Reason::Ok),
        one(
            "a tiny first fragment of TCP",
            first(v4().protocol(TCP).payload(&[0; 16])),
            Reason::TinyFragment,
        ),
        one(
            "a first fragment without all TCP options",
            first(ack().tcp_options(&[1; 8])).poke(2, &[0, 44]),
            Reason::TinyFragment,
        ),
        one("a tiny first fragment of UDP", first(v4().protocol(UDP).payload(&[0; 7])), Reason::TinyFragment),
        one("a tiny first fragment of ICMP", first(v4().protocol(1).payload(&[8; 7])), Reason::TinyFragment),
        one("a fragment over the TCP ports", later(8), Reason::FragmentOverlay),
        one("a fragment over the TCP flags", later(16), Reason::FragmentOverlay),
        one("a fragment behind the TCP header", later(24), Reason::Ok),
        one(
            "a fragment of UDP behind its header",
            v4().protocol(UDP).payload(&[0; 64]).fragment(8, true),
            Reason::Ok,
        ),
        one(
            "a fragment that ends at 65,535 bytes",
            v4().protocol(UDP).payload(&[0; 7]).fragment(65_528, false),
            Reason::Ok,
        ),
        one(
            "a fragment that ends beyond 65,535 bytes",
            v4().protocol(1).payload(&[0; 8]).fragment(65_528, false),
            Reason::FragmentOverlay,
        ),
        one("an unfragmented packet with the reserved flag", v4().udp(PORT, 53).poke(6, &[0x80]), Reason::Ok),
    ]
}
