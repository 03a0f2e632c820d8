//! The TLS gate: what an application reads of a connection to a gated service starts with a ClientHello, or it reads
//! nothing.
//!
//! Every segment that covers one of a stream's first [`PREFIX`] bytes is judged on the bytes that it covers, retransmitted
//! or reordered or overlapping ones too; whatever lies behind them can pass, because TCP delivers in order. So all that the
//! gate must know is where the stream begins, and for connections that end here the host's TCP says it.

use crate::{
    connection::{self, Link, Phase},
    env::{Env, Socket},
    frame::Frame,
    packet::{Fragment, Packet, flags},
    pipeline::{Context, Scratch},
    stage::service::{self, requires_tls},
    verdict::{Reason, Step, drop},
    wire::tls::{PREFIX, is_http, may_be_hello},
};

/// Judges a packet to a service that requires TLS.
#[inline(never)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &Scratch) -> Step {
    let Scratch { packet, role, .. } = scratch;
    if !packet.is_tcp() || !requires_tls(service::at(context.settings, role.service)) {
        return Step::Continue(());
    }
    if !matches!(packet.fragment, Fragment::Whole) {
        return drop(Reason::GatedFragment);
    }
    let identity = connection::identity(context.env, packet);
    if packet.is_syn() {
        // A new connection, be there an old one of the same ports or not. Of a forged SYN nothing worse comes than that
        // the host's TCP is asked again.
        let base = packet.sequence.wrapping_add(1);
        connection::remember(
            context.env,
            identity,
            Link::new(base, Phase::Opening, context.now),
            context.now,
        );
        // Data in the SYN (RFC 7413) is the start of the stream.
        return judge(frame, packet, base, base);
    }
    if packet.payload_length == 0 || packet.tcp_flags & flags::RST != 0 {
        return Step::Continue(());
    }
    data(frame, context, packet, identity)
}

/// Judges a segment with data.
#[inline(always)]
fn data<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, packet: &Packet, identity: u64) -> Step {
    let known = connection::find(context.env, identity);
    let remember = |base, phase| {
        let unchanged = known.is_some_and(|link| link.phase == phase && !link.is_stale(context.now));
        if !unchanged {
            connection::remember(context.env, identity, Link::new(base, phase, context.now), context.now);
        }
    };
    let base = match known {
        Some(Link { phase: Phase::Proven, .. }) => {
            remember(0, Phase::Proven);
            return Step::Continue(());
        }
        Some(Link { phase: Phase::Forwarded, base, .. }) => base,
        _ => match context.env.socket(packet) {
            Socket::Open { received, .. } if received >= u64::from(PREFIX) => {
                remember(0, Phase::Proven);
                return Step::Continue(());
            }
            // Once TCP has taken the prefix it says so, and the connection is proven.
            Socket::Open { base, .. } => return judge(frame, packet, packet.sequence, base),
            // The handshake's ACK is not in yet, and carries this data: it starts the stream.
            Socket::Listening => return judge(frame, packet, packet.sequence, packet.sequence),
            Socket::Unknown => known.map_or(packet.sequence, |link| link.base),
        },
    };
    judge(frame, packet, packet.sequence, base)?;
    let ahead = packet.sequence.wrapping_sub(base);
    if ahead == 0 && packet.payload_length >= PREFIX {
        remember(base, Phase::Forwarded);
    } else if ahead > FAR && ahead < SECOND_ROUND && known.is_some_and(|link| link.phase == Phase::Forwarded)
    {
        // Long past a hello: before sequence numbers come round to it again. Without one a jump ahead proves nothing.
        remember(0, Phase::Proven);
    } else {
        remember(base, known.map_or(Phase::Opening, |link| link.phase));
    }
    Step::Continue(())
}

/// Half the sequence space from here on counts as "long past the prefix".
const FAR: u32 = 1 << 30;
const SECOND_ROUND: u32 = 3 << 30;

/// Judges the bytes of a segment that belong to the prefix of the stream that starts at `base`.
#[inline(always)]
fn judge<F: Frame>(frame: &F, packet: &Packet, sequence: u32, base: u32) -> Step {
    let ahead = sequence.wrapping_sub(base);
    // A keep-alive starts before what is expected (RFC 9293 section 3.8.4); its first bytes are not the stream's.
    let before = if (ahead as i32) < 0 { ahead.wrapping_neg() } else { 0 };
    let position = if before == 0 { ahead } else { 0 };
    if position >= PREFIX || before >= packet.payload_length {
        return Step::Continue(());
    }
    let (offset, length) = (packet.payload.wrapping_add(before), packet.payload_length - before);
    if may_be_hello(frame, offset, length, position) {
        return Step::Continue(());
    }
    let http = position == 0 && is_http(frame, offset, length);
    drop(if http { Reason::PlaintextHttp } else { Reason::NotTls })
}
