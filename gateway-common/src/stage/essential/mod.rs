//! Packets that must pass whatever the limits say: without them a host falls off its link, or connections stall.

mod link;

use crate::{
    abi::PATH_MTU_TAT,
    env::{Context, Env},
    frame::Frame,
    limit::rate::{Limit, Reading, SECOND},
    packet::{Address, Fragment, Packet},
    source,
    stage::packet_state::PacketState,
    state::services,
    verdict::{Reason, Step, pass},
    words::Words,
};

/// ICMPv6 packet too big (RFC 4443 section 3.2).
const PACKET_TOO_BIG: u8 = 2;
/// ICMP destination unreachable, fragmentation needed (RFC 1191 section 4).
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

/// Whether a packet may be one of those.
#[inline(always)]
pub const fn concerns(packet: &Packet) -> bool {
    match (packet.is_icmp(), packet.ipv6) {
        (true, true) => packet.icmp_type == PACKET_TOO_BIG || link::may_be(packet),
        (true, false) => packet.icmp_type == UNREACHABLE,
        (false, _) => link::may_be(packet),
    }
}

/// Path-MTU messages of all senders together that pass in a second, whatever they quote. A path changes now and then;
/// without this bound nothing would hold a flood of such messages.
const PATH_MTU: Limit = Limit { cost: SECOND / 1_000, burst: SECOND };

/// Judges what [`concerns`] this stage. Link control passes, within its bounds. So does a path-MTU message that quotes
/// a packet which the addressed host may have sent.
///
/// Above `PATH_MTU` such a message goes on as any other ICMP error: `reflection` asks for the socket that has sent the
/// quoted packet. The message then counts for the peer of the quoted packet, and not for its own source, which may be
/// forged. So a flood that quotes one connection keeps out no message about another.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if !matches!(state.packet.fragment, Fragment::Whole) {
        return Step::Continue(());
    }
    link::check(context, state)?;
    let PacketState { packet, role, clock, .. } = state;
    if !packet.is_icmp() {
        return Step::Continue(());
    }
    let ends = if packet.ipv6 {
        if packet.icmp_type != PACKET_TOO_BIG || packet.payload_length < 40 {
            return Step::Continue(());
        }
        let quoted = |at| frame.bytes(packet.payload + at).map(Address::v6);
        quoted(8).zip(quoted(24))
    } else {
        let fragmentation_needed =
            packet.icmp_type == UNREACHABLE && packet.icmp_code == FRAGMENTATION_NEEDED;
        if !fragmentation_needed || packet.payload_length < 20 {
            return Step::Continue(());
        }
        let quoted = |at| frame.bytes(packet.payload + at).map(Address::v4);
        quoted(12).zip(quoted(16))
    };
    match ends {
        Some((source, peer)) if source == packet.destination => {
            if is_left(context, *clock) {
                return pass(Reason::PathMtu);
            }
            let from_v4 = !packet.ipv6 || peer.embeds_v4();
            let peer = Packet { source: peer, from_v4, ..Packet::default() };
            role.bucket = source::of_address(context.settings, &peer);
            Step::Continue(())
        }
        _ => Step::Continue(()),
    }
}

/// Whether there is room for one more path-MTU message. If so, counts it. If another CPU counts one at the same moment,
/// there is no room.
#[inline(always)]
fn is_left<E: Env>(context: &Context<'_, E>, clock: Reading) -> bool {
    let Some(words) = services::handshake(context.env, 0) else { return false };
    let tat = words.load(PATH_MTU_TAT);
    PATH_MTU.admit(tat, clock, PATH_MTU.cost).is_some_and(|next| words.replace(PATH_MTU_TAT, tat, next))
}
