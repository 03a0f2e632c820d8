//! Reads the first message of a stream piece by piece: a PROXY protocol header where one is due, then the ClientHello
//! (RFC 8446 section 4.1.2) through the records that carry it.
//!
//! The reader may be interrupted after every byte and goes on with the next segment. So its state is a few numbers,
//! which the gate keeps with the connection. It reads lengths and the wanted parts, and skips the rest.

mod field;
mod kept;
#[cfg(test)]
mod tests;

pub use field::Field;
pub use kept::WORDS;

use core::ops::ControlFlow;

use crate::{
    frame::{Frame, Task},
    hash::{Key, Running},
    wire::{
        proxy,
        tls::{HANDSHAKE, MAJOR, RECORD_MAX},
    },
};

/// Bytes of a first message that are read before it is refused: twice the largest that clients were seen to send.
pub const HELLO_MAX: u32 = 24_576;

/// Wanted parts of a first message.
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
    /// Its result so far.
    pub outcome: Outcome,
    /// Where a reader that went on from here found the message complete; 0: not yet.
    pub done: u32,
    /// The words from which it was resumed, or started.
    pub anchor: [u64; WORDS],
    /// When that was kept, as [`crate::state::partial_hellos`] counts.
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
    /// Offset in the frame of the next byte.
    cursor: u32,
    /// Offset in the frame of the segment's end.
    end: u32,
    /// The key of the hashes.
    key: Key,
}

impl Reader {
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
            // Any (RFC 5246 appendix E.1).
            2 => true,
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
            // A dot at the end only says that the name is complete; servers leave it out too.
            let is_last_dot = byte == b'.' && self.left == 1 && self.name.0 != 0;
            if !is_last_dot {
                self.name.push(self.key, byte);
            }
            if !is_last_dot && (byte == b'.' || self.parent.0 != 0) {
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
        let Some(byte) = frame.far(self.cursor) else {
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
