//! The first bytes of a stream: a TLS handshake record that holds a ClientHello (RFC 8446 sections 4 and 5.1), judged byte
//! by byte, so that it does not matter how segments cut them.

#[cfg(test)]
mod tests;

use crate::frame::Frame;

/// Bytes that decide: `16 03 xx LL LL 01`.
pub const PREFIX: u32 = 6;

/// ContentType handshake.
const HANDSHAKE: u8 = 22;
/// HandshakeType client_hello.
const CLIENT_HELLO: u8 = 1;
/// The record version's first byte; it has not changed since SSL 3.0.
const MAJOR: u8 = 3;
/// Its second byte says nothing of what is offered (RFC 8446 section 5.1); 4 is the highest that was ever given out.
const MINOR_MAX: u8 = 4;
/// Records hold at most 2^14 bytes (RFC 8446 section 5.1).
const LENGTH_HIGH_MAX: u8 = 0x40;

/// Whether the bytes of a stream that start at `position` (below [`PREFIX`]), `length` of them at `offset` of the frame, can
/// belong to a stream that starts with a ClientHello.
#[inline(always)]
pub fn may_be_hello<F: Frame>(frame: &F, offset: u32, length: u32, position: u32) -> bool {
    // The length's upper byte; where it lies in another segment its lower byte can be anything.
    let mut high = 1;
    for index in 0..PREFIX {
        let at = position + index;
        if index >= length || at >= PREFIX {
            return true;
        }
        let Some(byte) = frame.u8(offset + index) else {
            return false;
        };
        let fits = match at {
            0 => byte == HANDSHAKE,
            1 => byte == MAJOR,
            2 => byte <= MINOR_MAX,
            3 => {
                high = byte;
                byte <= LENGTH_HIGH_MAX
            }
            // No empty record, and none above the highest length.
            4 => (high != 0 || byte != 0) && (high != LENGTH_HIGH_MAX || byte == 0),
            _ => byte == CLIENT_HELLO,
        };
        if !fits {
            return false;
        }
    }
    true
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
