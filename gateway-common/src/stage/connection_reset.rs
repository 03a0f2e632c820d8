//! A refused opening ends: user space is told of its connection, and has the host's TCP reset it.
//!
//! If the segment were only dropped, the server's socket would stay open until its application gives up, and the client
//! would send again for minutes. The host's TCP ends the connection on both sides, as for `ss -K`.
//!
//! No sender gains power over another's connection. A segment counts only if it has the connection's addresses and
//! ports, and starts with the very sequence number that TCP waits for: with both a reset ends the connection, too
//! (RFC 5961 section 3). It does not count if TCP would not take it: with a wrong checksum, an acknowledgment of what
//! was never sent, a stale timestamp, or a signature. Other packets of the same batch may change the connection. So
//! user space waits for longer than a batch takes, and then looks whether the host's TCP has all bytes before the
//! segment and none in its place.

use crate::{
    abi::{Refusal, mode, refuse},
    env::{Context, Env, Found},
    frame::Frame,
    packet::flags,
    stage::packet_state::PacketState,
    verdict::{Reason, Step},
    wire::{checksum, tcp},
};

/// Whether a dropped segment may open a connection that the host's TCP has, or is about to make: the cheap part.
#[inline(always)]
pub const fn can_be(reason: Reason, state: &PacketState) -> bool {
    reason.refuses_opening() && !matches!(state.asked.found, Found::NotAsked | Found::Nothing)
}

/// Tells user space of the connection whose opening was refused, if it is to be ended and the host's TCP would have
/// taken the segment.
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
        // The cookie makes the connection; a segment just before has brought it.
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
