//! The PROXY protocol's header, versions 1 and 2 (the HAProxy project's proxy-protocol.txt, revision 2020/03/05), byte
//! by byte.
//!
//! Only its end matters, since the ClientHello starts there; the addresses in it are the server's business.

/// Longest header that is let through. Version 1 has at most 107 bytes by its section 2.1; of version 2 this leaves
/// 3.8 KiB for TLVs, room for a client's certificate.
pub const PROXY_MAX: u32 = 4_096;

/// Longest line of version 1, with its end.
const LINE_MAX: u32 = 107;
/// The start of version 1.
const LINE_START: &[u8; 6] = b"PROXY ";
/// What version 1 calls TCP over IPv4 or IPv6, but for the last digit; and everything else.
const TCP: &[u8; 3] = b"TCP";
const UNKNOWN: &[u8; 7] = b"UNKNOWN";
/// The start of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before its addresses.
const FIXED: u32 = 16;
/// Version 2 with command LOCAL, and with PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Which header it is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    #[default]
    Start,
    Line,
    LineTcp,
    LineUnknown,
    LineEnd,
    Local,
    Proxy,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Start, Self::Line, Self::LineTcp, Self::LineUnknown, Self::LineEnd, Self::Local, Self::Proxy];
}

/// What a byte makes of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More bytes are needed.
    Incomplete,
    /// The header ended with this byte.
    Complete,
    /// The header ends behind so many bytes more.
    Skip(u16),
    /// This is no header.
    None,
    /// It starts like one, and is wrong.
    Malformed,
}

/// How far a header was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    kind: Kind,
    /// Bytes of addresses that version 2 has at least.
    addresses: u8,
    /// Upper byte of version 2's length.
    length_high: u8,
}

impl Header {
    /// As a number, to be kept.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        self.kind as u32 | (self.addresses as u32) << 8 | (self.length_high as u32) << 16
    }

    /// From [`Self::to_word`].
    #[inline(always)]
    pub fn from_word(word: u32) -> Self {
        let kind = Kind::ALL.get(word as usize & 0xff).copied().unwrap_or_default();
        Self { kind, addresses: (word >> 8) as u8, length_high: (word >> 16) as u8 }
    }

    /// The next byte; `position` counts from the header's first.
    #[inline(always)]
    pub fn byte(&mut self, position: u32, byte: u8) -> Answer {
        match self.kind {
            Kind::Start => self.first(position, byte),
            Kind::Line => self.family(byte),
            Kind::LineTcp | Kind::LineUnknown => self.line(position, byte),
            Kind::LineEnd if byte == b'\n' => Answer::Complete,
            Kind::LineEnd => Answer::Malformed,
            Kind::Local | Kind::Proxy => self.fixed(position, byte),
        }
    }

    /// The bytes that tell the versions apart.
    #[inline(always)]
    fn first(&mut self, position: u32, byte: u8) -> Answer {
        let is = |text: &[u8]| text.get(position as usize).copied() == Some(byte);
        // After the first byte only one of both can be meant; `addresses` notes which.
        if is(LINE_START) && (position == 0 || self.addresses == 1) {
            self.addresses = 1;
            if position + 1 == LINE_START.len() as u32 {
                self.kind = Kind::Line;
            }
            return Answer::Incomplete;
        }
        if is(SIGNATURE) && (position == 0 || self.addresses == 2) {
            self.addresses = 2;
            return Answer::Incomplete;
        }
        if position != SIGNATURE.len() as u32 {
            return Answer::None;
        }
        self.kind = match byte {
            LOCAL => Kind::Local,
            PROXY => Kind::Proxy,
            _ => return Answer::Malformed,
        };
        Answer::Incomplete
    }

    /// The family of version 1.
    #[inline(always)]
    fn family(&mut self, byte: u8) -> Answer {
        self.kind = match byte {
            b'T' => Kind::LineTcp,
            b'U' => Kind::LineUnknown,
            _ => return Answer::Malformed,
        };
        Answer::Incomplete
    }

    /// The rest of version 1's line.
    #[inline(always)]
    fn line(&mut self, position: u32, byte: u8) -> Answer {
        let at = position.wrapping_sub(LINE_START.len() as u32) as usize;
        let fits = match self.kind {
            Kind::LineTcp => match at {
                0..3 => TCP.get(at).copied() == Some(byte),
                3 => byte == b'4' || byte == b'6',
                4 => byte == b' ',
                _ => byte.is_ascii_hexdigit() || matches!(byte, b' ' | b'.' | b':' | b'\r'),
            },
            _ => match UNKNOWN.get(at) {
                Some(&expected) => byte == expected,
                // Whatever follows UNKNOWN is to be ignored.
                None => byte == b'\r' || (b' '..0x7f).contains(&byte),
            },
        };
        if byte == b'\r' {
            self.kind = Kind::LineEnd;
        }
        // One byte more must fit behind this one.
        if fits && position + 1 < LINE_MAX { Answer::Incomplete } else { Answer::Malformed }
    }

    /// Version 2 behind its command: family and protocol, then the length of what follows.
    #[inline(always)]
    fn fixed(&mut self, position: u32, byte: u8) -> Answer {
        match position.wrapping_sub(SIGNATURE.len() as u32) {
            1 => {
                // Of LOCAL the receiver ignores the rest.
                self.addresses = match (self.kind, byte) {
                    (Kind::Local, _) | (_, 0x00) => 0,
                    (_, 0x11 | 0x12) => 12,
                    (_, 0x21 | 0x22) => 36,
                    (_, 0x31 | 0x32) => 216,
                    _ => return Answer::Malformed,
                };
                Answer::Incomplete
            }
            2 => {
                self.length_high = byte;
                Answer::Incomplete
            }
            _ => {
                let length = u16::from_be_bytes([self.length_high, byte]);
                if length < u16::from(self.addresses) || u32::from(length) > PROXY_MAX - FIXED {
                    Answer::Malformed
                } else if length == 0 {
                    Answer::Complete
                } else {
                    Answer::Skip(length)
                }
            }
        }
    }
}
