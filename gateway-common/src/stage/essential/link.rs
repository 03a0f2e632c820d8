//! Link control: the protocols without which a host falls off its link, loses its address or its place as a router's
//! standby.
//!
//! Each kind has room of its own, so that no flood of another kind holds it up: a number of messages a second for
//! unknown peers together, and as many for each peer that was seen before. A message without room is dropped. So a
//! flood of such a kind is limited, too, and in it the peers that were seen before are heard.

use network_types::ip::IpProto;

use crate::{
    abi::PEER_KINDS,
    env::{Context, Env},
    packet::Packet,
    source::finer::is_link_local,
    stage::packet_state::PacketState,
    state::link_peers,
    verdict::{Reason, Step, drop, pass},
};

/// Kinds of link control. Each is told by something that no packet from beyond the link can have, if its protocol has
/// such a thing.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    /// RFC 4861, with its inverse (RFC 3122): hop limit 255.
    NeighbourDiscovery,
    /// MLD (RFC 3810) and multicast router discovery (RFC 4286): hop limit 1, from a link-local address or none. A
    /// snooping switch that hears no report lets no solicitation through any more.
    MulticastListener,
    /// RFC 3376: TTL 1, to a group.
    Igmp,
    /// Answers of servers to DHCP clients (RFC 2131, RFC 8415). A lease that is not renewed is an address that is lost.
    Dhcp,
    /// RFC 9568: TTL 255.
    Vrrp,
    /// RFC 5881: TTL 255.
    Bfd,
    /// RFC 2328, RFC 5340: TTL 1.
    Ospf,
    /// None of these.
    None,
}

const _: () = assert!(Kind::None as u32 <= PEER_KINDS);

/// IP protocol numbers.
const IGMP: u8 = IpProto::Igmp as u8;
const UDP: u8 = IpProto::Udp as u8;
const OSPF: u8 = IpProto::Ospfigp as u8;
const VRRP: u8 = IpProto::Vrrp as u8;
/// ICMPv6: multicast listener query, report and done; router solicitation to redirect; the inverse of neighbour
/// discovery; version 2 of the report; multicast router discovery.
const MLD_FIRST: u8 = 130;
const MLD_LAST: u8 = 132;
const NDP_FIRST: u8 = 133;
const NDP_LAST: u8 = 137;
const INVERSE_FIRST: u8 = 141;
const INVERSE_LAST: u8 = 142;
const MLD_REPORT_2: u8 = 143;
const ROUTERS_FIRST: u8 = 151;
const ROUTERS_LAST: u8 = 153;
/// UDP ports: DHCP's server and client, the same of DHCPv6, BFD's control and echo.
const DHCP_CLIENT: u16 = 68;
const DHCP: [u16; 2] = [67, DHCP_CLIENT];
const DHCP_V6_CLIENT: u16 = 546;
const DHCP_V6: [u16; 2] = [547, DHCP_V6_CLIENT];
const BFD: u16 = 3_784;
const BFD_ECHO: u16 = 3_785;
/// The highest number of hops, which nothing from beyond the link can have left (RFC 5082).
const HOPS_MAX: u8 = 255;

/// Whether a packet may be of some kind: the cheap part, for every packet.
#[inline(always)]
pub(super) const fn may_be(packet: &Packet) -> bool {
    if packet.is_icmp() {
        return packet.ipv6
            && matches!(
                packet.icmp_type,
                MLD_FIRST..=NDP_LAST | INVERSE_FIRST..=MLD_REPORT_2 | ROUTERS_FIRST..=ROUTERS_LAST
            );
    }
    if packet.is_udp() {
        return matches!(packet.destination_port, DHCP_CLIENT | DHCP_V6_CLIENT | BFD | BFD_ECHO);
    }
    matches!(packet.protocol, IGMP | OSPF | VRRP)
}

/// What kind a whole packet is of.
#[inline(always)]
const fn kind(packet: &Packet) -> Kind {
    let Packet { source, destination, hops, .. } = *packet;
    let is_near = !packet.ipv6 || is_link_local(source);
    let of = match packet.protocol {
        UDP => match [packet.source_port, packet.destination_port] {
            DHCP if !packet.ipv6 => Kind::Dhcp,
            DHCP_V6 if packet.ipv6 && is_near => Kind::Dhcp,
            [_, BFD | BFD_ECHO] if hops == HOPS_MAX => Kind::Bfd,
            _ => Kind::None,
        },
        IGMP if !packet.ipv6 && hops == 1 && destination.as_v4() >> 28 == 0xe => Kind::Igmp,
        OSPF if hops == 1 && is_near => Kind::Ospf,
        VRRP if hops == HOPS_MAX => Kind::Vrrp,
        _ => Kind::None,
    };
    if !packet.is_icmp() || !packet.ipv6 {
        return of;
    }
    let is_nobody = source.high | source.low == 0;
    match packet.icmp_type {
        NDP_FIRST..=NDP_LAST | INVERSE_FIRST..=INVERSE_LAST if hops == HOPS_MAX => Kind::NeighbourDiscovery,
        MLD_FIRST..=MLD_LAST | MLD_REPORT_2 | ROUTERS_FIRST..=ROUTERS_LAST
            if hops == 1 && (is_near || is_nobody) =>
        {
            Kind::MulticastListener
        }
        _ => Kind::None,
    }
}

/// Passes link control for which there is room. Drops the rest of it, unless its source is trusted.
#[inline(always)]
pub(super) fn check<E: Env>(context: &Context<'_, E>, state: &PacketState) -> Step {
    let PacketState { packet, role, clock, .. } = state;
    let kind = kind(packet);
    if kind == Kind::None {
        return Step::Continue(());
    }
    if link_peers::admit(context, *clock, kind as u32, packet.source) {
        let is_discovery = kind == Kind::NeighbourDiscovery;
        return pass(if is_discovery { Reason::NeighbourDiscovery } else { Reason::LinkControl });
    }
    if role.trusted { Step::Continue(()) } else { drop(Reason::LinkFlood) }
}
