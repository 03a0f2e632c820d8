//! Reads the first message of a stream piece by piece: a PROXY protocol header where one is due, then the ClientHello
//! (RFC 8446 section 4.1.2) through the records that carry it.
//!
//! The reader may be interrupted after every byte and goes on with the next segment; so what it knows is a few numbers, which
//! the gate keeps with the connection. It reads lengths and what it was asked for, and skips the rest.

#[cfg(test)]
mod tests;

use core::{hint::black_box, ops::ControlFlow};

use crate::{
    frame::{Frame, Task},
    hash::{Key, Running},
    wire::{
        proxy,
        tls::{CLIENT_HELLO, HANDSHAKE, HELLO_MIN, MAJOR, MINOR_MAX, MINOR_MIN, RECORD_MAX},
    },
};

/// Bytes of a first message that are read before it is refused: twice the largest that clients were seen to send.
pub const HELLO_MAX: u32 = 24_576;

/// Highest lower byte that a version without `supported_versions` can mean: TLS 1.2 (RFC 8446 section 4.2.1).
const LEGACY_MINOR_MAX: u8 = 3;
/// The upper byte of TLS 1.3's drafts (draft-ietf-tls-tls13-28 section 4.2.1.1).
const DRAFT_MAJOR: u8 = 0x7f;
/// Extension server_name (RFC 6066 section 3).
const SERVER_NAME: u32 = 0;
/// NameType host_name.
const HOST_NAME: u32 = 0;
/// Extension supported_versions (RFC 8446 section 4.2.1).
const SUPPORTED_VERSIONS: u32 = 43;
/// Bytes of the random.
const RANDOM: u32 = 32;
/// Longest session id.
const SESSION_MAX: u32 = 32;

/// What is wanted of a first message.
pub mod want {
    /// A PROXY protocol header before it.
    pub const PROXY: u8 = 1;
    /// The highest version that it offers.
    pub const VERSION: u8 = 2;
    /// The server's name.
    pub const NAME: u8 = 4;
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// More bytes are needed.
    #[default]
    Incomplete,
    /// All that was wanted is known.
    Complete,
    /// No PROXY protocol header where one is due.
    NoProxy,
    /// The PROXY protocol header is not well-formed.
    BadProxy,
    /// No ClientHello in handshake records.
    NoHello,
    /// The ClientHello contradicts itself.
    BadHello,
}

/// What the next field is. The order is that of the stream; what comes before [`Field::Type`] lies outside of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// A PROXY protocol header.
    #[default]
    Proxy,
    /// HandshakeType.
    Type,
    /// Length of the handshake message.
    Length,
    /// client_version or legacy_version.
    Version,
    /// Length of the session id.
    Session,
    /// Length of the cipher suites.
    Ciphers,
    /// Length of the compression methods.
    Compression,
    /// Length of all extensions.
    Extensions,
    /// Type of an extension.
    ExtensionType,
    /// Length of an extension that is skipped.
    Other,
    /// Length of extension server_name.
    NameLength,
    /// Length of its list.
    NameList,
    /// NameType.
    NameType,
    /// Length of the name.
    NameSize,
    /// The name.
    Name,
    /// Length of extension supported_versions.
    VersionsLength,
    /// Length of its list.
    VersionsList,
    /// One supported version.
    Supported,
}

impl Field {
    const ALL: [Self; 18] = [
        Self::Proxy,
        Self::Type,
        Self::Length,
        Self::Version,
        Self::Session,
        Self::Ciphers,
        Self::Compression,
        Self::Extensions,
        Self::ExtensionType,
        Self::Other,
        Self::NameLength,
        Self::NameList,
        Self::NameType,
        Self::NameSize,
        Self::Name,
        Self::VersionsLength,
        Self::VersionsList,
        Self::Supported,
    ];

    /// Whether it lies inside an extension.
    const fn is_inside(self) -> bool {
        matches!(
            self,
            Self::NameList
                | Self::NameType
                | Self::NameSize
                | Self::Name
                | Self::VersionsList
                | Self::Supported
        )
    }
}

/// Words that a reader is kept as.
pub const WORDS: usize = 6;

/// Where the parts of a word lie whose lowest 16 bits are [`Reader::skip`]; a message's length has 24 bits, and no message is
/// six times as long as [`HELLO_MAX`], a record a byte.
const DONE: u32 = 16;
const DONE_MASK: u64 = 0xff_ffff;
const MESSAGE: u32 = 40;

/// A reader: what it has found out, and where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    /// Hash of the server's name.
    pub name: Running,
    /// Hash of the server's name from its first dot on; 0 without a dot.
    pub parent: Running,
    /// Bytes of the stream that were read.
    pub position: u32,
    /// Bits of [`want`] that are not yet answered.
    pub wants: u8,
    /// Lower byte of the highest version that is offered.
    pub minor: u8,
    /// What it has come to.
    pub outcome: Outcome,
    /// Where the message was found to be complete by somebody who read on from here; 0: not yet.
    pub done: u32,
    /// As which words it was resumed, or started.
    pub anchor: [u64; WORDS],
    /// When that was kept, as [`crate::opening`] counts.
    pub seen: u32,
    /// What the next byte belongs to.
    field: Field,
    /// Bytes of the record header that were read.
    header: u8,
    /// Upper byte of the record's length.
    length_high: u8,
    /// State of the PROXY header.
    proxy: proxy::Header,
    /// Bytes of the field still to come.
    left: u16,
    /// Bytes of the record still to come.
    record: u16,
    /// Bytes of the extension still to come.
    extension: u16,
    /// The number that is being read, so far.
    value: u32,
    /// Bytes that mean nothing to the gate, still to come.
    skip: u32,
    /// Bytes of the handshake message still to come.
    message: u32,
    /// Where in the frame the next byte is.
    cursor: u32,
    /// Where in the frame the segment ends.
    end: u32,
    /// The key of the hashes.
    key: Key,
}

impl Reader {
    /// A reader at the start of a stream. `wants` are bits of [`want`].
    #[inline(always)]
    pub fn start(&mut self, wants: u8) {
        self.restart(wants, 0);
        self.anchor = self.to_words();
    }

    /// The same of a message that is known to end at `done`. What it was resumed as stays.
    #[inline(always)]
    pub fn restart(&mut self, wants: u8, done: u32) {
        // Hidden, or LLVM clears them in a loop, which the verifier goes through for every way that leads here.
        self.take([black_box(0); WORDS]);
        self.wants = wants;
        self.done = done;
        if wants & want::PROXY == 0 {
            self.expect(Field::Type, 1);
        }
    }

    /// Whether it has come to where it was resumed before.
    #[inline(always)]
    pub fn is_back(&self) -> bool {
        let differs = |index: usize| self.to_words()[index] ^ self.anchor[index];
        let all = differs(0) | differs(1) | differs(2) | differs(3) | differs(4) | differs(5);
        self.outcome == Outcome::Incomplete && all == 0
    }

    /// The words to keep of a message that is complete here: whoever reads it again goes on from where this one was resumed.
    #[inline(always)]
    pub fn anchored(&self) -> [u64; WORDS] {
        let [name, parent, position, skip, fields, rest] = self.anchor;
        [
            name,
            parent,
            position,
            skip & !(DONE_MASK << DONE) | (self.position as u64 & DONE_MASK) << DONE,
            fields,
            rest,
        ]
    }

    /// Turns to the `length` bytes at `offset` of a frame.
    #[inline(always)]
    pub fn turn_to(&mut self, offset: u32, length: u32, key: Key) {
        self.cursor = offset;
        self.end = offset.wrapping_add(length);
        self.key = key;
    }

    /// Reads them.
    #[inline(always)]
    pub fn read<F: Frame>(&mut self, frame: &F) {
        // A step takes a byte at least; one more finds out that the message was at its end.
        frame.take_steps(self.end.wrapping_sub(self.cursor).wrapping_add(1), self);
    }

    /// As words, to be kept.
    #[inline(always)]
    pub const fn to_words(&self) -> [u64; WORDS] {
        [
            self.name.0,
            self.parent.0,
            self.position as u64 | (self.value as u64) << 32,
            self.skip as u64 & 0xffff
                | (self.done as u64 & DONE_MASK) << DONE
                | (self.message as u64) << MESSAGE,
            self.record as u64
                | (self.left as u64) << 16
                | (self.extension as u64) << 32
                | (self.field as u64) << 48
                | (self.header as u64) << 56,
            self.wants as u64
                | (self.minor as u64) << 8
                | (self.length_high as u64) << 16
                | (self.proxy.to_word() as u64) << 32,
        ]
    }

    /// From [`Self::to_words`].
    #[inline(always)]
    pub fn resume(&mut self, words: [u64; WORDS]) {
        self.anchor = words;
        self.take(words);
    }

    #[inline(always)]
    fn take(&mut self, words: [u64; WORDS]) {
        let [name, parent, position, skip, fields, rest] = words;
        let field = Field::ALL.get((fields >> 48) as usize & 0xff).copied().unwrap_or_default();
        (self.name, self.parent) = (Running(name), Running(parent));
        (self.position, self.value) = (position as u32, (position >> 32) as u32);
        (self.skip, self.message) = (skip as u32 & 0xffff, (skip >> MESSAGE) as u32);
        self.done = (skip >> DONE & DONE_MASK) as u32;
        (self.record, self.left) = (fields as u16, (fields >> 16) as u16);
        (self.extension, self.field) = ((fields >> 32) as u16, field);
        self.header = (fields >> 56) as u8;
        (self.wants, self.minor) = (rest as u8, (rest >> 8) as u8);
        self.length_high = (rest >> 16) as u8;
        self.proxy = proxy::Header::from_word((rest >> 32) as u32);
        self.outcome = Outcome::Incomplete;
    }

    #[inline(always)]
    fn expect(&mut self, field: Field, bytes: u16) {
        self.field = field;
        self.left = bytes;
    }

    #[inline(always)]
    fn end_as(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    #[inline(always)]
    fn advance(&mut self, bytes: u32) {
        self.cursor = self.cursor.wrapping_add(bytes);
        self.position = self.position.wrapping_add(bytes);
    }

    /// Steps over bytes that mean nothing to the gate.
    #[inline(always)]
    fn pass_over(&mut self) {
        let in_record = self.field > Field::Proxy;
        let mut bytes = min(self.skip, self.end.wrapping_sub(self.cursor));
        if in_record {
            bytes = min(bytes, u32::from(self.record));
            self.record = self.record.wrapping_sub(bytes as u16);
            self.message = self.message.wrapping_sub(bytes);
        }
        self.skip = self.skip.wrapping_sub(bytes);
        self.advance(bytes);
        if !in_record && self.skip == 0 {
            self.expect(Field::Type, 1);
        }
    }

    #[inline(always)]
    fn proxy_byte(&mut self, position: u32, byte: u8) {
        match self.proxy.byte(position, byte) {
            proxy::Answer::Incomplete => {}
            proxy::Answer::Complete => self.expect(Field::Type, 1),
            proxy::Answer::Skip(bytes) => self.skip = u32::from(bytes),
            proxy::Answer::None => self.end_as(Outcome::NoProxy),
            proxy::Answer::Malformed => self.end_as(Outcome::BadProxy),
        }
    }

    /// A byte of a record header (RFC 8446 section 5.1).
    #[inline(always)]
    fn header_byte(&mut self, byte: u8) {
        let fits = match self.header {
            0 => byte == HANDSHAKE,
            1 => byte == MAJOR,
            2 => byte <= MINOR_MAX,
            3 => {
                self.length_high = byte;
                u32::from(byte) <= RECORD_MAX >> 8
            }
            _ => {
                self.record = u16::from_be_bytes([self.length_high, byte]);
                self.record != 0 && u32::from(self.record) <= RECORD_MAX
            }
        };
        self.header = if self.header < 4 { self.header + 1 } else { 0 };
        if !fits {
            self.end_as(Outcome::NoHello);
        }
    }

    /// A byte of the handshake message.
    #[inline(always)]
    fn message_byte(&mut self, byte: u8) {
        self.record = self.record.wrapping_sub(1);
        if self.field > Field::Length {
            if self.message == 0 {
                return self.end_as(Outcome::BadHello);
            }
            self.message -= 1;
        }
        if self.field.is_inside() {
            if self.extension == 0 {
                return self.end_as(Outcome::BadHello);
            }
            self.extension -= 1;
        }
        if self.field == Field::Name {
            let byte = byte.to_ascii_lowercase();
            self.name.push(self.key, byte);
            if byte == b'.' || self.parent.0 != 0 {
                self.parent.push(self.key, byte);
            }
        } else {
            self.value = self.value << 8 | u32::from(byte);
        }
        self.left = self.left.wrapping_sub(1);
        if self.field == Field::Version && self.left == 1 && byte != MAJOR {
            return self.end_as(Outcome::NoHello);
        }
        if self.left == 0 {
            let value = self.value;
            self.value = 0;
            self.field_read(value);
        }
    }

    /// What follows a field that was read whole.
    #[inline(always)]
    fn field_read(&mut self, value: u32) {
        let fits = match self.field {
            Field::Proxy => true,
            Field::Type => {
                self.expect(Field::Length, 3);
                if value != u32::from(CLIENT_HELLO) {
                    self.end_as(Outcome::NoHello);
                }
                true
            }
            Field::Length => {
                self.message = value;
                self.expect(Field::Version, 2);
                (u32::from(HELLO_MIN)..=HELLO_MAX).contains(&value)
            }
            Field::Version => return self.version(value),
            Field::Session => self.skipping(value, Field::Ciphers, 2) && value <= SESSION_MAX,
            Field::Ciphers => {
                self.skipping(value, Field::Compression, 1) && value >= 2 && value.is_multiple_of(2)
            }
            Field::Compression => self.skipping(value, Field::Extensions, 2) && value >= 1,
            Field::Extensions => {
                self.expect(Field::ExtensionType, 2);
                value == self.message
            }
            Field::ExtensionType => {
                let field = match value {
                    SERVER_NAME if self.wants & want::NAME != 0 => Field::NameLength,
                    SUPPORTED_VERSIONS if self.wants & want::VERSION != 0 => Field::VersionsLength,
                    _ => Field::Other,
                };
                self.expect(field, 2);
                true
            }
            Field::Other => self.skipping(value, Field::ExtensionType, 2),
            _ => self.extension_field(value),
        };
        if !fits {
            self.end_as(Outcome::BadHello);
        }
    }

    /// Bytes to skip, and what comes behind them.
    #[inline(always)]
    fn skipping(&mut self, bytes: u32, then: Field, size: u16) -> bool {
        self.skip = bytes;
        self.expect(then, size);
        bytes <= self.message
    }

    #[inline(always)]
    fn version(&mut self, value: u32) {
        let minor = value as u8;
        self.minor = if minor > LEGACY_MINOR_MAX { LEGACY_MINOR_MAX } else { minor };
        // SSL 3.0 is refused by its version, whatever else is wanted.
        if self.is_answered() || minor < MINOR_MIN {
            return self.end_as(Outcome::Complete);
        }
        self.skip = RANDOM;
        self.expect(Field::Session, 1);
    }

    #[inline(always)]
    const fn is_answered(&self) -> bool {
        self.wants & (want::VERSION | want::NAME) == 0
    }

    /// A field of server_name or of supported_versions.
    #[inline(always)]
    fn extension_field(&mut self, value: u32) -> bool {
        let rest = u32::from(self.extension);
        match self.field {
            Field::NameLength | Field::VersionsLength => {
                self.extension = value as u16;
                if self.field == Field::NameLength {
                    self.expect(Field::NameList, 2);
                } else {
                    self.expect(Field::VersionsList, 1);
                }
                value <= self.message
            }
            Field::NameList => {
                self.expect(Field::NameType, 1);
                value == rest
            }
            Field::NameType => {
                self.expect(Field::NameSize, 2);
                value == HOST_NAME
            }
            Field::NameSize => {
                self.expect(Field::Name, value as u16);
                value != 0 && value <= rest
            }
            Field::Name => {
                self.answer(want::NAME);
                self.skipping(rest, Field::ExtensionType, 2)
            }
            Field::VersionsList => {
                self.minor = 0;
                self.expect(Field::Supported, 2);
                value == rest && value >= 2 && value.is_multiple_of(2)
            }
            _ => {
                self.supported(value);
                true
            }
        }
    }

    /// A version of supported_versions; GREASE (RFC 8701) and what nobody knows are none.
    #[inline(always)]
    fn supported(&mut self, value: u32) {
        let [_, _, major, minor] = value.to_be_bytes();
        let minor = match major {
            MAJOR if minor <= MINOR_MAX => minor,
            DRAFT_MAJOR => MINOR_MAX,
            _ => 0,
        };
        if minor > self.minor {
            self.minor = minor;
        }
        if self.extension == 0 {
            self.answer(want::VERSION);
            self.expect(Field::ExtensionType, 2);
        } else {
            self.expect(Field::Supported, 2);
        }
    }

    #[inline(always)]
    fn answer(&mut self, wanted: u8) {
        self.wants &= !wanted;
        if self.is_answered() {
            self.end_as(Outcome::Complete);
        }
    }

    /// Whether the message ended before an extension, or before the list of them.
    #[inline(always)]
    fn is_at_end(&self) -> bool {
        let between = matches!(self.field, Field::Extensions | Field::ExtensionType) && self.left == 2;
        between && self.skip == 0 && self.message == 0
    }
}

impl Task for Reader {
    #[inline(always)]
    fn step<F: Frame>(&mut self, _: u32, frame: &F) -> ControlFlow<()> {
        if self.is_at_end() {
            self.end_as(Outcome::Complete);
        }
        if self.outcome != Outcome::Incomplete || self.cursor >= self.end {
            return ControlFlow::Break(());
        }
        let is_header = self.field > Field::Proxy && self.record == 0;
        if self.skip > 0 && !is_header {
            self.pass_over();
            return ControlFlow::Continue(());
        }
        let Some(byte) = frame.u8(self.cursor) else {
            self.end_as(Outcome::BadHello);
            return ControlFlow::Break(());
        };
        let position = self.position;
        self.advance(1);
        if self.field == Field::Proxy {
            self.proxy_byte(position, byte);
        } else if is_header {
            self.header_byte(byte);
        } else {
            self.message_byte(byte);
        }
        ControlFlow::Continue(())
    }
}

#[inline(always)]
const fn min(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
}
