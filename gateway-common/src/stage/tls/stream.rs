//! Which stream a segment with data belongs to, and where it lies in it.

use crate::{
    connection::{Link, Phase},
    env::{Env, Socket},
    frame::Frame,
    packet::Packet,
    pipeline::{Context, Scratch, Stage},
    stage::handshake,
    verdict::{Reason, Step, drop},
    wire::tls::PREFIX,
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

/// Finds out which stream a segment with data belongs to. `start` is how many of a stream's first bytes decide.
///
/// Several packets may pass here before the host's TCP sees the first of them, so what it says can be out of date.
#[inline(always)]
pub fn stream<F: Frame, E: Env>(
    frame: &F,
    context: &Context<'_, E>,
    scratch: &mut Scratch,
    start: u32,
) -> Step<Stream> {
    let (env, now) = (context.env, context.now);
    let (known, sequence) = (scratch.gate.known, stream_sequence(&scratch.packet));
    if scratch.packet.is_syn() {
        // Data in a SYN (RFC 7413) is the start of the stream.
        return Step::Continue(Stream { base: sequence, is_ours: true, ..Stream::default() });
    }
    let socket = handshake::socket(frame, context, scratch);
    let Scratch { packet, gate, asked, .. } = scratch;
    match socket {
        Socket::Open { base, .. } if asked.has_cookie && !may_follow(packet, base) => {
            // Two SYN cookies can be used one after the other. The host's TCP may be about to see the end of the connection that it
            // knows, and then makes another of this segment: it must be the start of a stream, and no part of the other's start.
            if sequence.wrapping_sub(base).wrapping_add(SIZES) < SIZES || touches(packet, base, start) {
                return drop(Reason::TcpSequence);
            }
            if !known.is_doubtful(now) {
                gate.known = Link::new(sequence, Phase::Opening, now).in_doubt();
            }
            Step::Continue(Stream { base: sequence, is_ours: true, ..Stream::default() })
        }
        Socket::Open { base, received } => {
            let agrees = !known.is_unknown() && known.base == base;
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
            scratch.gate.is_open = !is_old;
            Step::Continue(Stream { base, received, is_ours: true, is_open: true, is_old })
        }
        Socket::Listening => {
            // The handshake's ACK is not in yet. With a SYN cookie any segment can be it, and starts the stream.
            if known.is_proven() || known.is_fresh(now) {
                if known.base != sequence {
                    if known.is_fresh(now) && asked.starts_nothing() {
                        // It can start no stream, so it is of the one that starts with what came just before.
                        return Step::Continue(Stream {
                            base: known.base,
                            is_ours: true,
                            ..Stream::default()
                        });
                    }
                    return drop(Reason::TcpSequence);
                }
            } else if asked.starts_nothing() && !known.is_unknown() {
                // Whatever it is, the host's TCP makes nothing of it. The listener may have nothing to do with it, and the
                // connection pass through to another host.
                return Step::Continue(Stream { base: known.base, is_ours: true, ..Stream::default() });
            } else if asked.starts_nothing() && !known.is_news() {
                return drop(Reason::TcpSequence);
            } else {
                let link = known.followed_by(sequence, now);
                let link = handshake::doubt(context, scratch, link);
                let Scratch { gate, .. } = scratch;
                gate.link = link;
                gate.known = gate.link;
                env.apart(Stage::Remember, frame, context, scratch)?;
            }
            Step::Continue(Stream { base: sequence, is_ours: true, ..Stream::default() })
        }
        Socket::Unknown => {
            let base = if known.is_unknown() { sequence } else { known.base };
            Step::Continue(Stream { base, ..Stream::default() })
        }
    }
}

/// A cookie is good for as many sequence numbers in a row as it can stand for segment sizes (`msstab` in net/ipv4/syncookies.c);
/// one less than that.
const SIZES: u32 = 3;

/// Whether a segment with a SYN cookie can belong to the connection that starts at `base`, which may have been made by a neighbour of
/// that cookie.
#[inline(always)]
pub(super) const fn may_follow(packet: &Packet, base: u32) -> bool {
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
