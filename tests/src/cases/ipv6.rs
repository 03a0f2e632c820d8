//! IPv6 headers, extension chains and fragments.

use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, PORT, ping_v6, v6};
use super::{Case, Draft, Offer, one};
use crate::builder::{Frame, IpProto};

const HOP: IpProto = IpProto::HopOpt;
const ROUTE: IpProto = IpProto::Ipv6Route;
const DEST: IpProto = IpProto::Ipv6Opts;
const AH: IpProto = IpProto::Ah;
const TCP: u8 = IpProto::Tcp as u8;

/// PadN over six bytes: an empty extension header.
const PAD: &[u8] = &[1, 4, 0, 0, 0, 0];

fn request() -> Frame {
    v6().tcp(PORT, 443).payload(HTTP)
}

/// To a gated service: that HTTP is seen shows that the chain was walked right.
fn gated(name: &str, frame: Frame, reason: Reason) -> Case {
    Case::under(name, Stand::new().serve(Offer::tls(443))).gets(frame, reason)
}

pub(super) fn cases() -> Vec<Case> {
    [headers(), chains(), broken_chains(), fragments()].concat()
}

fn headers() -> Vec<Case> {
    let malformed = |name: &str, frame: Frame| one(name, frame, Reason::Ipv6Malformed);
    vec![
        gated("IPv6 without extensions", request(), Reason::PlaintextHttp),
        gated("IPv6 under two tags", request().vlan(7).vlan(8), Reason::PlaintextHttp),
        gated("IPv6 padding is no data", v6().tcp(PORT, 443).pad(90), Reason::Ok),
        one("IPv6 with no next header", v6(), Reason::Ok),
        one("IPv6 with ESP", v6().protocol(50).payload(&[0; 2]), Reason::Ok),
        malformed("no IPv6 header", request().truncate(14)),
        malformed("half an IPv6 header", request().truncate(14 + 20)),
        malformed("an IPv6 header cut off", request().truncate(14 + 39)),
        malformed("version 4 in an IPv6 frame", request().poke(0, &[0x45])),
        malformed("an IPv6 packet longer than its frame", v6().tcp(PORT, 443).poke(4, &[0, 21])),
        malformed("an IPv6 packet cut off", request().truncate(60)),
    ]
}

fn chains() -> Vec<Case> {
    let http = |name: &str, frame: Frame| gated(name, frame, Reason::PlaintextHttp);
    let eight = (1..8).fold(request().extension(HOP, PAD), |frame, _| frame.extension(DEST, PAD));
    vec![
        http("hop-by-hop", request().extension(HOP, PAD)),
        http("a router alert", request().extension(HOP, &[5, 2, 0, 0, 1, 0])),
        http("a long hop-by-hop header", request().extension(HOP, &[0; 38])),
        http("destination options", request().extension(DEST, PAD)),
        http("routing of type 2", request().extension(ROUTE, &[2, 1, 0, 0, 0, 0])),
        http("segment routing", request().extension(ROUTE, &[4, 0, 0, 0, 0, 0])),
        http("authentication", request().extension(AH, &[0; 22])),
        http("authentication in units of four bytes", request().extension(AH, &[0; 14])),
        http("mobility", request().extension(IpProto::MobilityHeader, PAD)),
        http("host identity", request().extension(IpProto::Hip, PAD)),
        http("shim6", request().extension(IpProto::Shim6, PAD)),
        http(
            "hop-by-hop, destination, routing, destination",
            request().extension(HOP, PAD).extension(DEST, PAD).extension(ROUTE, &[2; 6]).extension(DEST, PAD),
        ),
        http("eight extension headers", eight.clone()),
        gated("nine extension headers", eight.extension(DEST, PAD), Reason::Ipv6Chain),
        gated(
            "eight of them, ESP behind",
            (0..8).fold(v6().protocol(50), |frame, _| frame.extension(DEST, PAD)),
            Reason::Ok,
        ),
        one(
            "a chain beyond what is read",
            (0..3).fold(request(), |frame, _| frame.extension(DEST, &[0; 2_046])),
            Reason::Ipv6Chain,
        ),
    ]
}

fn broken_chains() -> Vec<Case> {
    let malformed = |name: &str, frame: Frame| one(name, frame, Reason::Ipv6Malformed);
    vec![
        one("routing of type 0", request().extension(ROUTE, &[0, 0, 0, 0, 0, 0]), Reason::Ipv6RoutingType0),
        one(
            "routing of type 0 behind options",
            request().extension(DEST, PAD).extension(ROUTE, &[0, 1, 0, 0, 0, 0]),
            Reason::Ipv6RoutingType0,
        ),
        malformed("hop-by-hop behind options", request().extension(DEST, PAD).extension(HOP, PAD)),
        malformed("hop-by-hop twice", request().extension(HOP, PAD).extension(HOP, PAD)),
        malformed("an extension header cut off", v6().protocol(60).payload(&[6, 0, 0, 0])),
        malformed("an extension header that is not there", v6().protocol(60)),
        malformed(
            "an extension header longer than the packet",
            v6().protocol(60).payload(&[6, 1, 0, 0, 0, 0, 0, 0]),
        ),
        malformed("an extension header in the padding", v6().protocol(60).pad(90)),
        malformed(
            "authentication longer than the packet",
            v6().protocol(51).payload(&[6, 4, 0, 0, 0, 0, 0, 0]),
        ),
    ]
}

fn fragments() -> Vec<Case> {
    let later = |start| v6().protocol(TCP).payload(&request().packet()[40..]).fragment(start, true);
    vec![
        gated("an atomic fragment is whole", request().fragment(0, false), Reason::PlaintextHttp),
        gated("a first IPv6 fragment to a gated service", request().fragment(0, true), Reason::GatedFragment),
        gated(
            "a first fragment behind options",
            request().extension(DEST, PAD).fragment(0, true),
            Reason::GatedFragment,
        ),
        gated(
            "an atomic fragment in a first one",
            request().fragment(0, true).fragment(0, false),
            Reason::GatedFragment,
        ),
        gated("a later IPv6 fragment has no ports", later(24), Reason::Ok),
        one("a later IPv6 fragment over the TCP header", later(16), Reason::FragmentOverlay),
        one("a first IPv6 fragment of ICMPv6", ping_v6().fragment(0, true), Reason::Ok),
        one(
            "a tiny first IPv6 fragment",
            v6().protocol(TCP).payload(&[0; 8]).fragment(0, true),
            Reason::TinyFragment,
        ),
        one(
            "a tiny first fragment of ICMPv6",
            v6().protocol(58).payload(&[128; 4]).fragment(0, true),
            Reason::TinyFragment,
        ),
        one(
            "a first fragment without its whole chain",
            v6().protocol(60).payload(&[6, 1, 0, 0, 0, 0, 0, 0]).fragment(0, true),
            Reason::TinyFragment,
        ),
        one(
            "a later fragment of an extension header",
            v6().protocol(60).payload(&[0xff; 8]).fragment(8, true),
            Reason::Ok,
        ),
        one(
            "an IPv6 fragment beyond 65,535 bytes",
            v6().protocol(17).payload(&[0; 8]).fragment(65_528, false),
            Reason::FragmentOverlay,
        ),
        one(
            "an IPv6 fragment header cut off",
            v6().protocol(44).payload(&[6, 0, 0, 1]),
            Reason::Ipv6Malformed,
        ),
    ]
}
