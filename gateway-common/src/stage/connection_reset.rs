//! A refused opening ends: user space is told of its connection, and has the host's TCP reset it.
//!
//! To drop a segment and nothing else would leave the server's socket open until its application gives up, and the client would send again
//! for minutes. The host's TCP ends the connection on both sides, as `ss -K` has it do.
//!
//! Nobody shall end another's connection so who could not do it without the gateway. For that a sender needs the connection's addresses and
//! ports and the very sequence number that TCP waits for: with them a reset ends it, too (RFC 5961 section 3). So a segment counts that
//! starts at that number alone, and of those no one that TCP would not take: with a checksum that is wrong, an acknowledgment of what was
//! never sent, a timestamp that is stale, or a signature. What other packets of the same batch make of the connection is seen by user space:
//! it waits for longer than a batch takes, and then looks whether the host's TCP has all bytes before the segment and none of its place.

use crate::{
    abi::{Refusal, mode, refuse},
    env::{Context, Env, Found},
    frame::Frame,
    packet::flags,
    stage::packet_state::PacketState,
    verdict::{Reason, Step},
    wire::{checksum, tcp},
};

/// Whether a segment that was dropped may be the opening of a connection that the host's TCP has, or is about to make: the cheap part.
#[inline(always)]
pub const fn can_be(reason: Reason, state: &PacketState) -> bool {
    reason.refuses_opening() && !matches!(state.asked.found, Found::NotAsked | Found::Nothing)
}

/// Tells user space of the connection whose opening was refused, if it is to be ended and the host's TCP would have taken the segment.
#[inline(always)]
pub fn tell<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    const TOLD_APART: u8 = flags::SYN | flags::RST | flags::ACK;
    if state.role.mode != mode::ENFORCE
        || context.settings.service(state.role.service).refuse != refuse::RESET
    {
        return Step::Continue(());
    }
    let PacketState { packet, network, asked, options, conn, .. } = state;
    let (base, received) = match asked.found {
        Found::Connection => (asked.base, asked.received),
        Found::Request => (asked.base, 0),
        // A cookie makes the connection, which came just before in a segment of its own.
        Found::Listener if asked.has_cookie => (packet.sequence, 0),
        _ => return Step::Continue(()),
    };
    let before = u64::from(packet.sequence.wrapping_sub(base));
    // The segment before may not have reached the host's TCP yet.
    let is_next = before == received || before == u64::from(conn.next.passed);
    if packet.tcp_flags & TOLD_APART != flags::ACK || conn.next.base != base || !is_next {
        return Step::Continue(());
    }
    let Some(acknowledgment) = frame.bytes(network.transport + tcp::ACKNOWLEDGMENT).map(u32::from_be_bytes)
    else {
        return Step::Continue(());
    };
    options.read(frame, network.transport + tcp::HEADER_MIN, packet.payload);
    if options.is_signed
        || (!matches!(asked.found, Found::Listener)
            && !context.env.would_take(packet, acknowledgment, options))
        || !checksum::holds(frame, packet, network.transport)
    {
        return Step::Continue(());
    }
    context.env.tell(&Refusal {
        client: [packet.source.high, packet.source.low],
        server: [packet.destination.high, packet.destination.low],
        received: before,
        client_port: packet.source_port,
        server_port: packet.destination_port,
        ipv6: packet.ipv6.into(),
        service: state.role.service,
        // Only the kernel's program knows it.
        interface: 0,
    });
    Step::Continue(())
}
