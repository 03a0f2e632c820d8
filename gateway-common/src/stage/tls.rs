//! The TLS gate: what an application reads of a connection to a gated service starts with a ClientHello, or it reads
//! nothing.
//!
//! Every segment that covers one of a stream's first [`PREFIX`] bytes is judged on the bytes that it covers, retransmitted
//! or reordered or overlapping ones too; whatever lies behind them can pass, because TCP delivers in order, until bytes of
//! the start were refused. So all that the gate must know is where the stream begins, and for connections that end here the
//! host's TCP says it.
//!
//! Services that ask for more than the prefix shows have their first messages read by [`super::hello`].

use crate::{
    connection::{self, Link, Phase},
    env::{Env, Socket},
    frame::Frame,
    packet::{Fragment, Packet, flags},
    pipeline::{Context, Gate, Scratch, Stage},
    stage::service::{self, requires_tls},
    verdict::{Reason, Step, drop},
    wire::tls::{PREFIX, Start, cut, is_http, is_ssl2, start},
};

/// Judges a packet to a service that requires TLS.
#[inline(never)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, role, gate, .. } = scratch;
    gate.must_read = false;
    let service = service::at(context.settings, role.service);
    if !packet.is_tcp() || !requires_tls(service) {
        return Step::Continue(());
    }
    if !matches!(packet.fragment, Fragment::Whole) {
        return drop(Reason::GatedFragment);
    }
    if packet.tcp_flags & flags::URG != 0 {
        // The server would not read the byte that the pointer names, and the stream's first bytes would be others.
        return drop(Reason::TcpUrgent);
    }
    let identity = connection::identity(context.env, packet);
    let known = connection::find(context.env, identity);
    *gate = Gate { identity, known, link: known, must_read: false };
    if packet.is_syn() {
        opening(context, packet, gate);
    } else if packet.tcp_flags & flags::RST != 0 {
        return Step::Continue(());
    }
    if packet.payload_length == 0 {
        return Step::Continue(());
    }
    if service.wants != 0 {
        gate.must_read = true;
        return Step::Continue(());
    }
    data(frame, context, scratch)
}

/// A new connection, be there an old one of the same ports or not. Of a forged SYN nothing worse comes than that the host's
/// TCP is asked again.
#[inline(always)]
fn opening<E: Env>(context: &Context<'_, E>, packet: &Packet, gate: &mut Gate) {
    let known = gate.known;
    let mut link = Link::new(stream_sequence(packet), Phase::Opening, context.now);
    if matches!(known.phase, Phase::Opening) {
        if known.base == link.base {
            (link.cuts, link.passed) = (known.cuts, known.passed);
        } else if known.cuts != 0 {
            // What was seen of a cut length is not undone by a SYN that TCP may not take: now no cut passes.
            link.cuts = cut::HIGH_ZERO | cut::LOW_SHORT;
        }
    }
    connection::remember(context.env, gate.identity, link, context.now);
    (gate.known, gate.link) = (link, link);
}

/// Judges a segment with data.
#[inline(always)]
fn data<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let (env, now) = (context.env, context.now);
    let Scratch { packet, gate, .. } = scratch;
    let known = gate.known;
    if known.is_proven() {
        prove(context, gate);
        return Step::Continue(());
    }
    let mut is_ours = false;
    let base = if packet.is_syn() {
        // Data in a SYN (RFC 7413) is the start of the stream.
        stream_sequence(packet)
    } else if known.is_forwarded() {
        known.base
    } else {
        let socket = env.socket(packet);
        is_ours = !matches!(socket, Socket::Unknown);
        match socket {
            Socket::Open { received, .. } if received >= u64::from(PREFIX) => {
                prove(context, gate);
                return Step::Continue(());
            }
            Socket::Open { base, .. } => base,
            Socket::Unknown if !known.is_unknown() => known.base,
            Socket::Unknown if connection::forgot_nobody(env, gate.identity) => {
                return adopted(frame, packet);
            }
            // The handshake's ACK is not in yet, and carries this data: it starts the stream.
            Socket::Listening | Socket::Unknown => packet.sequence,
        }
    };
    gate.link = known.of_stream(base, now);
    let judged = env.apart(Stage::Prefix, frame, context, scratch);
    let Scratch { packet, gate, .. } = scratch;
    if judged.is_break() {
        refuse(context, gate);
        return judged;
    }
    if is_ours {
        // Once TCP has taken the prefix it says so, and the connection is proven.
        gate.link.phase = Phase::Opening;
    }
    let ahead = stream_sequence(packet).wrapping_sub(base);
    if ahead > FAR && ahead < SECOND_ROUND && gate.link.is_forwarded() {
        // Long past a hello: before sequence numbers come round to it again. Without one a jump ahead proves nothing.
        prove(context, gate);
    } else {
        note(context, gate);
    }
    Step::Continue(())
}

/// A connection through this host that was open before the gateway came. It is let go on, but for what no TLS connection
/// carries at the start of a segment.
#[inline(always)]
fn adopted<F: Frame>(frame: &F, packet: &Packet) -> Step {
    if is_http(frame, packet.payload, packet.payload_length) {
        return drop(Reason::PlaintextHttp);
    }
    Step::Continue(())
}

/// Sequence number of a segment's first byte of data.
#[inline(always)]
pub const fn stream_sequence(packet: &Packet) -> u32 {
    packet.sequence.wrapping_add(packet.is_syn() as u32)
}

/// Writes down that there is nothing more to judge of a connection.
#[inline(always)]
pub fn prove<E: Env>(context: &Context<'_, E>, gate: &mut Gate) {
    gate.link = Link::new(gate.identity as u32, Phase::Proven, context.now);
    note(context, gate);
}

/// Writes down that bytes at the start of a connection were refused: what follows them does not pass either.
#[inline(always)]
pub fn refuse<E: Env>(context: &Context<'_, E>, gate: &mut Gate) {
    gate.link.refused = gate.link.passed < PREFIX;
    note(context, gate);
}

/// Writes down what is known of a connection, if that changed, or was written long ago.
#[inline(always)]
pub fn note<E: Env>(context: &Context<'_, E>, gate: &Gate) {
    let Gate { identity, known, link, .. } = *gate;
    if !known.is_like(link) || known.is_stale(context.now) {
        connection::remember(context.env, identity, link.at(context.now), context.now);
    }
}

/// Half the sequence space from here on counts as "long past the prefix".
const FAR: u32 = 1 << 30;
const SECOND_ROUND: u32 = 3 << 30;

/// Judges the bytes of a segment that belong to the prefix of the stream, and adds to the link what it learns.
#[inline(always)]
pub fn judge<F: Frame>(frame: &F, scratch: &mut Scratch) -> Step {
    let Scratch { packet, gate: Gate { link, .. }, .. } = scratch;
    let ahead = stream_sequence(packet).wrapping_sub(link.base);
    // A keep-alive starts before what is expected (RFC 9293 section 3.8.4); its first bytes are not the stream's.
    let before = if (ahead as i32) < 0 { ahead.wrapping_neg() } else { 0 };
    let position = if before == 0 { ahead } else { 0 };
    if before >= packet.payload_length {
        return Step::Continue(());
    }
    if position >= PREFIX {
        // TCP delivers in order, so what lies behind can pass, unless it is the rest of what was refused.
        return if link.refused { drop(Reason::NotTls) } else { Step::Continue(()) };
    }
    let (offset, length) = (packet.payload.wrapping_add(before), packet.payload_length - before);
    let mut cuts = 0;
    match start(frame, offset, length, position, &mut cuts) {
        Start::Hello => {}
        Start::Ssl3 => return drop(Reason::TlsVersion),
        Start::Other if position == 0 && is_http(frame, offset, length) => {
            return drop(Reason::PlaintextHttp);
        }
        Start::Other if position == 0 && is_ssl2(frame, offset, length) => return drop(Reason::Ssl2Hello),
        Start::Other => return drop(Reason::NotTls),
    }
    // A short length's two bytes never pass one by one, in whichever order, or sent again with other content.
    let short_high = cuts & cut::HIGH_ZERO != 0 && link.cuts & cut::LOW_SHORT != 0;
    let is_long = link.cuts & (cut::HIGH_ZERO | cut::HIGH_OTHER) == cut::HIGH_OTHER;
    if short_high || (cuts & cut::LOW_SHORT != 0 && !is_long) {
        return drop(Reason::NotTls);
    }
    link.cuts |= cuts;
    let end = position + if length < PREFIX { length } else { PREFIX };
    if position <= link.passed && end > link.passed {
        link.passed = if end < PREFIX { end } else { PREFIX };
    }
    if link.passed == PREFIX {
        link.phase = Phase::Forwarded;
        link.refused = false;
    }
    Step::Continue(())
}
