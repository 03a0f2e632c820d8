//! Options of Multipath TCP (RFC 8684) that begin a connection or join one.
//!
//! The server's application would read such a connection by data sequence numbers, which an option of any segment can
//! set, and not by TCP's. If the option is neither in the client's SYN nor with a SYN cookie, both sides fall back to
//! TCP (section 3.7).

use core::ops::ControlFlow;

use super::options::{OPTIONS_MAX, option};
use crate::frame::{Frame, Task};

/// The option's kind; and for the subtypes MP_CAPABLE and MP_JOIN the highest byte behind kind and length, whose upper
/// half is the subtype.
const MULTIPATH: u8 = 30;
const JOIN_MAX: u8 = 0x1f;
/// A kind that nobody has (IANA: unassigned). What is taken from the kind is added to the byte two behind it, so no sum
/// of 16-bit words changes: neither a TCP checksum nor one that is not finished yet.
const NOBODYS: u8 = 25;

/// A search for such options, step by step: an option each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Offset of the next option.
    position: u32,
    /// Offset of the header's end.
    end: u32,
    /// Offset of the option that was found; 0: none was.
    found: u32,
    /// The byte behind its length.
    subtype: u8,
}

/// A change of a byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its offset.
    pub at: u32,
    /// Its new value.
    pub byte: u8,
}

impl Search {
    /// Searches the options between two offsets of a frame.
    #[inline(always)]
    pub const fn new(position: u32, end: u32) -> Self {
        Self { position, end, found: 0, subtype: 0 }
    }

    /// The changes that make the next of these options an unknown one, if there is one.
    #[inline(always)]
    pub fn next<F: Frame>(&mut self, frame: &F) -> Option<[Change; 2]> {
        self.found = 0;
        frame.take_steps(OPTIONS_MAX, self);
        if self.found == 0 {
            return None;
        }
        Some([
            Change { at: self.found, byte: NOBODYS },
            Change { at: self.found + 2, byte: self.subtype.wrapping_add(MULTIPATH - NOBODYS) },
        ])
    }
}

impl Task for Search {
    #[inline(always)]
    fn step<F: Frame>(&mut self, _: u32, frame: &F) -> ControlFlow<()> {
        let at = self.position;
        // As in the kernel, a list that contradicts itself ends there (`mptcp_get_options` in net/mptcp/options.c).
        let Some((kind, length)) = option(frame, at, self.end) else { return ControlFlow::Break(()) };
        self.position = at + length;
        if kind == MULTIPATH
            && length > 2
            && let Some(subtype) = frame.u8(at + 2).filter(|subtype| *subtype <= JOIN_MAX)
        {
            (self.found, self.subtype) = (at, subtype);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// The options after all changes, a byte before them so that no offset is 0; and their number.
    fn changed(options: &[u8]) -> (Vec<u8>, usize) {
        let mut bytes = [&[0], options].concat();
        let mut search = Search::new(1, bytes.len() as u32);
        let mut times = 0;
        while let Some(changes) = search.next(&bytes.as_slice()) {
            times += 1;
            for Change { at, byte } in changes {
                bytes[at as usize] = byte;
            }
        }
        (bytes[1..].to_vec(), times)
    }

    fn sum(bytes: &[u8]) -> u32 {
        let words =
            bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
        words.fold(0, |sum, word| ((sum + word) & 0xffff) + ((sum + word) >> 16))
    }

    #[test]
    fn what_opens_or_joins_becomes_nobodys_and_no_sum_changes() {
        let capable = [30, 4, 0x01, 0x01];
        let join = [30, 12, 0x10, 7, 1, 2, 3, 4, 5, 6, 7, 8];
        for (options, wanted) in [
            ([&[2, 4, 5, 180][..], &capable].concat(), 1),
            ([&[1][..], &capable, &[0]].concat(), 1),
            ([&capable[..], &join].concat(), 2),
            (join.to_vec(), 1),
            // A version that Linux does not speak, and a key.
            ([&[30, 12, 0x00, 0x81][..], &[9; 8]].concat(), 1),
        ] {
            let (after, times) = changed(&options);
            assert_eq!((times, after.len()), (wanted, options.len()), "{options:?}");
            assert_eq!(sum(&after), sum(&options), "{options:?}");
            assert_eq!(changed(&after).1, 0, "{options:?}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for options in [
            &[][..],
            &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
            // DSS, ADD_ADDR and a reset.
            &[30, 4, 0x20, 0x05],
            &[30, 8, 0x30, 1, 2, 3, 4, 5],
            &[30, 4, 0x80, 0],
            // In the data of another option, behind the end, cut, of no length, longer than the header.
            &[254, 6, 30, 4, 0x01, 0x01],
            &[0, 30, 4, 0x01, 0x01],
            &[30],
            &[30, 2],
            &[30, 0, 0x01, 0x01],
            &[30, 5, 0x01, 0x01],
        ] {
            assert_eq!(changed(options), (options.to_vec(), 0), "{options:?}");
        }
    }
}
