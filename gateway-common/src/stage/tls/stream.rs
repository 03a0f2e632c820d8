//! Which stream a segment with data belongs to, and where it lies in it.

use crate::{
    abi::Service,
    env::{Env, Socket},
    frame::Frame,
    packet::Packet,
    pipeline::{Context, Scratch, Stage},
    stage::{handshake, service},
    verdict::{Reason, Step, drop},
    wire::{hello::want, proxy::PROXY_MAX, tls::PREFIX},
};

use super::note;

/// The stream that a segment with data belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Sequence number of its first byte.
    pub base: u32,
    /// How much of it the host's TCP has.
    pub received: u64,
    /// The host's TCP knows the connection, or will.
    pub is_ours: bool,
    /// It knows it.
    pub is_open: bool,
    /// What the host's TCP says may be of a stream before the last SYN, which it has not seen yet; or that SYN means nothing.
    pub is_old: bool,
}

impl Stream {
    /// Whether the host's TCP has all that decides.
    #[inline(always)]
    pub const fn is_taken(&self) -> bool {
        self.received >= PREFIX as u64
    }
}

/// Finds out which stream a segment with data belongs to: [`Scratch::stream`].
///
/// Several packets may pass here before the host's TCP sees the first of them, so what it says can be out of date.
#[inline(always)]
pub fn find<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let now = context.now;
    let (known, sequence) = (scratch.gate.known, stream_sequence(&scratch.packet));
    let start = first(service::at(context.settings, scratch.role.service));
    scratch.stream = Stream { base: sequence, is_ours: true, ..Stream::default() };
    if scratch.packet.is_syn() {
        // Data in a SYN (RFC 7413) is the start of the stream.
        return Step::Continue(());
    }
    let socket = handshake::socket(frame, context, scratch);
    let Scratch { packet, gate, asked, stream, .. } = scratch;
    match socket {
        Socket::Open { base, .. } if asked.has_cookie && !may_follow(packet, base) => {
            // Two SYN cookies can be used one after the other. The host's TCP may be about to see the end of the connection that it
            // knows, and then makes another of this segment: it must be the start of a stream, and no part of the other's start.
            if sequence.wrapping_sub(base).wrapping_add(SIZES) < SIZES || touches(packet, base, start) {
                return drop(Reason::TcpSequence);
            }
            context.env.apart(Stage::Begin, frame, context, scratch)?;
            context.env.apart(Stage::Remember, frame, context, scratch)
        }
        Socket::Open { base, received } => {
            let agrees = !known.is_unknown() && known.base == base;
            let may_end = received >= u64::from(PREFIX) || (agrees && known.is_closing());
            if asked.has_cookie && sequence != base && may_end {
                // Behind the stream's start, and a SYN cookie too: should the connection be about to end, it makes the next.
                return drop(Reason::TcpSequence);
            }
            let is_old = !agrees && known.is_fresh(now);
            if is_old && touches(packet, known.base, start) {
                return drop(Reason::TcpSequence);
            }
            if !agrees && !is_old && received != 0 && received < u64::from(PREFIX) {
                // TCP may be about to count what it has just taken: the base holds when it is seen twice.
                gate.link = known.of_stream(base, now);
                note(frame, context, scratch, false);
                return drop(Reason::TcpSequence);
            }
            gate.is_open = !is_old;
            *stream = Stream { base, received, is_ours: true, is_open: true, is_old };
            Step::Continue(())
        }
        // The handshake's ACK is not in yet. With a SYN cookie any segment can be it, and starts the stream.
        Socket::Listening if !asked.starts_nothing() => {
            context.env.apart(Stage::Begin, frame, context, scratch)?;
            context.env.apart(Stage::Remember, frame, context, scratch)
        }
        Socket::Listening if known.is_proven() && known.base != sequence => drop(Reason::TcpSequence),
        Socket::Listening if !known.is_unknown() => {
            // It can start no stream, so it is of the one that starts with what came before. Or the host's TCP makes nothing of it, or the
            // listener has nothing to do with it, and the connection passes through to another host.
            stream.base = known.base;
            Step::Continue(())
        }
        Socket::Listening if !known.is_news() => drop(Reason::TcpSequence),
        Socket::Listening => {
            let link = handshake::doubt(context, scratch, known.followed_by(sequence, now));
            let Scratch { gate, .. } = scratch;
            (gate.link, gate.known) = (link, link);
            context.env.apart(Stage::Remember, frame, context, scratch)
        }
        Socket::Unknown => {
            let base = if known.is_unknown() { sequence } else { known.base };
            *stream = Stream { base, ..Stream::default() };
            Step::Continue(())
        }
    }
}

/// How many bytes at the start of a service's streams are judged at least.
#[inline(always)]
pub fn first(service: &Service) -> u32 {
    if service.wants & u32::from(want::PROXY) != 0 { PROXY_MAX + PREFIX } else { PREFIX }
}

/// The link of a stream that begins at a segment with a SYN cookie, unless the host's TCP may be about to make another one of what came just before.
#[inline(always)]
pub fn begin<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, gate, .. } = scratch;
    let (known, base) = (gate.known, stream_sequence(packet));
    if known.base != base && (known.is_proven() || known.is_fresh(context.now)) {
        return drop(Reason::TcpSequence);
    }
    gate.link = known.begins(base, context.now);
    gate.known = gate.link;
    handshake::cookie_came(context, scratch);
    Step::Continue(())
}

/// A cookie is good for as many sequence numbers in a row as it can stand for segment sizes (`msstab` in net/ipv4/syncookies.c);
/// one less than that.
const SIZES: u32 = 3;

/// Whether a segment with a SYN cookie can belong to the connection that starts at `base`, which may have been made by a neighbour of
/// that cookie.
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
