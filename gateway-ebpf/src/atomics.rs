//! Words that several CPUs change at once: the one place of atomic operations.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    mem::MaybeUninit,
    ptr::NonNull,
};

use gateway_common::{
    abi::{SET_WORDS, SLOT_WORDS, WAYS},
    words::{Slots, Words},
};

/// Words that are zero. Written one by one: LLVM would call a function that writes byte by byte.
#[inline(always)]
pub(crate) fn zeroed<const N: usize>(words: &mut MaybeUninit<[u64; N]>) -> &mut [u64; N] {
    for word in 0..N {
        // SAFETY: the word is one of N, and zeros are a value of it.
        unsafe { words.as_mut_ptr().cast::<u64>().add(word).write_volatile(0) };
    }
    // SAFETY: all of them were just written.
    unsafe { words.assume_init_mut() }
}

/// A map value of `N` words, which lives as long as the program runs.
#[derive(Clone, Copy)]
pub(crate) struct MapWords<const N: usize>(NonNull<u64>);

impl<const N: usize> MapWords<N> {
    #[inline(always)]
    pub(crate) fn new(value: *mut [u64; N]) -> Option<Self> {
        NonNull::new(value.cast()).map(Self)
    }

    #[inline(always)]
    fn at(self, word: usize) -> Option<*mut u64> {
        // SAFETY: word is below N, and the map value has N words.
        (word < N).then(|| unsafe { self.0.as_ptr().add(word) })
    }
}

impl Slots for MapWords<SET_WORDS> {
    type Slot = MapWords<SLOT_WORDS>;

    #[inline(always)]
    fn slot(self, way: usize) -> Self::Slot {
        // SAFETY: a set has WAYS slots, and the mask stays below; the verifier checks every access again.
        MapWords(unsafe { self.0.add((way & (WAYS - 1)) * SLOT_WORDS) })
    }
}

impl<const N: usize> Words for MapWords<N> {
    #[inline(always)]
    fn load(self, word: usize) -> u64 {
        // SAFETY: the pointer is in bounds and aligned; the value is one word, which the CPU reads at once.
        self.at(word).map_or(0, |word| unsafe { word.read_volatile() })
    }

    #[inline(always)]
    fn store(self, word: usize, value: u64) {
        if let Some(word) = self.at(word) {
            // SAFETY: as in load.
            unsafe { word.write_volatile(value) };
        }
    }

    #[inline(always)]
    fn replace(self, word: usize, current: u64, value: u64) -> bool {
        self.at(word).is_some_and(|word| {
            // SAFETY: as in load; the operation is atomic.
            let (_, replaced) = unsafe {
                atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                    word, current, value,
                )
            };
            replaced
        })
    }

    #[inline(always)]
    fn add(self, word: usize, value: u64) {
        if let Some(word) = self.at(word) {
            // SAFETY: as in load; the operation is atomic.
            unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, value) };
        }
    }
}
