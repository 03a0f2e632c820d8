//! The first bytes of a stream: a TLS handshake record that holds a ClientHello (RFC 8446 sections 4 and 5.1), judged byte
//! by byte, so that it does not matter how segments cut them.

#[cfg(test)]
mod tests;

use crate::frame::Frame;

/// Bytes that decide: a record header, then of the handshake message its type, its length and the version that it names:
/// `16 03 xx LL LL 01 HH HH HH 03 VV`.
pub const PREFIX: u32 = 11;

/// ContentType handshake.
pub const HANDSHAKE: u8 = 22;
/// HandshakeType client_hello.
pub const CLIENT_HELLO: u8 = 1;
/// The upper byte of every version since SSL 3.0.
pub const MAJOR: u8 = 3;
/// The lower byte of TLS 1.0's.
pub const MINOR_MIN: u8 = 1;
/// The lower byte of the highest version that was ever given out. In a record header it says nothing of what is offered
/// (RFC 8446 section 5.1).
pub const MINOR_MAX: u8 = 4;
/// Records hold at most 2^14 bytes (RFC 8446 section 5.1).
pub const RECORD_MAX: u32 = 1 << 14;
/// Records may be cut anywhere (RFC 8446 section 5.1), but nobody ends the first one before the handshake message's own
/// version; here it holds at least so many bytes, and all of the prefix lies in it.
pub const FIRST_RECORD_MIN: u8 = (PREFIX - RECORD_HEADER) as u8;
/// Bytes of a record header.
const RECORD_HEADER: u32 = 5;
/// Upper byte of [`RECORD_MAX`].
const LENGTH_HIGH_MAX: u8 = (RECORD_MAX >> 8) as u8;

/// Bytes of the shortest ClientHello: version, random, and the lengths of session id, cipher suites and compression methods,
/// with one suite and one method (RFC 8446 section 4.1.2).
pub const HELLO_MIN: u8 = 2 + 32 + 1 + 2 + 2 + 1 + 1;

/// What was seen of the two lengths, each byte by itself: segments can cut between them, and TCP may take any copy of a
/// byte that passed. So what was seen is kept with the connection, and must fit together.
pub mod shown {
    /// The record length's upper byte is zero.
    pub const HIGH_ZERO: u32 = 1;
    /// It is that of the longest record.
    pub const HIGH_MAX: u32 = 2;
    /// The lower byte is right only for a longer record.
    pub const LOW_SHORT: u32 = 4;
    /// The lower byte is not zero.
    pub const LOW_SOME: u32 = 8;
    /// The message length's first byte is zero.
    pub const FIRST_ZERO: u32 = 16;
    /// Its second byte is zero.
    pub const SECOND_ZERO: u32 = 32;
    /// Its third byte is right only for a longer message.
    pub const THIRD_SHORT: u32 = 64;

    /// Whether no hello shows this.
    #[inline(always)]
    pub const fn is_impossible(shown: u32) -> bool {
        has(shown, HIGH_ZERO | LOW_SHORT)
            || has(shown, HIGH_MAX | LOW_SOME)
            || has(shown, FIRST_ZERO | SECOND_ZERO | THIRD_SHORT)
    }

    const fn has(shown: u32, all: u32) -> bool {
        shown & all == all
    }
}

/// What the bytes of a stream that start at some place of its prefix can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Start {
    /// A ClientHello of TLS.
    Hello,
    /// Anything else.
    Other,
    /// A ClientHello of SSL 3.0.
    Ssl3,
}

/// Judges the bytes of a stream that start at `position` (below [`PREFIX`]), `length` of them at `offset` of the frame: whether
/// they can belong to a stream that starts with a ClientHello. Adds to `shown` what it sees of the lengths.
#[inline(always)]
pub fn start<F: Frame>(frame: &F, offset: u32, length: u32, position: u32, shown: &mut u32) -> Start {
    for index in 0..PREFIX {
        let at = position + index;
        if index >= length || at >= PREFIX {
            break;
        }
        let Some(byte) = frame.u8(offset + index) else {
            return Start::Other;
        };
        let fits = match at {
            0 => byte == HANDSHAKE,
            1 | 9 => byte == MAJOR,
            2 => byte <= MINOR_MAX,
            3 => {
                *shown |= flag(byte == 0, shown::HIGH_ZERO) | flag(byte == LENGTH_HIGH_MAX, shown::HIGH_MAX);
                byte <= LENGTH_HIGH_MAX
            }
            4 => {
                *shown |= flag(byte < FIRST_RECORD_MIN, shown::LOW_SHORT) | flag(byte != 0, shown::LOW_SOME);
                true
            }
            5 => byte == CLIENT_HELLO,
            6 => {
                *shown |= flag(byte == 0, shown::FIRST_ZERO);
                true
            }
            7 => {
                *shown |= flag(byte == 0, shown::SECOND_ZERO);
                true
            }
            8 => {
                *shown |= flag(byte < HELLO_MIN, shown::THIRD_SHORT);
                true
            }
            10 if byte < MINOR_MIN => return Start::Ssl3,
            // A minor version that a server answers with its own highest (RFC 5246 appendix E.1).
            _ => true,
        };
        if !fits {
            return Start::Other;
        }
    }
    if shown::is_impossible(*shown) { Start::Other } else { Start::Hello }
}

#[inline(always)]
const fn flag(is_so: bool, bit: u32) -> u32 {
    if is_so { bit } else { 0 }
}

/// Whether a stream starts like a ClientHello of SSL 2.0 (RFC 6101 appendix E): a length with its top bit set, message type 1,
/// and the version 2.0 or one of SSL 3.0's successors.
#[inline(always)]
pub fn is_ssl2<F: Frame>(frame: &F, offset: u32, length: u32) -> bool {
    if length < 5 {
        return false;
    }
    let is_length = frame.u8(offset).is_some_and(|high| high & 0x80 != 0);
    is_length && matches!(frame.bytes::<3>(offset + 2), Some([1, 0, 2] | [1, MAJOR, 0..=MINOR_MAX]))
}

/// Whether a stream starts like an HTTP/1 request or reply, or the HTTP/2 preface (RFC 9112 section 3, RFC 9113 section 3.4).
#[inline(always)]
pub fn is_http<F: Frame>(frame: &F, offset: u32, length: u32) -> bool {
    if length < 3 {
        return false;
    }
    matches!(
        frame.bytes::<3>(offset).as_ref(),
        Some(
            b"GET" | b"POS" | b"PUT" | b"HEA" | b"DEL" | b"OPT" | b"PAT" | b"CON" | b"TRA" | b"PRI" | b"HTT"
        )
    )
}
