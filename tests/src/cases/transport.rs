//! TCP, UDP and ICMP headers.

use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, PORT, ack, data, datagram, ping, ping_v6, v4, v6};
use super::{Case, Draft, Offer, one};
use crate::builder::IpProto;

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMP_V6: u8 = IpProto::Ipv6Icmp as u8;

pub(super) fn cases() -> Vec<Case> {
    let gated = |name: &str, frame: crate::builder::Frame| {
        Case::under(name, Stand::new().serve(Offer::tls(443))).gets(frame, Reason::PlaintextHttp)
    };
    vec![
        one("a TCP header", ack(), Reason::Ok),
        gated("TCP options", data(HTTP).tcp_options(&[1; 12])),
        gated("all TCP options that there can be", data(HTTP).tcp_options(&[1; 40])),
        one("no TCP header", v4().protocol(TCP), Reason::TcpMalformed),
        one("a TCP header cut off", v4().protocol(TCP).payload(&[0x50; 19]), Reason::TcpMalformed),
        one("a TCP header cut off, IPv6", v6().protocol(TCP).payload(&[0x50; 19]), Reason::TcpMalformed),
        one("a TCP header in the padding", v4().protocol(TCP).pad(60), Reason::TcpMalformed),
        one("a TCP header of no words", ack().poke_transport(12, &[0]), Reason::TcpMalformed),
        one("a TCP header of four words", ack().poke_transport(12, &[0x40]), Reason::TcpMalformed),
        one("TCP options beyond the packet", ack().poke_transport(12, &[0x60]), Reason::TcpMalformed),
        one("TCP options in the padding", ack().poke_transport(12, &[0x60]).pad(60), Reason::TcpMalformed),
        one("a datagram", datagram(), Reason::Ok),
        one("an empty datagram", v4().udp(PORT, 53), Reason::Ok),
        one("a datagram without checksum", datagram().poke_transport(6, &[0, 0]), Reason::Ok),
        one("a datagram shorter than its packet", datagram().poke_transport(4, &[0, 8]), Reason::Ok),
        one("no UDP header", v4().protocol(UDP), Reason::UdpMalformed),
        one("a UDP header cut off", v4().protocol(UDP).payload(&[0; 7]), Reason::UdpMalformed),
        one("a UDP header cut off, IPv6", v6().protocol(UDP).payload(&[0; 5]), Reason::UdpMalformed),
        one("a datagram of length 0", datagram().poke_transport(4, &[0, 0]), Reason::UdpMalformed),
        one(
            "a datagram shorter than its header",
            datagram().poke_transport(4, &[0, 7]),
            Reason::UdpMalformed,
        ),
        one(
            "a datagram longer than its packet",
            datagram().poke_transport(4, &[0, 19]),
            Reason::UdpMalformed,
        ),
        one("an echo request", ping(), Reason::Ok),
        one("an echo request, IPv6", ping_v6(), Reason::Ok),
        one("no ICMP header", v4().protocol(ICMP), Reason::IcmpMalformed),
        one("an ICMP header cut off", v4().protocol(ICMP).payload(&[8; 7]), Reason::IcmpMalformed),
        one("an ICMPv6 header cut off", v6().protocol(ICMP_V6).payload(&[128; 7]), Reason::IcmpMalformed),
        one("ICMP over IPv6 is neither", v6().protocol(ICMP).payload(&[8; 2]), Reason::Ok),
        one("ICMPv6 over IPv4 is neither", v4().protocol(ICMP_V6).payload(&[8; 2]), Reason::Ok),
    ]
}
