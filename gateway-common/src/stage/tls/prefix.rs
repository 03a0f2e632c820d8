//! Judges the bytes of a stream's prefix. If they are no hello's, says which protocol they look like.

use crate::{
    env::{Context, Env, Socket},
    frame::Frame,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    state::conntrack::{Conn, Phase},
    verdict::{Reason, Step, drop},
    wire::tls::{HANDSHAKE, PREFIX, Part, Start, is_http, is_ssl2, start},
};

use super::{state::Gate, stream_sequence};

/// Judges the bytes of a segment that belong to the prefix of the stream, and adds what they show to the connection's
/// state.
#[inline(always)]
pub fn judge<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, conn: Conn { next, .. }, asked, .. } = state;
    let ahead = stream_sequence(packet).wrapping_sub(next.base);
    // A keep-alive starts before what is expected (RFC 9293 section 3.8.4); its first bytes are not the stream's.
    let before = if (ahead as i32) < 0 { ahead.wrapping_neg() } else { 0 };
    let position = if before == 0 { ahead } else { 0 };
    let (before, position) = (E::barrier_var(before.into()) as u32, E::barrier_var(position.into()) as u32);
    if before >= packet.payload_length {
        return Step::Continue(());
    }
    if next.is_refused() && position > next.passed {
        // The rest of what was refused.
        return drop(Reason::NotTls);
    }
    if position >= PREFIX {
        // TCP delivers in order, so what lies behind can pass.
        return Step::Continue(());
    }
    // Bytes that TCP has taken had passed, though their entry may have been evicted.
    let taken = match asked.socket() {
        Socket::Open { base, received } if base == next.base => received,
        _ => 0,
    };
    let is_next = position <= next.passed || u64::from(position) <= taken;
    if !is_next {
        return drop(Reason::HelloGap);
    }
    let (offset, length) = (packet.payload.wrapping_add(before), packet.payload_length - before);
    if position == 0 && frame.u8(offset).is_some_and(|byte| byte != HANDSHAKE) {
        return drop(other(frame, offset, length));
    }
    let whole = if position == 0 && length >= PREFIX {
        frame.bytes(offset).and_then(|bytes| start(bytes, &mut next.shown))
    } else {
        None
    };
    match whole {
        Some(start) => begins(start)?,
        None => {
            state.gate.part = Part { offset, length, position };
            context.env.call(Subprog::JudgePrefixPart, frame, context, state)?;
        }
    }
    let Conn { next, .. } = &mut state.conn;
    let end = position + if length < PREFIX { length } else { PREFIX };
    if end > next.passed {
        next.passed = if end < PREFIX { end } else { PREFIX };
    }
    if next.passed >= PREFIX {
        next.phase = Phase::Forwarded;
        *next = next.not_refused();
    }
    Step::Continue(())
}

/// Judges a prefix in several parts or records.
#[inline(always)]
pub fn judge_part<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    state.gate.shown = state.conn.next.shown;
    state.gate.short_record = state.gate.part.short_record(frame, state.gate.shown);
    context.env.barrier(state);
    let PacketState { conn: Conn { next, .. }, gate: Gate { part, short_record, shown, .. }, .. } = state;
    begins(part.start(frame, *short_record, shown, |number| E::barrier_var(number.into()) as u32))?;
    next.shown = *shown;
    Step::Continue(())
}

/// The answer to a stream that starts so.
#[inline(always)]
const fn begins(start: Start) -> Step {
    match start {
        Start::Hello => Step::Continue(()),
        Start::Ssl3 => drop(Reason::TlsVersion),
        Start::Other => drop(Reason::NotTls),
    }
}

/// The reason for a stream that does not start with a record.
#[inline(always)]
fn other<F: Frame>(frame: &F, offset: u32, length: u32) -> Reason {
    if is_http(frame, offset, length) {
        Reason::PlaintextHttp
    } else if is_ssl2(frame, offset, length) {
        Reason::Ssl2Hello
    } else {
        Reason::NotTls
    }
}
