//! A frame that watches how it is read.

use gateway_common::frame::{Frame, Offset};

/// Checks bounds as the kernel program does, by addresses, and that no answer holds a byte of outside.
#[derive(Debug)]
pub struct Watched<'a> {
    /// The frame between two fences.
    memory: Vec<u8>,
    frame: &'a [u8],
}

/// Bytes before and behind the frame.
const FENCE: usize = 64;
/// What the fences are made of.
const OUTSIDE: u8 = 0xa5;

impl<'a> Watched<'a> {
    /// Puts a frame between fences.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Self {
        let mut memory = vec![OUTSIDE; frame.len() + 2 * FENCE];
        memory[FENCE..FENCE + frame.len()].copy_from_slice(frame);
        Self { memory, frame }
    }
}

impl Frame for Watched<'_> {
    const HAS_ETHERNET: bool = true;

    fn length(&self) -> u32 {
        self.frame.len() as u32
    }

    fn masked(offset: u32) -> usize {
        offset as usize
    }

    fn copy<const N: usize>(&self, offset: u32, length: u32) -> Option<[u8; N]> {
        self.frame.copy(offset, length)
    }

    fn load<const N: usize>(&self, offset: Offset<'_>) -> Option<[u8; N]> {
        let offset = offset.get();
        let data_end = FENCE + self.frame.len();
        let start = FENCE + offset;
        if start + N > data_end {
            return None;
        }
        let read = *self.memory[start..].first_chunk().expect("fences are wider than a read");
        let inside: Option<&[u8; N]> = self.frame[offset..].first_chunk();
        assert_eq!(Some(&read), inside, "a read of {N} bytes at {offset} lies outside of the frame");
        Some(read)
    }
}
