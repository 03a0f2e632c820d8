//! The TLS gate: what an application reads of a connection to a gated service starts with a ClientHello, or it reads
//! nothing.
//!
//! Every segment that covers one of a stream's first [`PREFIX`] bytes is judged on the bytes that it covers, retransmitted
//! or overlapping ones too, and one that comes before the bytes ahead of it is dropped, since they say what its bytes mean: TCP sends it
//! again. Whatever lies behind them can pass, because TCP delivers in order, until bytes of
//! the start were refused. So all that the gate must know is where the stream begins, and for connections that end here the
//! host's TCP says it.
//!
//! Services that ask for more than the prefix shows have their first messages read by [`super::hello`].

mod prefix;
mod stream;

pub use prefix::{judge, judge_part};
pub use stream::{Stream, begin, find, first, stream_sequence, touches};

use core::ops::ControlFlow;

use crate::{
    abi::Settings,
    connection::{self, Link, Phase},
    env::{Env, Socket},
    frame::Frame,
    packet::{Fragment, flags},
    pipeline::{Context, Gate, Scratch, Stage},
    stage::{
        handshake,
        service::{self, requires_tls},
    },
    verdict::{Reason, Step, drop},
    wire::{
        proxy::PROXY_MAX,
        tls::{PREFIX, is_http},
    },
};

/// Whether a packet is for a service that requires TLS.
#[inline(always)]
pub fn concerns(settings: &Settings, scratch: &mut Scratch) -> bool {
    let Scratch { packet, role, gate, .. } = scratch;
    (gate.must_read, gate.is_open) = (false, false);
    packet.is_tcp() && requires_tls(service::at(settings, role.service))
}

/// Whether there is nothing to judge in a packet and nothing to write down: a connection that has proved TLS, and what was not
/// part of the proof.
#[inline(always)]
pub fn is_settled<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> bool {
    const TOLD_APART: u8 = flags::SYN | flags::RST | flags::URG;
    let Scratch { packet, gate: Gate { known, .. }, handshake, .. } = scratch;
    handshake.is_identified
        && known.is_proven()
        && !known.is_stale(context.now)
        && packet.tcp_flags & TOLD_APART == 0
        && !touches(packet, known.base, PROXY_MAX + PREFIX)
}

/// Judges a packet to a service that requires TLS.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, role, gate, handshake, .. } = scratch;
    let service = service::at(context.settings, role.service);
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
    if !handshake.is_identified {
        *gate = connection::gate(context.env, packet);
    }
    gate.goes_on = false;
    if packet.tcp_flags & (flags::RST | flags::FIN) != 0 {
        closing(frame, context, scratch);
    }
    let Scratch { packet, .. } = scratch;
    if packet.tcp_flags & flags::RST != 0 {
        return Step::Continue(());
    }
    let is_bare = packet.payload_length == 0;
    if packet.is_syn() {
        opening(frame, context, scratch)?;
    } else if is_bare {
        return bare(frame, context, scratch);
    }
    if is_bare {
        return Step::Continue(());
    }
    scratch.gate.must_read = service.wants != 0 && !scratch.gate.known.is_past();
    if scratch.gate.must_read { Step::Continue(()) } else { data(frame, context, scratch) }
}

/// A new stream, be there an old one of the same ports or not. Of a forged SYN nothing worse comes than that the host's
/// TCP is asked for a while.
#[inline(always)]
fn opening<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let socket = handshake::socket(frame, context, scratch);
    let (known, base, now) = (scratch.gate.known, stream_sequence(&scratch.packet), context.now);
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
        Socket::Listening => handshake::doubt(context, scratch, known.followed_by(base, now)),
        _ => Link::new(base, Phase::Opening, now),
    };
    let is_ours = match socket {
        Socket::Unknown => false,
        Socket::Listening => scratch.is_local,
        Socket::Open { .. } => true,
    };
    scratch.gate.known = link;
    scratch.gate.link = if is_ours { link } else { link.passing_through() };
    let remembered = context.env.apart(Stage::Remember, frame, context, scratch);
    // Where there is no room for it the host's TCP is asked. Where that knows nothing its data would not pass, so its client
    // shall try again now: there is room when somebody has been silent for long enough.
    if matches!(socket, Socket::Unknown) { remembered } else { Step::Continue(()) }
}

/// The client closes a stream, or resets it, where the host's TCP takes it from there. Of one that is proven nothing need be known: what could
/// begin another one at its start does not pass.
#[inline(always)]
fn closing<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) {
    let Scratch { packet, gate, .. } = scratch;
    let known = gate.known;
    let is_near = packet.sequence.wrapping_sub(known.base) < WINDOW;
    if is_near && !known.is_unknown() && !known.is_proven() && !known.is_closing() {
        gate.link = known.closing();
        note(frame, context, scratch, false);
        scratch.gate.known = scratch.gate.link;
    }
}

/// No honest SYN falls so near to what a live connection waits for (RFC 5961 section 4): its bytes could be taken for the
/// start of a stream.
const WINDOW: u32 = 1 << 16;

/// A segment without data. With a SYN cookie it makes a connection, whose stream starts where it says.
#[inline(always)]
fn bare<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.gate.known.has_shown_hello() && scratch.gate.known.is_stale(context.now) {
        // Who reads for long says nothing, but lives.
        scratch.gate.link = scratch.gate.known;
        note(frame, context, scratch, false);
    }
    let Scratch { packet, gate, .. } = &*scratch;
    let known = gate.known;
    // What is at the start of one that is proven can be a SYN cookie that is used once more.
    if known.is_proven() && !touches(packet, known.base, PREFIX) {
        return Step::Continue(());
    }
    match handshake::socket(frame, context, scratch) {
        Socket::Listening => {}
        // A SYN cookie for another connection, or that is used once more. Should this one be about to end, it makes the next.
        Socket::Open { base, received }
            if scratch.asked.has_cookie && (received != 0 || scratch.packet.sequence != base) =>
        {
            return drop(Reason::TcpSequence);
        }
        _ => return Step::Continue(()),
    }
    if scratch.asked.starts_nothing() {
        return Step::Continue(());
    }
    context.env.apart(Stage::Begin, frame, context, scratch)?;
    context.env.apart(Stage::Remember, frame, context, scratch)
}

/// Judges a segment with data.
#[inline(always)]
fn data<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let (env, now) = (context.env, context.now);
    let Scratch { packet, gate, .. } = scratch;
    let known = gate.known;
    if known.is_past() || (known.is_proven() && !touches(packet, known.base, PREFIX)) {
        gate.link = known;
        note(frame, context, scratch, false);
        return Step::Continue(());
    }
    if known.is_forwarded() {
        scratch.stream = Stream { base: known.base, ..Stream::default() };
    } else {
        find(frame, context, scratch)?;
    }
    env.read_again(scratch);
    let Scratch { gate, stream, .. } = scratch;
    let (known, stream) = (gate.known, *stream);
    if !stream.is_ours {
        if known.is_proven() {
            // It ended here, and there is no socket any more.
            return Step::Continue(());
        }
        if known.is_unknown() {
            return unseen(frame, scratch);
        }
    }
    gate.link = known.of_stream(stream.base, now);
    if stream.is_open {
        gate.link = gate.link.met();
    }
    // While SYN cookies may be out the start is judged again, though the host's TCP has it: it may be about to see the end of the
    // connection, and the cookie that is used once more makes a new one of this segment or of what came just before.
    let is_again = touches(&scratch.packet, stream.base, PREFIX) && handshake::is_doubted(context, scratch);
    if !stream.is_taken() || scratch.asked.has_cookie || is_again {
        let judged = env.apart(Stage::Prefix, frame, context, scratch);
        if let ControlFlow::Break(reason) = judged {
            if !scratch.stream.is_taken() {
                let is_old = scratch.stream.is_old;
                refuse(frame, context, scratch, reason, is_old);
            }
            return judged;
        }
    }
    env.read_again(scratch);
    let Scratch { gate, stream, .. } = scratch;
    let (known, stream) = (gate.known, *stream);
    if stream.is_taken() {
        if stream.is_old {
            return Step::Continue(());
        }
        gate.goes_on = true;
        if known.is_doubtful(now) && !known.is_fresh(now) {
            return Step::Continue(());
        }
        if !known.is_doubtful(now) {
            adopt(frame, context, scratch, stream.base);
            return Step::Continue(());
        }
    }
    if stream.is_ours {
        // Once TCP has taken the prefix it says so, and the connection is proven.
        gate.link.phase = Phase::Opening;
    } else {
        pass_through(scratch);
    }
    note(frame, context, scratch, stream.is_old);
    Step::Continue(())
}

/// Data of a connection through this host that nothing is known of. Where nobody was forgotten it was open before the gateway
/// came, and is let go on, but for what no TLS connection carries at the start of a segment; nothing is written down of it.
/// Elsewhere nobody knows where its stream begins.
#[inline(always)]
pub fn unseen<F: Frame>(frame: &F, scratch: &Scratch) -> Step {
    let Scratch { packet, gate, .. } = scratch;
    if !gate.known.is_news() {
        return drop(Reason::TcpSequence);
    }
    if is_http(frame, packet.payload, packet.payload_length) {
        return drop(Reason::PlaintextHttp);
    }
    Step::Continue(())
}

/// Takes note of how far a connection through this host is: long past its hello there is nothing more to judge, before sequence
/// numbers come round to it again. Without a hello a jump ahead proves nothing.
#[inline(always)]
pub fn pass_through(scratch: &mut Scratch) {
    let Scratch { packet, gate: Gate { link, .. }, .. } = scratch;
    if link.is_forwarded() && stream_sequence(packet).wrapping_sub(link.base).wrapping_sub(FAR) < 2 * FAR {
        *link = link.past();
    }
}

/// Writes down that there is nothing more to judge of the stream that starts at `base`.
#[inline(always)]
pub fn prove<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch, base: u32) {
    scratch.gate.link = Link::new(base, Phase::Proven, context.now);
    note(frame, context, scratch, false);
}

/// Writes down that the host's TCP has taken all that there is to judge of the stream that starts at `base`. Nothing is
/// proven of one that was unknown while SYN cookies may be out that make another stream of its addresses and ports.
#[inline(always)]
pub fn adopt<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch, base: u32) {
    if handshake::is_doubted(context, scratch) {
        scratch.gate.link = Link::new(base, Phase::Opening, context.now).in_doubt().accepted();
        note(frame, context, scratch, false);
    } else {
        prove(frame, context, scratch, base);
    }
}

/// Writes down that bytes at the start of a connection were refused: what follows them does not pass either. Those that only came too
/// early were not.
#[inline(always)]
pub fn refuse<F: Frame, E: Env>(
    frame: &F,
    context: &Context<'_, E>,
    scratch: &mut Scratch,
    reason: Reason,
    is_old: bool,
) {
    if !matches!(reason, Reason::HelloGap) {
        let Gate { link, .. } = &mut scratch.gate;
        *link = if link.passed < PREFIX { link.refused() } else { link.not_refused() };
        note(frame, context, scratch, is_old);
    }
}

/// Writes down what is known of a connection, if that changed, or was written long ago. Of a stream that may be old, only
/// what holds for the next one too.
#[inline(always)]
pub fn note<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch, is_old: bool) {
    let Gate { known, link, goes_on, .. } = &mut scratch.gate;
    if is_old {
        *link = known.taught_by(*link);
    }
    if !known.is_like(*link) || known.is_stale(context.now) {
        *link = link.at(context.now);
        *goes_on |= link.is_proven();
        let stage = if known.is_unknown() { Stage::Remember } else { Stage::Update };
        let _ = context.env.apart(stage, frame, context, scratch);
    }
}

/// From one to three of these on a segment counts as "long past the prefix".
const FAR: u32 = 1 << 30;
