//! The TLS gate: what an application reads of a connection to a gated service starts with a ClientHello, or it reads
//! nothing.
//!
//! Every segment that covers one of a stream's first [`PREFIX`] bytes is judged on the bytes that it covers,
//! retransmitted or overlapping ones too, and one that comes before the bytes ahead of it is dropped, since they say
//! what its bytes mean: TCP sends it again. Whatever lies behind them can pass, because TCP delivers in order, until
//! bytes of the start were refused. So all that the gate must know is where the stream begins, and for connections that
//! end here the host's TCP says it.
//!
//! Services that ask for more than the prefix shows have their first messages read by [`super::hello`].

pub mod hello;
mod prefix;
pub mod state;
mod stream;

pub use prefix::{judge, judge_part};
use state::Stream;
pub use stream::{begin, find, first, stream_sequence, touches};

use core::ops::ControlFlow;

use crate::{
    abi::Settings,
    env::{Context, Env, Socket},
    frame::Frame,
    packet::{Fragment, flags},
    stage::{
        handshake,
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    state::conntrack::{Conn, ConnState, Phase},
    verdict::{Reason, Step, drop},
    wire::{
        proxy::PROXY_MAX,
        tls::{PREFIX, is_http},
    },
};

/// Whether a packet is for a service that requires TLS.
#[inline(always)]
pub const fn concerns(settings: &Settings, state: &PacketState) -> bool {
    let PacketState { packet, role, .. } = state;
    packet.is_tcp() && settings.service(role.service).requires_tls()
}

/// Whether there is nothing to judge in a packet and nothing to write down: a connection that has proved TLS, and what
/// was not part of the proof.
#[inline(always)]
pub fn is_settled<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    const TOLD_APART: u8 = flags::SYN | flags::RST | flags::URG;
    let PacketState { packet, conn: Conn { known, .. }, .. } = state;
    state.has_conn
        && known.is_proven()
        && !known.is_stale(context.now)
        && packet.tcp_flags & TOLD_APART == 0
        && !touches(packet, known.base, PROXY_MAX + PREFIX)
}

/// Judges a packet to a service that requires TLS.
#[inline(always)]
pub fn check<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, role, conn, handshake, .. } = state;
    let service = context.settings.service(role.service);
    if !matches!(packet.fragment, Fragment::Whole) {
        return drop(Reason::GatedFragment);
    }
    if packet.tcp_flags & flags::URG != 0 {
        // The server would not read the byte that the pointer names, and the stream's first bytes would be others.
        return drop(Reason::TcpUrgent);
    }
    if handshake.is_unread() {
        return Step::Continue(());
    }
    if !state.has_conn {
        conn.look_up(context.env, packet);
    }
    if packet.tcp_flags & (flags::RST | flags::FIN) != 0 {
        closing(frame, context, state);
    }
    let PacketState { packet, .. } = state;
    if packet.tcp_flags & flags::RST != 0 {
        return Step::Continue(());
    }
    let is_bare = packet.payload_length == 0;
    if packet.is_syn() {
        opening(frame, context, state)?;
    } else if is_bare {
        return bare(frame, context, state);
    }
    if is_bare {
        return Step::Continue(());
    }
    state.gate.must_read = service.wants != 0 && !state.conn.known.is_past();
    if state.gate.must_read { Step::Continue(()) } else { data(frame, context, state) }
}

/// A new stream, be there an old one of the same ports or not. Of a forged SYN nothing worse comes than that the host's
/// TCP is asked for a while.
#[inline(always)]
fn opening<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let socket = handshake::socket(frame, context, state);
    let (known, base, now) = (state.conn.known, stream_sequence(&state.packet), context.now);
    // Far past its hello nobody sends a SYN again: it is another stream.
    let is_again = !known.is_unknown() && known.base == base && !known.is_past();
    let is_met = matches!(socket, Socket::Open { base, .. } if base == known.base);
    let has_begun = known.has_begun(now) && !is_met;
    if has_begun && known.base != base {
        return drop(Reason::TcpSequence);
    }
    let link = match socket {
        _ if has_begun => known,
        Socket::Open { base: open, received } if open != base || received != 0 => {
            let next = open.wrapping_add(received as u32);
            if open != base && base.wrapping_sub(next).wrapping_add(WINDOW) < 2 * WINDOW {
                return drop(Reason::TcpSequence);
            }
            known.doubted(base, now)
        }
        Socket::Open { .. } | Socket::Unknown if is_again => known,
        Socket::Listening => handshake::doubt(context, state, known.followed_by(base, now)),
        _ => ConnState::new(base, Phase::Opening, now),
    };
    let is_ours = match socket {
        Socket::Unknown => false,
        Socket::Listening => state.handshake.is_local(),
        Socket::Open { .. } => true,
    };
    state.conn.known = link;
    state.conn.next = if is_ours { link } else { link.passing_through() };
    let remembered = context.env.call(Subprog::InsertConn, frame, context, state);
    // Where there is no room for it the host's TCP is asked. Where that knows nothing its data would not pass, so its
    // client shall try again now: there is room when somebody has been silent for long enough.
    if matches!(socket, Socket::Unknown) { remembered } else { Step::Continue(()) }
}

/// The client closes a stream, or resets it, where the host's TCP takes it from there. Of one that is proven nothing
/// need be known: what could begin another one at its start does not pass.
#[inline(always)]
fn closing<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) {
    let PacketState { packet, conn, .. } = state;
    let known = conn.known;
    let is_near = packet.sequence.wrapping_sub(known.base) < WINDOW;
    if is_near && !known.is_unknown() && !known.is_proven() && !known.is_closing() {
        conn.next = known.closing();
        note(frame, context, state, false);
        state.conn.known = state.conn.next;
    }
}

/// No honest SYN falls so near to what a live connection waits for (RFC 5961 section 4): its bytes could be taken for
/// the start of a stream.
const WINDOW: u32 = 1 << 16;

/// A segment without data. With a SYN cookie it makes a connection, whose stream starts where it says.
#[inline(always)]
fn bare<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if state.conn.known.has_shown_hello() && state.conn.known.is_stale(context.now) {
        // Who reads for long says nothing, but lives.
        state.conn.next = state.conn.known;
        note(frame, context, state, false);
    }
    let PacketState { packet, conn, .. } = &*state;
    let known = conn.known;
    // What is at the start of one that is proven can be a SYN cookie that is used once more.
    if known.is_proven() && !touches(packet, known.base, PREFIX) {
        return Step::Continue(());
    }
    match handshake::socket(frame, context, state) {
        Socket::Listening => {}
        // A SYN cookie for another connection, or that is used once more. Should this one be about to end, it makes the
        // next.
        Socket::Open { base, received }
            if state.asked.has_cookie && (received != 0 || state.packet.sequence != base) =>
        {
            return drop(Reason::TcpSequence);
        }
        _ => return Step::Continue(()),
    }
    if state.asked.starts_nothing() {
        return Step::Continue(());
    }
    context.env.call(Subprog::BeginStream, frame, context, state)?;
    context.env.call(Subprog::InsertConn, frame, context, state)
}

/// Judges a segment with data.
#[inline(always)]
fn data<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let (env, now) = (context.env, context.now);
    let PacketState { packet, conn, .. } = state;
    let known = conn.known;
    if known.is_past() || (known.is_proven() && !touches(packet, known.base, PREFIX)) {
        conn.next = known;
        note(frame, context, state, false);
        return Step::Continue(());
    }
    if known.is_forwarded() {
        state.gate.stream = Stream { base: known.base, ..Stream::default() };
    } else {
        find(frame, context, state)?;
    }
    env.barrier(state);
    let PacketState { conn, gate, .. } = state;
    let (known, stream) = (conn.known, gate.stream);
    if !stream.is_ours {
        if known.is_proven() {
            // It ended here, and there is no socket any more.
            return Step::Continue(());
        }
        if known.is_unknown() {
            return unseen(frame, state);
        }
    }
    conn.next = known.of_stream(stream.base, now);
    if stream.is_open {
        conn.next = conn.next.met();
    }
    // While SYN cookies may be out the start is judged again, though the host's TCP has it: it may be about to see the
    // end of the connection, and the cookie that is used once more makes a new one of this segment or of what came just
    // before.
    let is_again = touches(&state.packet, stream.base, PREFIX) && handshake::is_doubted(context, state);
    if !stream.is_taken() || state.asked.has_cookie || is_again {
        let judged = env.call(Subprog::JudgePrefix, frame, context, state);
        if let ControlFlow::Break(reason) = judged {
            if !state.gate.stream.is_taken() {
                let is_old = state.gate.stream.is_old;
                refuse(frame, context, state, reason, is_old);
            }
            return judged;
        }
    }
    env.barrier(state);
    let PacketState { conn, gate, .. } = state;
    let (known, stream) = (conn.known, gate.stream);
    if stream.is_taken() {
        if stream.is_old {
            return Step::Continue(());
        }
        gate.goes_on = true;
        if known.is_doubtful(now) && !known.is_fresh(now) {
            return Step::Continue(());
        }
        if !known.is_doubtful(now) {
            adopt(frame, context, state, stream.base);
            return Step::Continue(());
        }
    }
    if stream.is_ours {
        // Once TCP has taken the prefix it says so, and the connection is proven.
        conn.next.phase = Phase::Opening;
    } else {
        pass_through(state);
    }
    note(frame, context, state, stream.is_old);
    Step::Continue(())
}

/// Data of a connection through this host that nothing is known of. Where nobody was forgotten it was open before the
/// gateway came, and is let go on, but for what no TLS connection carries at the start of a segment; nothing is written
/// down of it. Elsewhere nobody knows where its stream begins.
#[inline(always)]
pub fn unseen<F: Frame>(frame: &F, state: &PacketState) -> Step {
    let PacketState { packet, conn, .. } = state;
    if !conn.known.was_never_evicted() {
        return drop(Reason::TcpSequence);
    }
    if is_http(frame, packet.payload, packet.payload_length) {
        return drop(Reason::PlaintextHttp);
    }
    Step::Continue(())
}

/// Takes note of how far a connection through this host is: long past its hello there is nothing more to judge, before
/// sequence numbers come round to it again. Without a hello a jump ahead proves nothing.
#[inline(always)]
pub fn pass_through(state: &mut PacketState) {
    let PacketState { packet, conn: Conn { next, .. }, .. } = state;
    if next.is_forwarded() && stream_sequence(packet).wrapping_sub(next.base).wrapping_sub(FAR) < 2 * FAR {
        *next = next.past();
    }
}

/// Writes down that there is nothing more to judge of the stream that starts at `base`.
#[inline(always)]
pub fn prove<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState, base: u32) {
    state.conn.next = ConnState::new(base, Phase::Proven, context.now);
    note(frame, context, state, false);
}

/// Writes down that the host's TCP has taken all that there is to judge of the stream that starts at `base`. Nothing is
/// proven of one that was unknown while SYN cookies may be out that make another stream of its addresses and ports.
#[inline(always)]
pub fn adopt<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState, base: u32) {
    if handshake::is_doubted(context, state) {
        state.conn.next = ConnState::new(base, Phase::Opening, context.now).in_doubt().accepted();
        note(frame, context, state, false);
    } else {
        prove(frame, context, state, base);
    }
}

/// Writes down that bytes at the start of a connection were refused: what follows them does not pass either. Those that
/// only came too early were not.
#[inline(always)]
pub fn refuse<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
    reason: Reason,
    is_old: bool,
) {
    if !matches!(reason, Reason::HelloGap) {
        let Conn { next, .. } = &mut state.conn;
        *next = if next.passed < PREFIX { next.refused() } else { next.not_refused() };
        note(frame, context, state, is_old);
    }
}

/// Writes down what is known of a connection, if that changed, or was written long ago. Of a stream that may be old,
/// only what holds for the next one too.
#[inline(always)]
pub fn note<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
    is_old: bool,
) {
    let PacketState { conn: Conn { known, next, .. }, gate, .. } = state;
    if is_old {
        *next = known.taught_by(*next);
    }
    if !known.is_like(*next) || known.is_stale(context.now) {
        *next = next.at(context.now);
        gate.goes_on |= next.is_proven();
        let stage = if known.is_unknown() { Subprog::InsertConn } else { Subprog::UpdateConn };
        let _ = context.env.call(stage, frame, context, state);
    }
}

/// From one to three of these on a segment counts as "long past the prefix".
const FAR: u32 = 1 << 30;
