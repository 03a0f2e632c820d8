//! The first bytes of a stream: a TLS handshake record that holds a ClientHello (RFC 8446 sections 4 and 5.1), judged
//! byte by byte, so that it does not matter how segments or records cut them.

#[cfg(test)]
mod tests;

use core::hint::black_box;

use crate::frame::Frame;

/// Bytes that decide, `16 03 xx LL LL 01 HH HH HH 03 VV`: a record header, then type, length and version of the
/// handshake message. If the first record ends earlier, the next one's header takes the place of the message's bytes
/// from there on, as in `16 03 xx 00 02 01 00 16 03 xx LL`.
pub const PREFIX: u32 = 11;

/// ContentType handshake.
pub const HANDSHAKE: u8 = 22;
/// HandshakeType client_hello.
pub const CLIENT_HELLO: u8 = 1;
/// The upper byte of every version since SSL 3.0.
pub const MAJOR: u8 = 3;
/// The lower byte of TLS 1.0's.
pub const MINOR_MIN: u8 = 1;
/// The lower byte of the highest version that was ever given out.
pub const MINOR_MAX: u8 = 4;
/// Records hold at most 2^14 bytes (RFC 8446 section 5.1).
pub const RECORD_MAX: u32 = 1 << 14;
/// Records may be cut anywhere (RFC 8446 section 5.1). A first record of so many bytes holds all of the prefix; behind
/// a shorter one the next record's header is part of the prefix.
pub const FIRST_RECORD_LONG: u8 = (PREFIX - RECORD_HEADER) as u8;
/// Place of the length in a record header, and bytes of the header.
const LENGTH: u32 = 3;
const RECORD_HEADER: u32 = 5;
/// Bytes of the next record's header, counted from the end of the prefix on.
const NEXT: u32 = PREFIX;
const NEXT_MAJOR: u32 = PREFIX + 1;
const NEXT_HIGH: u32 = PREFIX + 3;
const NEXT_LOW: u32 = PREFIX + 4;
/// Upper byte of [`RECORD_MAX`].
const LENGTH_HIGH_MAX: u8 = (RECORD_MAX >> 8) as u8;

/// Bytes of the shortest ClientHello: version, random, and the lengths of session id, cipher suites and compression
/// methods, with one suite and one method (RFC 8446 section 4.1.2).
pub const HELLO_MIN: u8 = 2 + 32 + 1 + 2 + 2 + 1 + 1;

/// What the two lengths have shown, each byte by itself: segments can cut between them, and TCP may take any copy of a
/// byte that passed. So this is kept with the connection, and must fit together.
///
/// If the first record has less than [`FIRST_RECORD_LONG`] bytes, its length is kept, and every copy must have the
/// same. It counts as short only if both bytes of its length came in order, and no copy of either was different.
pub mod shown {
    use super::{FIRST_RECORD_LONG, LENGTH_HIGH_MAX, flag};

    /// The record length's upper byte is zero.
    pub const HIGH_ZERO: u32 = 1;
    /// It is that of the longest record.
    pub const HIGH_MAX: u32 = 2;
    /// The lower byte is right only for a longer record; together with [`HIGH_ZERO`], for a short one.
    pub const LOW_SHORT: u32 = 4;
    /// The lower byte is not zero, or the upper one neither zero nor that of the longest record.
    pub const SOME: u32 = 8;
    /// The message length's first byte is zero.
    pub const FIRST_ZERO: u32 = 16;
    /// Its second byte is zero; behind a first record of one byte, the upper byte of the next one's length.
    pub const SECOND_ZERO: u32 = 32;
    /// Its third byte is right only for a longer message; behind a first record of one byte, the lower byte of the next
    /// one's length is zero.
    pub const THIRD_SHORT: u32 = 64;
    /// All of these.
    const ALL: u32 = 127;
    /// The sign of a short record.
    const SHORT: u32 = HIGH_ZERO | LOW_SHORT;

    /// Whether the first record is a short one.
    #[inline(always)]
    pub const fn is_short(shown: u32) -> bool {
        has(shown, SHORT)
    }

    /// What the upper byte of the record's length shows.
    #[inline(always)]
    pub const fn of_high(byte: u8) -> u32 {
        match byte {
            0 => HIGH_ZERO,
            LENGTH_HIGH_MAX => HIGH_MAX,
            _ => SOME,
        }
    }

    /// What the lower byte shows.
    #[inline(always)]
    pub const fn of_low(byte: u8) -> u32 {
        flag(byte < FIRST_RECORD_LONG, LOW_SHORT) | flag(byte != 0, SOME)
    }

    /// Whether nothing is known of the lengths but that the record's upper byte is zero.
    #[inline(always)]
    pub const fn may_be_short(shown: u32) -> bool {
        shown & ALL == HIGH_ZERO
    }

    /// Whether nothing is known of the lengths.
    #[inline(always)]
    pub const fn is_empty(shown: u32) -> bool {
        shown & ALL == 0
    }

    /// The sign of a short record with its length, in three bits that then say nothing else: the message length's first
    /// byte must be zero.
    #[inline(always)]
    pub const fn short(length: u32) -> u32 {
        SHORT | (length & 1) << 1 | (length & 2) << 2 | (length & 4) << 2
    }

    /// Length of the first record, where it is a short one.
    #[inline(always)]
    pub const fn length(shown: u32) -> u32 {
        shown >> 1 & 1 | shown >> 2 & 2 | shown >> 2 & 4
    }

    /// Whether no hello shows this.
    #[inline(always)]
    pub const fn is_impossible(shown: u32) -> bool {
        has(shown, SECOND_ZERO | THIRD_SHORT) && (is_short(shown) || has(shown, FIRST_ZERO))
            || !is_short(shown) && has(shown, HIGH_MAX | SOME)
    }

    const fn has(shown: u32, all: u32) -> bool {
        shown & all == all
    }
}

/// What a stream can be by its bytes from some place of its prefix on.
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

/// Judges a whole prefix: whether a stream with it starts with a ClientHello. Adds to `shown` what it sees of the
/// lengths. None if the first record is a short one, or if something else was seen before: [`Part::start`] judges that.
#[inline(always)]
pub fn start(bytes: [u8; PREFIX as usize], shown: &mut u32) -> Option<Start> {
    // The record's minor version says nothing of what is offered, and servers must take any (RFC 5246 appendix E.1).
    let [kind, major, _, high, low, message, first, second, third, hello_major, hello_minor] = bytes;
    let record = u32::from(high) << 8 | u32::from(low);
    if (high == 0 && low != 0 && low < FIRST_RECORD_LONG) || shown::is_short(*shown) {
        return None;
    }
    let is_other = kind != HANDSHAKE
        || major != MAJOR
        || record == 0
        || record > RECORD_MAX
        || message != CLIENT_HELLO
        || (first == 0 && second == 0 && third < HELLO_MIN)
        || hello_major != MAJOR;
    if is_other {
        return Some(Start::Other);
    }
    // Servers answer a higher minor version than all known ones with their own highest (RFC 5246 appendix E.1).
    if hello_minor < MINOR_MIN {
        return Some(Start::Ssl3);
    }
    let seen = shown::of_high(high)
        | shown::of_low(low)
        | flag(first == 0, shown::FIRST_ZERO)
        | flag(second == 0, shown::SECOND_ZERO)
        | flag(third < HELLO_MIN, shown::THIRD_SHORT);
    if !shown::is_empty(*shown) && seen & !*shown != 0 {
        return None;
    }
    *shown |= seen;
    Some(Start::Hello)
}

/// The bytes of a stream that a segment brings, from the prefix on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Their offset in the frame.
    pub offset: u32,
    /// How many there are.
    pub length: u32,
    /// Where they are in the stream: below [`PREFIX`]. The bytes before must have passed: the meaning of a byte depends
    /// on where the first record ends.
    pub position: u32,
}

impl Part {
    /// The byte at a place of the stream.
    #[inline(always)]
    fn byte<F: Frame>(self, frame: &F, at: u32) -> Option<u8> {
        let index = at.wrapping_sub(self.position);
        if index < self.length { frame.u8(self.offset + index) } else { None }
    }

    /// Length of the first record, if it is a short one by what was `shown` of it or by these bytes; else 0.
    #[inline(always)]
    pub fn short_record<F: Frame>(self, frame: &F, shown: u32) -> u32 {
        if shown::is_short(shown) {
            return shown::length(shown);
        }
        let is_zero = match self.byte(frame, LENGTH) {
            Some(high) => high == 0 && shown::is_empty(shown & !shown::HIGH_ZERO),
            None => shown::may_be_short(shown),
        };
        match self.byte(frame, LENGTH + 1) {
            Some(low @ 1..FIRST_RECORD_LONG) if is_zero => low.into(),
            _ => 0,
        }
    }

    /// Judges whether the bytes can belong to a stream that starts with a ClientHello, whose [`Self::short_record`] has
    /// `short` bytes. Adds to `shown` what it sees of the lengths. `hide` gives the same number, of which the verifier
    /// knows nothing.
    #[inline(always)]
    pub fn start<F: Frame>(
        self,
        frame: &F,
        short: u32,
        mut shown: &mut u32,
        hide: impl Fn(u32) -> u32,
    ) -> Start {
        // A long first record holds all of the prefix. All ones for a short one.
        let (next, mask) = if short == 0 { (PREFIX, 0) } else { (RECORD_HEADER + short, u32::MAX) };
        let (short, next, mask) = (hide(short), hide(next), hide(mask));
        *shown |= shown::short(short) & mask;
        for index in 0..PREFIX {
            let at = self.position + index;
            if index >= self.length || at >= PREFIX {
                break;
            }
            let Some(byte) = frame.u8(self.offset + index) else {
                return Start::Other;
            };
            let at = hide(at);
            // Read from memory again: else the verifier would follow the next byte once for all that this one can show.
            shown = black_box(shown);
            let fits = match hide(if at < next { at } else { PREFIX + at - next }) {
                0 | NEXT => byte == HANDSHAKE,
                1 | 9 | NEXT_MAJOR => byte == MAJOR,
                3 => {
                    *shown |= shown::of_high(byte);
                    byte <= LENGTH_HIGH_MAX && u32::from(byte) & mask == 0
                }
                4 => {
                    *shown |= shown::of_low(byte) & !mask;
                    (u32::from(byte) ^ short) & mask == 0
                }
                5 => byte == CLIENT_HELLO,
                6 => {
                    *shown |= flag(byte == 0, shown::FIRST_ZERO) & !mask;
                    u32::from(byte) & mask == 0
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
                NEXT_HIGH => {
                    *shown |= flag(byte == 0, shown::SECOND_ZERO);
                    byte <= LENGTH_HIGH_MAX
                }
                NEXT_LOW => {
                    *shown |= flag(byte == 0, shown::THIRD_SHORT);
                    true
                }
                _ => true,
            };
            if !fits {
                return Start::Other;
            }
        }
        let shown = *black_box(shown);
        let is_sign = shown::is_short(shown) && mask == 0;
        if is_sign || shown::is_impossible(shown) { Start::Other } else { Start::Hello }
    }
}

#[inline(always)]
const fn flag(is_so: bool, bit: u32) -> u32 {
    if is_so { bit } else { 0 }
}

/// Whether a stream starts like a ClientHello of SSL 2.0 (RFC 6101 appendix E): a length with its top bit set, message
/// type 1, and the version 2.0 or one of SSL 3.0's successors.
#[inline(always)]
pub fn is_ssl2<F: Frame>(frame: &F, offset: u32, length: u32) -> bool {
    if length < 5 {
        return false;
    }
    let is_length = frame.u8(offset).is_some_and(|high| high & 0x80 != 0);
    is_length && matches!(frame.bytes::<3>(offset + 2), Some([1, 0, 2] | [1, MAJOR, 0..=MINOR_MAX]))
}

/// Whether a stream starts like a request or reply of HTTP/1 (RFC 9112 section 3), or the preface of HTTP/2 (RFC 9113
/// section 3.4).
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
