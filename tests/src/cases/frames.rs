//! Frames that many cases share.

use crate::builder::{Frame, flags, hello, ip};

/// Whom the frames come from.
pub const CLIENT: &str = "192.0.2.9";
/// Whom they are for.
pub const SERVER: &str = "198.51.100.1";
/// Whom IPv6 frames come from.
pub const CLIENT_V6: &str = "2001:db8::9";
/// Whom IPv6 frames are for.
pub const SERVER_V6: &str = "2001:db8:5::1";

/// The client's port.
pub(super) const PORT: u16 = 40_000;

/// A packet from client to server.
pub(super) fn v4() -> Frame {
    ip(CLIENT, SERVER)
}

/// The same over IPv6.
pub(super) fn v6() -> Frame {
    ip(CLIENT_V6, SERVER_V6)
}

/// A segment without data to port 443.
pub(super) fn ack() -> Frame {
    v4().tcp(PORT, 443)
}

/// A SYN to port 443.
pub(super) fn syn() -> Frame {
    ack().flags(flags::SYN).seq(1_000)
}

/// A segment with data to port 443, the first after [`syn`].
pub(super) fn data(payload: &[u8]) -> Frame {
    ack().flags(flags::ACK | flags::PSH).seq(1_001).payload(payload)
}

/// A datagram to port 53.
pub(super) fn datagram() -> Frame {
    v4().udp(PORT, 53).payload(b"a question")
}

/// An echo request.
pub(super) fn ping() -> Frame {
    v4().icmp(8, 0, [0, 1, 0, 1]).payload(&[0; 56])
}

/// An echo request over IPv6.
pub(super) fn ping_v6() -> Frame {
    v6().icmp(128, 0, [0, 1, 0, 1]).payload(&[0; 56])
}

/// A whole ClientHello.
pub(super) fn a_hello() -> Vec<u8> {
    hello::tls13("api.example.org")
}

/// A request without TLS.
pub(super) const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n";
/// What an SSH client says first.
pub(super) const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.7\r\n";
