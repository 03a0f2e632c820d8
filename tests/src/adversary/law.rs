//! What an application may read: nothing, or a stream that starts with a TLS handshake record that holds a ClientHello.
//!
//! Written from the RFCs alone, without a look at the gate: it is the gate's judge.

use anyhow::{Result, ensure};

/// So many bytes are promised to be a hello's.
const PROMISED: usize = 11;
/// RFC 8446 section 5.1: type, version, length.
const RECORD_HEADER: usize = 5;
/// The longest plaintext record.
const RECORD_MAX: usize = 1 << 14;
/// RFC 8446 section 4: type and length.
const HANDSHAKE_HEADER: usize = 4;
/// RFC 8446 section 4.1.2: version, random, and one byte, two suites' bytes, a suite, a byte and a method at least.
const HELLO_MIN: usize = 2 + 32 + 1 + 2 + 2 + 1 + 1;
/// ContentType handshake, HandshakeType client_hello.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// TLS 1.0, the lowest version that a hello may name.
const TLS_1_0: u16 = 0x0301;

/// Whether these first bytes of a stream can be those of a ClientHello; none are in order too.
///
/// # Errors
/// Where they cannot; which of them, and why.
pub fn may_be_read(bytes: &[u8]) -> Result<()> {
    let bytes = &bytes[..bytes.len().min(PROMISED)];
    let Some(length) = record(bytes)? else { return Ok(()) };
    let (first, behind) =
        (bytes.get(RECORD_HEADER..).unwrap_or_default(), bytes.get(RECORD_HEADER + length..));
    ensure!(length <= RECORD_MAX, "the record is too long");
    message(&first[..first.len().min(length)])?;
    // The second record's length counts by its upper byte.
    record(behind.unwrap_or_default())?;
    Ok(())
}

/// A record's header (RFC 8446 section 5.1): its length, if all of it is there.
fn record(bytes: &[u8]) -> Result<Option<usize>> {
    let at = |index: usize| bytes.get(index).copied();
    ensure!(at(0).is_none_or(|byte| byte == HANDSHAKE), "no handshake record");
    // Its lower byte may be any (RFC 5246 appendix E.1).
    ensure!(at(1).is_none_or(|byte| byte == 3), "the record is of no version of TLS");
    ensure!(at(3).is_none_or(|byte| usize::from(byte) <= RECORD_MAX >> 8), "the record is too long");
    let Some([high, low]) = bytes.get(3..RECORD_HEADER) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    ensure!(length != 0, "the record is empty");
    Ok(Some(length))
}

/// The handshake message, or its start.
fn message(bytes: &[u8]) -> Result<()> {
    ensure!(bytes.first().is_none_or(|kind| *kind == CLIENT_HELLO), "no ClientHello");
    if let Some([a, b, c]) = bytes.get(1..HANDSHAKE_HEADER) {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        ensure!(length >= HELLO_MIN, "a ClientHello of {length} bytes");
    }
    let version = bytes.get(HANDSHAKE_HEADER..).unwrap_or_default();
    ensure!(version.first().is_none_or(|high| *high >= 3), "a ClientHello of before TLS");
    if let Some([high, low]) = version.get(..2) {
        ensure!(u16::from_be_bytes([*high, *low]) >= TLS_1_0, "a ClientHello of SSL 3.0");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::hello;

    #[test]
    fn every_prefix_of_a_hello_may_be_read() {
        for hello in [hello::tls12("a.test"), hello::tls13("a.test")] {
            for end in 0..=hello.len() {
                may_be_read(&hello[..end]).unwrap();
            }
        }
    }

    #[test]
    fn every_cut_into_records_may_be_read() {
        let whole = hello::tls12("a.test");
        for size in 1..9 {
            let cut = hello::cut(&whole, size);
            for end in 0..=cut.len() {
                may_be_read(&cut[..end]).unwrap();
            }
        }
    }

    #[test]
    fn nothing_else_may() {
        let hello = hello::tls12("a.test");
        let wrong = [(0, 23), (1, 2), (3, 0x41), (5, 2), (9, 2), (10, 0)];
        for (index, byte) in wrong {
            let mut other = hello.clone();
            other[index] = byte;
            assert!(may_be_read(&other[..=index]).is_err(), "byte {index}");
            assert!(may_be_read(&other).is_err(), "byte {index}");
        }
        let any = [&[22, 3, 254], &hello[3..]].concat();
        assert!(may_be_read(&any).is_ok(), "any minor version of the record");
        assert!(may_be_read(&[22, 3, 1, 0, 0]).is_err());
        assert!(may_be_read(&[22, 3, 1, 0x40, 1]).is_err());
        assert!(may_be_read(&[22, 3, 1, 0, 90, 1, 0, 0, 40]).is_err());
        assert!(may_be_read(&[22, 3, 1, 0, 1, 1, b'G']).is_err());
        assert!(may_be_read(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0]).is_err());
        assert!(may_be_read(b"GET / HTTP/1.1\r\n").is_err());
    }
}
