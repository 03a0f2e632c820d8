//! Which stream a segment with data belongs to, and where it lies in it.

use crate::{
    abi::Service,
    env::{Context, Env, Socket},
    frame::Frame,
    packet::Packet,
    stage::{
        handshake,
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    verdict::{Reason, Step, drop},
    wire::{hello::want, proxy::PROXY_MAX, tls::PREFIX},
};

use super::{note, state::Stream};

/// Finds the [`Stream`] that a segment with data belongs to.
///
/// Several packets may pass here before the host's TCP sees the first of them, so what it says can be out of date.
#[inline(always)]
pub fn find<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let now = context.now;
    let (known, sequence) = (state.conn.known, stream_sequence(&state.packet));
    let start = first(context.settings.service(state.role.service));
    state.gate.stream = Stream { base: sequence, is_ours: true, ..Stream::default() };
    if state.packet.is_syn() {
        // Data in a SYN (RFC 7413) is the start of the stream.
        return Step::Continue(());
    }
    let socket = handshake::socket(frame, context, state);
    let PacketState { packet, conn, gate, asked, .. } = state;
    match socket {
        Socket::Open { base, .. } if asked.has_cookie && !may_follow(packet, base) => {
            // Two SYN cookies can be used one after the other. The host's TCP may be about to see the end of the
            // connection that it knows, and then makes another of this segment: it must start a stream, and be no part
            // of the other's start.
            if sequence.wrapping_sub(base).wrapping_add(SIZES) < SIZES || touches(packet, base, start) {
                return drop(Reason::TcpSequence);
            }
            context.env.call(Subprog::BeginStream, frame, context, state)?;
            context.env.call(Subprog::InsertConn, frame, context, state)
        }
        Socket::Open { base, received } => {
            let agrees = !known.is_unknown() && known.base == base;
            let may_end = received >= u64::from(PREFIX) || (agrees && known.is_closing());
            if asked.has_cookie && sequence != base && may_end {
                // Behind the stream's start, and with a SYN cookie: if the connection is about to end, this makes the
                // next.
                return drop(Reason::TcpSequence);
            }
            let is_old = !agrees && known.is_fresh(now);
            if is_old && touches(packet, known.base, start) {
                return drop(Reason::TcpSequence);
            }
            if !agrees && !is_old && received != 0 && received < u64::from(PREFIX) {
                // TCP may be about to count what it has just taken: the base holds once it is seen twice.
                conn.next = known.of_stream(base, now);
                note(frame, context, state, false);
                return drop(Reason::TcpSequence);
            }
            gate.is_open = !is_old;
            gate.stream = Stream { base, received, is_ours: true, is_open: true, is_old };
            Step::Continue(())
        }
        // The ACK of the handshake has not come yet. With a SYN cookie any segment can be it, and starts the stream.
        Socket::Listening if !asked.starts_nothing() => {
            context.env.call(Subprog::BeginStream, frame, context, state)?;
            context.env.call(Subprog::InsertConn, frame, context, state)
        }
        Socket::Listening if known.is_proven() && known.base != sequence => drop(Reason::TcpSequence),
        Socket::Listening if !known.is_unknown() => {
            // It can start no stream, so it belongs to the one that starts with the packets before. Or the host's TCP
            // makes nothing of it; or the listener has nothing to do with it, and the connection passes through to
            // another host.
            gate.stream.base = known.base;
            Step::Continue(())
        }
        Socket::Listening if !known.was_never_evicted() => drop(Reason::TcpSequence),
        Socket::Listening => {
            let link = handshake::doubt(context, state, known.followed_by(sequence, now));
            let PacketState { conn, .. } = state;
            (conn.next, conn.known) = (link, link);
            context.env.call(Subprog::InsertConn, frame, context, state)
        }
        Socket::Unknown => {
            let base = if known.is_unknown() { sequence } else { known.base };
            gate.stream = Stream { base, ..Stream::default() };
            Step::Continue(())
        }
    }
}

/// How many bytes at the start of a service's streams are judged at least.
#[inline(always)]
pub fn first(service: &Service) -> u32 {
    if service.wants & u32::from(want::PROXY) != 0 { PROXY_MAX + PREFIX } else { PREFIX }
}

/// The state of a stream that begins with a SYN cookie's segment, unless the host's TCP may be about to make another
/// stream of the packets just before.
#[inline(always)]
pub fn begin<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, conn, .. } = state;
    let (known, base) = (conn.known, stream_sequence(packet));
    if known.base != base && (known.is_proven() || known.is_fresh(context.now)) {
        return drop(Reason::TcpSequence);
    }
    conn.next = known.begins(base, context.now);
    conn.known = conn.next;
    handshake::cookie_came(context, state);
    Step::Continue(())
}

/// One less than the sequence numbers in a row that a cookie is good for: one for each segment size that it can stand
/// for (`msstab` in net/ipv4/syncookies.c).
const SIZES: u32 = 3;

/// Whether a segment with a SYN cookie can belong to the connection that starts at `base`: a neighbour of that cookie
/// may have made it.
#[inline(always)]
const fn may_follow(packet: &Packet, base: u32) -> bool {
    stream_sequence(packet).wrapping_sub(base) <= SIZES
}

/// Whether a segment has bytes of the first `start` of a stream, or starts there.
#[inline(always)]
pub const fn touches(packet: &Packet, base: u32, start: u32) -> bool {
    let ahead = stream_sequence(packet).wrapping_sub(base);
    ahead < start || ahead.wrapping_neg() < packet.payload_length
}

/// Sequence number of a segment's first byte of data.
#[inline(always)]
pub const fn stream_sequence(packet: &Packet) -> u32 {
    packet.sequence.wrapping_add(packet.is_syn() as u32)
}
