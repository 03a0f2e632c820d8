//! Elements of arrays.

use aya_ebpf::{
    helpers::bpf_map_lookup_elem,
    maps::{Array, PerCpuArray},
};

/// An array in the kernel, or one for each CPU.
pub(crate) trait Elements {
    /// The type of its elements.
    type Element;
}

impl<T> Elements for Array<T> {
    type Element = T;
}

impl<T> Elements for PerCpuArray<T> {
    type Element = T;
}

/// The element of an array at an index.
///
/// The key is written as a whole word. If only a part of a word of the stack is written, the verifier remembers what
/// was there before, and follows all later code once for each key that it has seen there.
#[inline(always)]
pub(crate) fn at<M: Elements>(map: &M, index: u32) -> Option<*mut M::Element> {
    let key = u64::from(index);
    let map = core::ptr::from_ref(map).cast_mut();
    // SAFETY: a map, whose keys are the lower halves of such words on a little-endian machine.
    let value = unsafe { bpf_map_lookup_elem(map.cast(), (&raw const key).cast()) };
    (!value.is_null()).then_some(value.cast())
}

/// Counts one more at an index.
#[inline(always)]
pub(crate) fn increment(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = at(counters, index) {
        // SAFETY: a live map value of this CPU alone.
        unsafe { *counter += 1 };
    }
}
