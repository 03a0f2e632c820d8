//! QUIC (RFC 9000, RFC 9369, RFC 8999): what a datagram from a client may start with, as far as that can be told
//! without keys.
//!
//! If packets are coalesced in one datagram (RFC 9000 section 12.2), the first is judged: servers take them one by one,
//! and the first says what the datagram is for.

#[cfg(test)]
mod tests;

use crate::{
    frame::Frame,
    verdict::{Reason, Step, drop},
};

/// Smallest datagram that can open a connection (RFC 9000 section 14.1).
pub const INITIAL_MIN: u32 = 1_200;
/// Longest connection ID of versions 1 and 2 (RFC 9000 section 17.2).
pub const ID_MAX: u32 = 20;
/// Shortest that a client may choose for its server (RFC 9000 section 7.2).
pub const FIRST_ID_MIN: u32 = 8;

/// Version 1 (RFC 9000 section 15).
const V1: u32 = 1;
/// Version 2 (RFC 9369 section 3.1).
const V2: u32 = 0x6b33_43cf;
/// The version of version negotiation, which servers alone send (RFC 8999 section 6).
const NEGOTIATION: u32 = 0;

/// Header form: long.
const LONG: u8 = 0x80;
/// Fixed bit. A client that has learnt that it may clear the bit may do so (RFC 9287 section 3).
const FIXED: u8 = 0x40;
/// Bytes behind the packet number's place that header protection needs, the longest packet number included
/// (RFC 9001 section 5.4.2).
const SAMPLED: u32 = 4 + 16;

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It can open a connection.
    Initial,
    /// Of a version that only the server can know: it answers with those it has (RFC 9000 section 6).
    Foreign,
    /// 0-RTT or Handshake: it belongs to a connection that an Initial has opened.
    Handshake,
    /// With a short header: of a connection that is open.
    Short,
}

/// The types of long header packets, as version 1 numbers them (RFC 9000 section 17.2).
const INITIAL: u8 = 0;
const RETRY: u8 = 3;

/// Reads the first header of a datagram of `length` bytes at `offset`. `is_known`: its sender has opened a connection.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, offset: u32, length: u32, is_known: bool) -> Step<Kind> {
    let Some(first) = frame.u8(offset) else { return drop(Reason::QuicMalformed) };
    let is_fixed = first & FIXED != 0;
    if first & LONG == 0 {
        // At least a packet number and the bytes that header protection samples; the connection ID may be empty.
        let is_short = length > SAMPLED && (is_fixed || is_known);
        return if is_short { Step::Continue(Kind::Short) } else { drop(Reason::QuicMalformed) };
    }
    let Some([v0, v1, v2, v3, destination]) = frame.bytes(offset + 1) else {
        return drop(Reason::QuicMalformed);
    };
    let destination = u32::from(destination);
    let Some(source) = frame.u8(offset + 6 + destination) else { return drop(Reason::QuicMalformed) };
    let ids_end = 7 + destination + u32::from(source);
    if ids_end > length {
        return drop(Reason::QuicMalformed);
    }
    let version = u32::from_be_bytes([v0, v1, v2, v3]);
    if version != V1 && version != V2 {
        // Servers answer only what is large enough to open a connection (RFC 9000 section 5.2.2).
        let is_answered = version != NEGOTIATION && length >= INITIAL_MIN;
        return if is_answered { Step::Continue(Kind::Foreign) } else { drop(Reason::QuicVersion) };
    }
    if destination > ID_MAX || u32::from(source) > ID_MAX {
        return drop(Reason::QuicMalformed);
    }
    // Version 2 counts from one place further (RFC 9369 section 3.2).
    let kind = (first >> 4).wrapping_sub(if version == V2 { 1 } else { 0 }) & 3;
    let (mut at, mut has_token) = (ids_end, false);
    if kind == INITIAL {
        if length < INITIAL_MIN {
            return drop(Reason::QuicInitialSize);
        }
        let (token, size) = number(frame, offset + at)?;
        if token > length {
            return drop(Reason::QuicMalformed);
        }
        has_token = token != 0;
        at += size + token;
    }
    // A client with a token has spoken with the server, which may have chosen the ID, and may have said that the bit is
    // free.
    let is_usual = is_fixed && (destination >= FIRST_ID_MIN || kind != INITIAL);
    if kind == RETRY || !(is_usual || is_known || has_token) {
        return drop(Reason::QuicMalformed);
    }
    let (payload, size) = number(frame, offset + at)?;
    if payload < SAMPLED || payload > length || at + size + payload > length {
        return drop(Reason::QuicMalformed);
    }
    Step::Continue(if kind == INITIAL { Kind::Initial } else { Kind::Handshake })
}

/// A variable-length integer (RFC 9000 section 16) and its size; no length in a datagram needs more than four bytes.
#[inline(always)]
fn number<F: Frame>(frame: &F, offset: u32) -> Step<(u32, u32)> {
    let Some(first) = frame.u8(offset) else { return drop(Reason::QuicMalformed) };
    let value = match first >> 6 {
        0 => Some((u32::from(first), 1)),
        1 => frame.be16(offset).map(|value| (u32::from(value & 0x3fff), 2)),
        2 => frame.bytes(offset).map(|bytes| (u32::from_be_bytes(bytes) & 0x3fff_ffff, 4)),
        // Longer than it need be, which is allowed for a small number.
        _ => match frame.bytes::<8>(offset) {
            Some([0xc0, 0, 0, 0, b4, b5, b6, b7]) => Some((u32::from_be_bytes([b4, b5, b6, b7]), 8)),
            _ => None,
        },
    };
    match value {
        Some(value) => Step::Continue(value),
        None => drop(Reason::QuicMalformed),
    }
}
