//! Bounds-checked reads of packet memory, in the form that the verifier follows.

use core::{
    arch::asm,
    ffi::{c_long, c_void},
    hint,
    intrinsics::is_val_statically_known,
};

use aya_ebpf::{
    helpers::{bpf_loop, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use gateway_common::frame::{Frame, OFFSET_MASK, Offset, Task};

/// The build of the program for frames in one buffer, ...
pub(crate) const PLAIN: u8 = 0;
/// ... for frames in several, ...
pub(crate) const FRAGS: u8 = 1;
/// ... and for packets without an Ethernet header.
pub(crate) const BARE: u8 = 2;

/// The first buffer of a received frame. Its ends are asked for at each read: a pointer that is kept carries how far a
/// stage has checked it, and the verifier would follow all later stages again with each such distance.
pub(crate) struct XdpFrame<'a, const BUILD: u8>(pub(crate) &'a XdpContext);

impl<const BUILD: u8> XdpFrame<'_, BUILD> {
    /// The same as [`Frame::copy`] into memory of the caller's; whether it was done.
    #[inline(always)]
    pub(crate) fn copy_into<const N: usize>(&self, offset: u32, length: u32, bytes: &mut [u8; N]) -> bool {
        const { assert!(N.is_power_of_two()) };
        if length == 0 || length > N as u32 {
            return false;
        }
        // Bounded where it is used, by a mask that the compiler cannot remove.
        let length = (hint::black_box(length - 1) & (N as u32 - 1)) + 1;
        // SAFETY: there is room for N bytes.
        unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, bytes.as_mut_ptr().cast(), length) == 0 }
    }

    /// The address of `N` bytes at an offset, if the frame has them.
    #[inline(always)]
    pub(crate) fn address<const N: usize>(&self, offset: Offset<'_>) -> Option<usize> {
        let start = self.0.data() + offset.get();
        let mut after = start + N;
        if N == 1 {
            // LLVM makes `start >= end` of `start + 1 > end`, and from that form the verifier learns nothing
            // (find_good_pkt_pointers in kernel/bpf/verifier.c).
            // SAFETY: a move of a register onto itself.
            unsafe { asm!("{0} = {0}", inout(reg) after, options(nomem, nostack)) };
        }
        if after > self.0.data_end() { None } else { Some(start) }
    }
}

impl<const BUILD: u8> Frame for XdpFrame<'_, BUILD> {
    const HAS_ETHERNET: bool = BUILD != BARE;

    #[inline(always)]
    fn length(&self) -> u32 {
        if BUILD == FRAGS {
            // Of all buffers.
            // SAFETY: the context is the kernel's own.
            return unsafe { bpf_xdp_get_buff_len(self.0.ctx) } as u32;
        }
        let mut length = self.0.data_end() - self.0.data();
        // Hidden, or LLVM subtracts 32-bit halves of pointers, which the verifier refuses.
        // SAFETY: a move of a register onto itself.
        unsafe { asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack)) };
        length as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: Offset<'_>) -> Option<[u8; N]> {
        // SAFETY: N bytes are there.
        self.address::<N>(offset).map(|start| unsafe { words(start) })
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32, length: u32) -> Option<[u8; N]> {
        let mut bytes = [0_u8; N];
        self.copy_into(offset, length, &mut bytes).then_some(bytes)
    }

    #[inline(always)]
    fn masked(offset: u32) -> usize {
        // The verifier sees a constant as it is.
        if is_val_statically_known(offset) {
            return offset as usize;
        }
        let mut masked = u64::from(offset);
        // In assembly: LLVM knows that the mask changes nothing, and would leave it out.
        // SAFETY: arithmetic with a register.
        unsafe {
            asm!("{0} &= {1}", inout(reg) masked, const OFFSET_MASK, options(pure, nomem, nostack));
        };
        masked as usize
    }

    #[inline(always)]
    fn take_steps<T: Task>(&self, steps: u32, task: &mut T) {
        let mut turn = Turn { frame: self, task };
        let callback = take_step::<Self, T> as extern "C" fn(u64, *mut Turn<'_, Self, T>) -> c_long;
        // SAFETY: the callback is called with this very pointer, and not after this call.
        unsafe { bpf_loop(steps, callback as *mut c_void, (&raw mut turn).cast(), 0) };
    }
}

/// Reads bytes by whole words: headers are not aligned, so LLVM would read each byte by itself, and the verifier allows
/// whole words where the machine does (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
///
/// # Safety
/// `start` is the address of `N` bytes of packet memory.
#[inline(always)]
unsafe fn words<const N: usize>(start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    // A load clears the rest of its register.
    macro_rules! take {
        ($word:ty, $load:literal) => {
            while at + size_of::<$word>() <= N {
                let word: u64;
                // SAFETY: the word lies within the bytes of the caller.
                unsafe {
                    asm!($load, out(reg) word, in(reg) start + at, options(pure, readonly, nostack));
                }
                bytes[at..at + size_of::<$word>()].copy_from_slice(&(word as $word).to_ne_bytes());
                at += size_of::<$word>();
            }
        };
    }
    take!(u64, "{0} = *(u64 *)({1} + 0)");
    take!(u32, "{0} = *(u32 *)({1} + 0)");
    take!(u16, "{0} = *(u16 *)({1} + 0)");
    take!(u8, "{0} = *(u8 *)({1} + 0)");
    bytes
}

/// Reads a word as it is.
///
/// # Safety
/// `at` is the address of 4 bytes of packet memory.
#[inline(always)]
pub(crate) unsafe fn get32(at: usize) -> u32 {
    // SAFETY: by the word of the caller.
    u32::from_ne_bytes(unsafe { words(at) })
}

/// Writes a word as it is, for the reason of [`words`].
///
/// # Safety
/// `at` is the address of 4 bytes of packet memory.
#[inline(always)]
pub(crate) unsafe fn put32(at: usize, word: u32) {
    // SAFETY: the word lies in packet memory, by the word of the caller.
    unsafe { asm!("*(u32 *)({0} + 0) = {1}", in(reg) at, in(reg) u64::from(word), options(nostack)) };
}

/// The same of two bytes.
///
/// # Safety
/// `at` is the address of 2 bytes of packet memory.
#[inline(always)]
pub(crate) unsafe fn put16(at: usize, word: u16) {
    // SAFETY: as in put32.
    unsafe { asm!("*(u16 *)({0} + 0) = {1}", in(reg) at, in(reg) u64::from(word), options(nostack)) };
}

/// The same of a byte.
///
/// # Safety
/// `at` is the address of a byte of packet memory.
#[inline(always)]
pub(crate) unsafe fn put8(at: usize, byte: u8) {
    // SAFETY: as in put32.
    unsafe { asm!("*(u8 *)({0} + 0) = {1}", in(reg) at, in(reg) u64::from(byte), options(nostack)) };
}

/// The arguments of a step.
struct Turn<'a, F, T> {
    frame: &'a F,
    task: &'a mut T,
}

/// One turn of `bpf_loop`; 1 ends it.
extern "C" fn take_step<F: Frame, T: Task>(index: u64, turn: *mut Turn<'_, F, T>) -> c_long {
    // SAFETY: what take_steps handed to bpf_loop.
    let turn = unsafe { &mut *turn };
    c_long::from(turn.task.step(index as u32, turn.frame).is_break())
}
