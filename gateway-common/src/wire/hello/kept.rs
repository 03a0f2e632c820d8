//! What is kept of a reader between segments.

use core::hint::black_box;

use super::{Field, Outcome, Reader, want};
use crate::{hash::Running, wire::proxy};

/// Words that a reader is kept as.
pub const WORDS: usize = 6;

/// Where the parts of a word lie whose lowest 16 bits are [`Reader::skip`]. A message's length has 24 bits. So has the
/// place of its end: a record for each byte makes a stream about six times as long as [`super::HELLO_MAX`] at most.
const DONE: u32 = 16;
const DONE_MASK: u64 = 0xff_ffff;
const MESSAGE: u32 = 40;

impl Reader {
    /// A reader at the start of a stream. `wants` are bits of [`want`].
    #[inline(always)]
    pub fn start(&mut self, wants: u8) {
        self.restart(wants, 0);
        self.anchor = self.to_words();
    }

    /// The same for a message that is known to end at `done`. The words that it was resumed from stay.
    #[inline(always)]
    pub fn restart(&mut self, wants: u8, done: u32) {
        // Hidden, or LLVM clears them in a loop, which the verifier follows once for every path that leads here.
        self.take([black_box(0); WORDS]);
        self.wants = wants;
        self.done = done;
        if wants & want::PROXY == 0 {
            self.expect(Field::Type, 1);
        }
    }

    /// Whether it has come back to the state that it was resumed in.
    #[inline(always)]
    pub fn is_back(&self) -> bool {
        let differs = |index: usize| self.to_words()[index] ^ self.anchor[index];
        let all = differs(0) | differs(1) | differs(2) | differs(3) | differs(4) | differs(5);
        self.outcome == Outcome::Incomplete && all == 0
    }

    /// The words to keep of a message that is complete here: a next reader goes on from where this one was resumed.
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
}
