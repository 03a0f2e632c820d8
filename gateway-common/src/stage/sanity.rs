//! Packets that no honest host sends.

use network_types::ip::IpProto;

use crate::{
    abi::policy,
    packet::{Address, Packet, flags},
    stage::packet_state::PacketState,
    verdict::{Reason, Step, drop},
};

/// DHCP and BOOTP clients ask from 0.0.0.0 (RFC 2131 section 4.1).
const BOOTP_SERVER: u16 = 67;

/// Martian sources, land packets, impossible TCP flags.
#[inline(always)]
pub fn check(flags: u32, state: &PacketState) -> Step {
    let PacketState { packet, role, .. } = state;
    if is_martian(packet, role.trusted || flags & policy::RESERVED_SOURCES != 0) {
        return drop(Reason::MartianSource);
    }
    if packet.source == packet.destination {
        return drop(Reason::Land);
    }
    if packet.is_tcp() && !are_possible(packet.tcp_flags) {
        return drop(Reason::TcpFlags);
    }
    Step::Continue(())
}

/// RFC 6890: sources that are never forwarded, and not used on a link either. Some networks use reserved parts of IPv4,
/// 240.0.0.0/4 and 0.0.0.0/8, and Linux lets them: `reserved` says that these may come.
#[inline(always)]
fn is_martian(packet: &Packet, reserved: bool) -> bool {
    if packet.ipv6 {
        let Address { high, low } = packet.source;
        let unspecified = high == 0 && low == 0;
        // ::/16 holds loopback, IPv4-mapped and IPv4-compatible addresses; buckets use its keys for IPv4. The
        // unspecified address asks for duplicates and joins groups (RFC 4862, RFC 3810).
        return (high >> 48 == 0 && !(unspecified && packet.is_icmp())) || high >> 56 == 0xff;
    }
    let source = packet.source.as_v4();
    match source >> 24 {
        // IGMP queriers without an address ask from 0.0.0.0 too (RFC 4541 section 2.1.1).
        0 => {
            let asks = packet.is_udp() && packet.destination_port == BOOTP_SERVER
                || packet.protocol == IpProto::Igmp as u8;
            if source == 0 { !asks } else { !reserved }
        }
        127 | 224..240 => true,
        240.. => source == u32::MAX || !reserved,
        _ => false,
    }
}

#[inline(always)]
const fn are_possible(tcp_flags: u8) -> bool {
    use flags::{ACK, FIN, RST, SYN};
    let opens = tcp_flags & SYN != 0;
    let closes = tcp_flags & FIN != 0;
    let resets = tcp_flags & RST != 0;
    let conflict = opens && (closes || resets) || closes && resets;
    // RFC 9293 section 3.10.7.4: after the SYN every segment but a reset carries ACK.
    !conflict && (opens || resets || tcp_flags & ACK != 0)
}
