//! TCP options (RFC 9293 section 3.1, RFC 7323, RFC 2018): what a SYN cookie must keep of a SYN, and how a stale or
//! signed segment of a connection is recognised.

use core::ops::ControlFlow;

use crate::frame::{Frame, Task};

/// Most options that a header has room for.
pub const OPTIONS_MAX: u32 = 40;
/// Highest window scale; a higher one counts as this (RFC 7323 section 2.3).
const SCALE_MAX: u8 = 14;

/// Kinds of options.
pub mod kind {
    /// End of the list.
    pub const END: u8 = 0;
    /// Nothing; fills up.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const SCALE: u8 = 3;
    /// SACK permitted.
    pub const SACK: u8 = 4;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
    /// A signature by MD5 (RFC 2385).
    pub const MD5: u8 = 19;
    /// A signature (TCP-AO, RFC 5925).
    pub const AO: u8 = 29;
}

/// The options of a segment. Read one by one: a list that contradicts itself ends there, as in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Offset of the next option.
    position: u32,
    /// Offset of the header's end.
    end: u32,
    /// It scales windows.
    pub has_scale: bool,
    /// By how many bits.
    pub scale: u8,
    /// It takes selective acknowledgments.
    pub has_sack: bool,
    /// It sends timestamps.
    pub has_timestamps: bool,
    /// The timestamp.
    pub timestamp: u32,
    /// It is signed.
    pub is_signed: bool,
}

impl Options {
    /// Reads the options that lie between these offsets of a frame.
    #[inline(always)]
    pub fn read<F: Frame>(&mut self, frame: &F, position: u32, end: u32) {
        if !self.read_usual(frame, position, end) {
            frame.take_steps(OPTIONS_MAX, self);
        }
    }

    /// Reads them if they are those of most SYNs; whether they were.
    #[inline(always)]
    pub fn read_usual<F: Frame>(&mut self, frame: &F, position: u32, end: u32) -> bool {
        *self = Self { position, end, ..Self::default() };
        self.take_usual(frame).is_some()
    }

    /// Takes at once the options of most SYNs: the segment size, and behind it nothing, or what Linux sends. Nothing if
    /// there is something else.
    #[inline(always)]
    fn take_usual<F: Frame>(&mut self, frame: &F) -> Option<()> {
        let length = self.end.wrapping_sub(self.position);
        if length == 0 {
            return Some(());
        }
        if u16::from_be_bytes(frame.bytes(self.position)?) != 0x0204 {
            return None;
        }
        if length == 4 {
            return Some(());
        }
        // SACK permitted, timestamps, nothing, window scale.
        let rest = u128::from_be_bytes(frame.bytes(self.position + 4)?);
        let (kinds, timestamp, scale) = ((rest >> 96) as u32, (rest >> 64) as u32, rest as u32);
        if length != 20 || kinds != 0x0402_080a || scale >> 8 != 0x01_0303 {
            return None;
        }
        *self = Self {
            has_scale: true,
            scale: (scale as u8).min(SCALE_MAX),
            has_sack: true,
            has_timestamps: true,
            timestamp,
            ..*self
        };
        Some(())
    }

    /// Takes one option; nothing after the last.
    #[inline(always)]
    fn take<F: Frame>(&mut self, frame: &F) -> Option<()> {
        let at = self.position;
        let (kind, length) = option(frame, at, self.end)?;
        self.position = at + length;
        match (kind, length) {
            (kind::SCALE, 3) => {
                let scale = frame.u8(at + 2)?;
                self.has_scale = true;
                self.scale = scale.min(SCALE_MAX);
            }
            (kind::SACK, 2) => self.has_sack = true,
            (kind::TIMESTAMPS, 10) => {
                self.timestamp = u32::from_be_bytes(frame.bytes(at + 2)?);
                self.has_timestamps = true;
            }
            (kind::MD5 | kind::AO, _) => self.is_signed = true,
            _ => {}
        }
        Some(())
    }
}

/// Kind and length of the option at an offset of a frame, in a header that ends at another. Nothing behind the last
/// option, or if the list contradicts itself.
#[inline(always)]
pub(super) fn option<F: Frame>(frame: &F, at: u32, end: u32) -> Option<(u8, u32)> {
    if at >= end {
        return None;
    }
    let kind = frame.u8(at)?;
    if kind == kind::END {
        return None;
    }
    if kind == kind::NOP {
        return Some((kind, 1));
    }
    let length = u32::from(frame.u8(at + 1)?);
    if length < 2 || length > end - at { None } else { Some((kind, length)) }
}

impl Task for Options {
    #[inline(always)]
    fn step<F: Frame>(&mut self, _: u32, frame: &F) -> ControlFlow<()> {
        if self.take(frame).is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Options {
        let mut options = Options::default();
        options.read(&bytes, 0, bytes.len() as u32);
        Options { position: 0, end: 0, ..options }
    }

    #[test]
    fn what_linux_sends() {
        let bytes = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7];
        let all = Options {
            has_scale: true,
            scale: 7,
            has_sack: true,
            has_timestamps: true,
            timestamp: 258,
            ..Options::default()
        };
        assert_eq!(read(&bytes), all);
    }

    /// Reading the options of most SYNs at once changes nothing.
    #[test]
    fn what_is_usual_is_read_as_everything_else() {
        let one_by_one = |bytes: &[u8]| {
            let mut options = Options { end: bytes.len() as u32, ..Options::default() };
            bytes.take_steps(OPTIONS_MAX, &mut options);
            Options { position: 0, end: 0, ..options }
        };
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7];
        for length in 0..=linux.len() {
            assert_eq!(read(&linux[..length]), one_by_one(&linux[..length]), "{length} bytes");
        }
        for at in 0..linux.len() {
            for byte in 0..=u8::MAX {
                let mut other = linux;
                other[at] = byte;
                assert_eq!(read(&other), one_by_one(&other), "byte {at} is {byte}");
            }
        }
    }

    #[test]
    fn nothing_is_read_behind_an_end_or_a_contradiction() {
        for bytes in [
            &[][..],
            &[0, 4, 2],
            &[3],
            &[3, 0, 7, 4, 2],
            &[3, 1, 7],
            &[4, 3],
            &[8, 10, 0, 0],
            &[1, 1, 254, 255, 0],
        ] {
            assert_eq!(read(bytes), Options::default(), "{bytes:?}");
        }
        assert_eq!(read(&[3, 3, 200]).scale, SCALE_MAX);
    }
}
