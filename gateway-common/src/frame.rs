//! Bounds-checked reads of a frame.

use core::ops::ControlFlow;

/// Offsets above this are not read, in the kernel or on the host: it lets the verifier bound every access, and all that
/// the stages look at lies below.
pub const OFFSET_MAX: u32 = 4_096;

/// Something that is done step by step, each step small, their number known only when the frame is there.
pub trait Task {
    /// Step `index`, from 0; `Break` when it was the last.
    fn step<F: Frame>(&mut self, index: u32, frame: &F) -> ControlFlow<()>;
}

/// A received Ethernet frame.
pub trait Frame {
    /// Bytes on the wire, Ethernet header included.
    fn length(&self) -> u32;

    /// The `N` bytes at `offset`, or nothing where the frame ends before or `offset` is above [`OFFSET_MAX`].
    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// One byte.
    #[inline(always)]
    fn u8(&self, offset: u32) -> Option<u8> {
        self.bytes::<1>(offset).map(|[byte]| byte)
    }

    /// Two bytes in network order.
    #[inline(always)]
    fn be16(&self, offset: u32) -> Option<u16> {
        self.bytes(offset).map(u16::from_be_bytes)
    }

    /// Takes at most `steps` steps of a task. In the kernel this is `bpf_loop`: the verifier checks one step, however many
    /// are taken.
    #[inline(always)]
    fn take_steps<T: Task>(&self, steps: u32, task: &mut T)
    where
        Self: Sized,
    {
        for index in 0..steps {
            if task.step(index, self).is_break() {
                return;
            }
        }
    }
}

impl Frame for &[u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset > OFFSET_MAX {
            return None;
        }
        self.get(offset as usize..)?.first_chunk().copied()
    }
}
