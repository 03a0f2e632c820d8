//! One word that all CPUs change: the least that a limit which holds on all of them can cost.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

#[map]
static WORD: Array<u64> = Array::with_max_entries(1, 0);

/// Adds one by compare-and-swap, as a bucket is charged: reads the word, and replaces it if it is still the same. One
/// try.
#[xdp]
pub(crate) fn contend_swap(_context: XdpContext) -> u32 {
    let Some(word) = WORD.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: the pointer is to the aligned value of an array's entry that exists, and the operation is atomic.
    let (_, replaced) = unsafe {
        let current = word.read_volatile();
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            word,
            current,
            current + 1,
        )
    };
    if replaced { XDP_DROP } else { XDP_ABORTED }
}

/// Adds one, which no other CPU can make fail.
#[xdp]
pub(crate) fn contend_add(_context: XdpContext) -> u32 {
    let Some(word) = WORD.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: the pointer is to the aligned value of an array's entry that exists, and the operation is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, 1) };
    XDP_DROP
}
