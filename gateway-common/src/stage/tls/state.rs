//! What the TLS gate knows of a packet.

use crate::wire::{
    hello::Reader,
    tls::{PREFIX, Part},
};

/// What the gate knows of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// Its connection's first message must be read.
    pub(super) must_read: bool,
    /// The host's TCP has its connection open, and it is no earlier one of the same flow.
    pub(super) is_open: bool,
    /// The host's TCP has taken what there is to judge of it, and more comes.
    pub(super) goes_on: bool,
    /// Which stream of its connection it belongs to, if it has data.
    pub(super) stream: Stream,
    /// Its bytes of the stream's prefix, if that is in several parts or records.
    pub(super) part: Part,
    /// Length of the first record, if it ends within the prefix; else 0.
    pub(super) short_record: u32,
    /// What the lengths there have shown.
    pub(super) shown: u32,
    /// The reader of its connection's first message.
    pub(super) reader: Reader,
}

impl Gate {
    /// Begins a packet.
    #[inline(always)]
    pub(in crate::stage) fn begin(&mut self) {
        (self.must_read, self.is_open, self.goes_on) = (false, false, false);
    }

    /// Whether the connection's first message must be read.
    #[inline(always)]
    pub const fn must_read(&self) -> bool {
        self.must_read
    }

    /// Whether the host's TCP has the connection open, and it is no earlier one of the same flow.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the host's TCP has taken what there is to judge of the connection, and more comes.
    #[inline(always)]
    pub const fn goes_on(&self) -> bool {
        self.goes_on
    }
}

/// The stream that a segment with data belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Sequence number of its first byte.
    pub base: u32,
    /// How much of it the host's TCP has.
    pub received: u64,
    /// The host's TCP knows the connection, or will.
    pub is_ours: bool,
    /// The host's TCP knows it.
    pub is_open: bool,
    /// The host's TCP may speak of a stream before the last SYN, which it has not seen yet; or that SYN means nothing.
    pub is_old: bool,
}

impl Stream {
    /// Whether the host's TCP has all bytes that decide.
    #[inline(always)]
    pub const fn is_taken(&self) -> bool {
        self.received >= PREFIX as u64
    }
}
