//! Bounds-checked reads of a frame.

use core::{marker::PhantomData, ops::ControlFlow};

/// No bytes above this offset are loaded, in the kernel or on the host, so that the verifier can bound every access.
/// Only [`Frame::copy`] reads beyond.
pub const OFFSET_MAX: u32 = 4_096;
/// The mask of an offset: all offsets up to [`OFFSET_MAX`] stay as they are.
pub const OFFSET_MASK: u32 = 2 * OFFSET_MAX - 1;
const _: () = assert!(OFFSET_MAX.is_power_of_two());

/// An offset in a frame, bounded where it is used: only [`Frame::at`] makes one, and memory is read at nothing else.
///
/// The stages keep offsets as plain numbers in memory, of which the kernel's verifier knows nothing. A comparison with
/// a limit does not bound such a number: the compiler may compare one register and use another, which it has spilled to
/// the stack before, and verifiers before Linux 6.18 do not know that both hold one number. So a number becomes an
/// offset right before it is used, by a mask that the compiler can neither move nor remove.
///
/// ```compile_fail,E0308
/// use gateway_common::frame::Frame;
/// let (frame, payload): (&[u8], u32) = (&[0; 64], 42);
/// frame.load::<4>(payload);
/// ```
///
/// An offset borrows its frame and has no default value, so no record keeps it for later:
///
/// ```compile_fail,E0277
/// # use gateway_common::frame::Offset;
/// #[derive(Default)]
/// struct Packet {
///     payload: Offset<'static>,
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Offset<'frame> {
    value: usize,
    frame: PhantomData<&'frame ()>,
}

impl Offset<'_> {
    /// The number, at most [`OFFSET_MASK`].
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.value
    }
}

/// A task of small steps, whose number is known only when the frame is there.
pub trait Task {
    /// Step `index`, from 0; `Break` when it was the last.
    fn step<F: Frame>(&mut self, index: u32, frame: &F) -> ControlFlow<()>;
}

/// A received frame: of Ethernet, or of a device that has IP packets alone.
pub trait Frame {
    /// Whether it begins with an Ethernet header; else with that of IP.
    const HAS_ETHERNET: bool;

    /// Bytes on the wire, Ethernet header included.
    fn length(&self) -> u32;

    /// The `N` bytes at a bounded offset, or nothing where the frame ends before.
    fn load<const N: usize>(&self, offset: Offset<'_>) -> Option<[u8; N]>;

    /// A copy of the first `length` of `N` bytes at any offset, with zeros behind them. Nothing if the frame ends
    /// before, or if `length` is 0 or above `N`, a power of two. Unlike [`Self::load`] it also reads behind the first
    /// buffer of a frame in several, for the price of a call.
    fn copy<const N: usize>(&self, offset: u32, length: u32) -> Option<[u8; N]>;

    /// Masks a number that is at most [`OFFSET_MAX`]: the kernel's verifier sees that it is at most [`OFFSET_MASK`].
    fn masked(offset: u32) -> usize;

    /// Bounds a number; nothing if it is above [`OFFSET_MAX`]. The frame may have no bytes there.
    #[inline(always)]
    fn at(&self, offset: u32) -> Option<Offset<'_>> {
        if offset > OFFSET_MAX {
            return None;
        }
        Some(Offset { value: Self::masked(offset), frame: PhantomData })
    }

    /// The `N` bytes at `offset`, or nothing where the frame ends before or `offset` is above [`OFFSET_MAX`].
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.load(self.at(offset)?)
    }

    /// One byte.
    #[inline(always)]
    fn u8(&self, offset: u32) -> Option<u8> {
        self.bytes::<1>(offset).map(|[byte]| byte)
    }

    /// One byte at any offset, behind the first buffer too.
    #[inline(always)]
    fn far(&self, offset: u32) -> Option<u8> {
        match self.u8(offset) {
            None => self.copy::<1>(offset, 1).map(|[byte]| byte),
            near => near,
        }
    }

    /// Two bytes in network order.
    #[inline(always)]
    fn be16(&self, offset: u32) -> Option<u16> {
        self.bytes(offset).map(u16::from_be_bytes)
    }

    /// Takes at most `steps` steps of a task. In the kernel this is `bpf_loop`: the verifier checks one step, whatever
    /// their number.
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
    const HAS_ETHERNET: bool = true;

    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn load<const N: usize>(&self, offset: Offset<'_>) -> Option<[u8; N]> {
        self.get(offset.get()..)?.first_chunk().copied()
    }

    fn copy<const N: usize>(&self, offset: u32, length: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let there = self.get(offset as usize..)?.get(..length as usize)?;
        bytes.get_mut(..there.len()).filter(|_| length != 0)?.copy_from_slice(there);
        Some(bytes)
    }

    fn masked(offset: u32) -> usize {
        offset as usize
    }
}

/// A packet without an Ethernet header, as tun, WireGuard, PPP and IP tunnels have it.
#[derive(Clone, Copy, Debug)]
pub struct Bare<'a>(pub &'a [u8]);

impl Frame for Bare<'_> {
    const HAS_ETHERNET: bool = false;

    fn length(&self) -> u32 {
        self.0.length()
    }

    fn load<const N: usize>(&self, offset: Offset<'_>) -> Option<[u8; N]> {
        self.0.load(offset)
    }

    fn copy<const N: usize>(&self, offset: u32, length: u32) -> Option<[u8; N]> {
        self.0.copy(offset, length)
    }

    fn masked(offset: u32) -> usize {
        offset as usize
    }
}
