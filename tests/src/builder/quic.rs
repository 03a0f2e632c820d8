//! The first header of QUIC datagrams (RFC 9000 section 17); what encryption hides is filled.

/// Version 1.
pub const V1: u32 = 1;
/// Version 2 (RFC 9369).
pub const V2: u32 = 0x6b33_43cf;

/// What is behind the headers.
const FILLING: u8 = 0x5a;

/// A client's Initial in a datagram of so many bytes.
#[must_use]
pub fn initial(version: u32, length: usize) -> Vec<u8> {
    let kind = if version == V2 { 0xd3 } else { 0xc3 };
    // No token, and a length of two bytes.
    let rest = (length - 15 - 1 - 2) as u16 | 0x4000;
    long(kind, version, &[&[0], &rest.to_be_bytes()[..]].concat(), length)
}

/// A client's Handshake packet of version 1.
#[must_use]
pub fn handshake() -> Vec<u8> {
    long(0xe3, V1, &[0x40, 100], 117)
}

/// A client's 0-RTT packet of version 1.
#[must_use]
pub fn early() -> Vec<u8> {
    long(0xd3, V1, &[0x40, 100], 117)
}

/// A packet with a short header.
#[must_use]
pub fn short(length: usize) -> Vec<u8> {
    let mut datagram = vec![0x43];
    datagram.resize(length, FILLING);
    datagram
}

/// A long header with a connection ID of eight bytes for the server, then `rest`.
#[must_use]
pub fn long(first: u8, version: u32, rest: &[u8], length: usize) -> Vec<u8> {
    let mut datagram = vec![first];
    datagram.extend(version.to_be_bytes());
    datagram.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    datagram.extend(rest);
    datagram.resize(length, FILLING);
    datagram
}
