//! Answers to questions that nobody here asked.
//!
//! An attacker forges our address as the source of questions, and others' servers flood us with their answers:
//! reflection, and amplification where answers are longer (CISA alert TA14-017A). So UDP from the ports of such servers
//! passes only if it is for a configured service, or for a socket of this host. An ICMP error passes only if it quotes
//! a packet that the addressed host may have sent; for TCP and UDP, one that a socket of it has sent.
//!
//! Sockets are asked for addresses of this host alone, and only while it forwards nothing: a host that forwards may
//! translate addresses for others, and has no sockets for what they ask. Later fragments have no ports: the limits of
//! their source hold them.

use network_types::ip::IpProto;

use crate::{
    abi::{ALL, LOCALS, PORT_WORDS, Settings, policy},
    env::{Context, Env, Receiver},
    frame::Frame,
    packet::{Address, Fragment, Packet},
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    verdict::{Reason, Step, drop},
};

/// ICMP errors (RFC 1122 section 3.2.2): destination unreachable, source quench, redirect, time exceeded, parameter
/// problem.
const ERRORS_V4: [u8; 5] = [3, 4, 5, 11, 12];
/// ICMPv6 messages below this are errors, of which each quotes a packet (RFC 4443 sections 2.1 and 2.4).
const INFORMATIONAL: u8 = 128;
/// Bytes of IP headers without options.
const HEADER_V4: u32 = 20;
const HEADER_V6: u32 = 40;
/// The part of an IPv4 header's seventh and eighth byte that is zero in a whole packet and a first fragment.
const OFFSET_V4: u16 = 0x1fff;

/// UDP ports that amplifiers answer from. Sources: CISA alert TA14-017A, the lists of AMP-Research, and the file names
/// of the StopDDoS collection.
#[rustfmt::skip]
pub const REFLECTORS: [u16; 46] = [
    17,     // QOTD
    19,     // CharGEN
    53,     // DNS
    69,     // TFTP
    111,    // portmap
    123,    // NTP
    137,    // NetBIOS
    161,    // SNMP
    389,    // CLDAP
    427,    // SLP
    500,    // IKE
    520,    // RIPv1
    1_194,  // OpenVPN
    1_434,  // SQL Server resolution
    1_604,  // Citrix ICA
    1_900,  // SSDP
    2_362,  // digiman
    3_283,  // Apple Remote Desktop
    3_389,  // RDP
    3_478,  // STUN
    3_702,  // WS-Discovery
    3_784,  // BFD, and voice chat
    4_500,  // IKE behind NAT
    5_060,  // SIP
    5_093,  // Sentinel licences
    5_351,  // NAT-PMP
    5_353,  // mDNS
    5_683,  // CoAP
    6_881,  // BitTorrent
    7_001,  // AFS
    10_001, // Ubiquiti discovery
    10_074, // TP-240 of Mitel
    11_211, // memcached
    17_185, // VxWorks debugging
    20_811, // game servers
    27_015, // Source engine
    27_036, // Steam
    27_960, // Quake
    30_120, // FiveM
    30_718, // Lantronix
    32_414, // Plex
    33_848, // Jenkins
    37_810, // DVR-DHCP
    41_794, // Crestron
    47_808, // BACnet
    53_413, // Netis
];

/// Whether there is anything to judge of a packet: the cheap part, for every packet.
#[inline(always)]
pub fn concerns(settings: &Settings, state: &PacketState) -> bool {
    let PacketState { packet, role, .. } = state;
    if role.trusted || matches!(packet.fragment, Fragment::Later) {
        return false;
    }
    if packet.is_udp() {
        return role.service == 0 && asks(settings) && holds(&settings.reflectors, packet.source_port);
    }
    packet.is_icmp() && matches!(packet.fragment, Fragment::Whole) && is_error(packet)
}

/// Judges what [`concerns`] this stage.
#[inline(always)]
pub fn check<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let packet = &state.packet;
    if packet.is_udp() {
        state.asked_about = *packet;
        return context.env.call(Subprog::AskReceiver, frame, context, state);
    }
    let shortest = if packet.ipv6 { HEADER_V6 } else { HEADER_V4 };
    if packet.payload_length < shortest {
        return drop(Reason::IcmpError);
    }
    let quote = if packet.ipv6 { quote_v6(frame, packet) } else { quote_v4(frame, packet) };
    // Beyond the first buffer of a frame nothing is read.
    let Some(quote) = quote else { return Step::Continue(()) };
    // An error is sent only to the sender of the quoted packet (RFC 792; RFC 4443 section 2.2).
    if quote.destination != packet.destination {
        return drop(Reason::IcmpError);
    }
    let has_ports = quote.destination_port != 0;
    if has_ports && asks(context.settings) {
        state.asked_about = quote;
        context.env.call(Subprog::AskReceiver, frame, context, state)?;
    }
    Step::Continue(())
}

/// Drops a packet if no socket of this host asked for it. An answer to a connected socket does not count in the total
/// of traffic for no service, so no flood keeps it out: nobody else knows both its peer's port and its own. For an
/// answer to an unconnected socket half of that total's burst is kept.
#[inline(always)]
pub fn unasked<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let is_udp = state.packet.is_udp();
    match receiver(context, &state.asked_about) {
        Receiver::Nobody => drop(if is_udp { Reason::Reflection } else { Reason::IcmpError }),
        Receiver::Connected if is_udp => {
            state.budgets.share.total = 0;
            Step::Continue(())
        }
        Receiver::Socket if is_udp => {
            state.role.held_as = ALL as u32;
            Step::Continue(())
        }
        _ => Step::Continue(()),
    }
}

/// Whether the host's sockets are to be asked.
#[inline(always)]
const fn asks(settings: &Settings) -> bool {
    settings.flags & policy::REFLECTION != 0
}

/// Whether a set of ports holds one.
#[inline(always)]
pub fn holds(ports: &[u64; PORT_WORDS], port: u16) -> bool {
    ports[usize::from(port >> 6) & (PORT_WORDS - 1)] >> (port & 63) & 1 != 0
}

/// Adds a port to a set of them.
pub const fn add(ports: &mut [u64; PORT_WORDS], port: u16) {
    ports[(port >> 6) as usize] |= 1 << (port & 63);
}

/// Takes a port out of a set of them.
pub const fn remove(ports: &mut [u64; PORT_WORDS], port: u16) {
    ports[(port >> 6) as usize] &= !(1 << (port & 63));
}

#[inline(always)]
pub(super) fn is_error(packet: &Packet) -> bool {
    if packet.ipv6 { packet.icmp_type < INFORMATIONAL } else { ERRORS_V4.contains(&packet.icmp_type) }
}

/// The receiver of a packet, if it is for this host.
#[inline(always)]
fn receiver<E: Env>(context: &Context<'_, E>, packet: &Packet) -> Receiver {
    let forwarding = context.settings.flags & policy::REFLECTION_FORWARDING != 0;
    if is_local::<E>(context.settings, packet.destination) {
        context.env.receiver(packet, forwarding)
    } else {
        Receiver::Elsewhere
    }
}

/// Whether an address is one of this host's: a binary search with the same number of steps wherever it ends.
#[inline(always)]
fn is_local<E: Env>(settings: &Settings, Address { high, low }: Address) -> bool {
    let at = |place: u64| settings.locals[place as usize & (LOCALS - 1)];
    // How many are not above it.
    let mut count = 0_u64;
    let mut step = LOCALS as u64 / 2;
    while step != 0 {
        let [other_high, other_low] = at(count + step - 1);
        // LLVM turns a number that it knows to be 0 or 1 into a branch. The verifier would follow later code on both
        // paths, and for each possible number.
        let is_above = E::barrier_var(borrow(high, other_high, borrow(low, other_low, 0)));
        count = E::barrier_var(count + (step & is_above.wrapping_sub(1)));
        step /= 2;
    }
    [count.wrapping_sub(1), count].into_iter().any(|place| at(place) == [high, low])
}

/// The borrow of `a - b - lent`: 1 if `a` is less than `b + lent`, else 0. Without a branch: the verifier would follow
/// both paths of each step, with what it learns there of the numbers.
#[inline(always)]
const fn borrow(a: u64, b: u64, lent: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(lent);
    ((!a & b) | ((!a | b) & difference)) >> 63
}

/// Writes the addresses of this host, sorted for the binary search, as many as there is room for.
pub fn set_locals(settings: &mut Settings, addresses: impl IntoIterator<Item = Address>) {
    settings.locals = [NOBODY; LOCALS];
    for (place, Address { high, low }) in settings.locals.iter_mut().zip(addresses) {
        *place = [high, low];
    }
    settings.locals.sort_unstable();
}

/// Adds one address of this host.
pub fn add_local(settings: &mut Settings, address: Address) {
    let known = settings.locals.into_iter().filter(|other| *other != NOBODY && *other != [0, 0]);
    let known = known.map(|[high, low]| Address { high, low });
    set_locals(settings, known.chain([address]));
}

/// No host's address: IPv6 multicast.
const NOBODY: [u64; 2] = [u64::MAX; 2];

/// The answer that the quoted packet would get: source and destination are exchanged. Without ports if they are not
/// quoted.
#[inline(always)]
fn quote_v4<F: Frame>(frame: &F, packet: &Packet) -> Option<Packet> {
    let header: [u8; HEADER_V4 as usize] = frame.bytes(packet.payload)?;
    let length = u32::from(header[0] & 0xf) * 4;
    let is_first = u16::from_be_bytes([header[6], header[7]]) & OFFSET_V4 == 0;
    let mut quote = Packet {
        source: Address::v4([header[16], header[17], header[18], header[19]]),
        destination: Address::v4([header[12], header[13], header[14], header[15]]),
        protocol: header[9],
        ..Packet::default()
    };
    if is_first && length >= HEADER_V4 {
        add_ports(frame, packet, length, &mut quote);
    }
    Some(quote)
}

#[inline(always)]
fn quote_v6<F: Frame>(frame: &F, packet: &Packet) -> Option<Packet> {
    let mut quote = Packet {
        source: Address::v6(frame.bytes(packet.payload + 24)?),
        destination: Address::v6(frame.bytes(packet.payload + 8)?),
        protocol: frame.u8(packet.payload + 6)?,
        ipv6: true,
        ..Packet::default()
    };
    // Behind extension headers the protocol has another number here, so there are no ports.
    add_ports(frame, packet, HEADER_V6, &mut quote);
    Some(quote)
}

#[inline(always)]
fn add_ports<F: Frame>(frame: &F, packet: &Packet, header: u32, quote: &mut Packet) {
    let has_ports = quote.protocol == IpProto::Tcp as u8 || quote.protocol == IpProto::Udp as u8;
    if !has_ports || packet.payload_length < header + 4 {
        return;
    }
    if let Some([s0, s1, d0, d1]) = frame.bytes(packet.payload + header) {
        quote.destination_port = u16::from_be_bytes([s0, s1]);
        quote.source_port = u16::from_be_bytes([d0, d1]);
    }
}

#[cfg(test)]
mod tests {
    use super::{PORT_WORDS, REFLECTORS, add, borrow, holds, remove};

    #[test]
    fn ports_are_sorted_and_each_there_once() {
        assert!(REFLECTORS.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn what_is_borrowed() {
        let ends = [0, 1, 2, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        for (a, b) in ends.into_iter().flat_map(|a| ends.map(|b| (a, b))) {
            for lent in [0, 1] {
                let is_less = u128::from(a) < u128::from(b) + u128::from(lent);
                assert_eq!(borrow(a, b, lent), u64::from(is_less), "{a} {b} {lent}");
            }
        }
    }

    #[test]
    fn a_set_holds_what_was_added() {
        let mut ports = [0; PORT_WORDS];
        REFLECTORS.into_iter().for_each(|port| add(&mut ports, port));
        for port in 0..=u16::MAX {
            assert_eq!(holds(&ports, port), REFLECTORS.contains(&port), "{port}");
        }
        add(&mut ports, u16::MAX);
        add(&mut ports, 0);
        remove(&mut ports, 53);
        assert!(holds(&ports, u16::MAX) && holds(&ports, 0) && holds(&ports, 17) && !holds(&ports, 53));
    }
}
