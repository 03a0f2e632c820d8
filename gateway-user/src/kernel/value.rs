//! Map values as bytes, and many of them at once.
#![expect(
    unsafe_code,
    reason = "aya's Pod is an unsafe trait, and zerocopy's derives prove here what it asks; aya has no call for batches"
)]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;
use nix::libc::{SYS_bpf, syscall};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A map value: any type of gateway-common's `abi`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Value<T>(pub(super) T);

impl<T> Value<T> {
    /// A large value in place.
    pub(super) const fn of(value: &T) -> &Self {
        // SAFETY: Value has its field's layout.
        unsafe { &*std::ptr::from_ref(value).cast() }
    }
}

// SAFETY: IntoBytes rules out padding and FromBytes any invalid value, so all bytes can cross in both directions; Value has
// its field's layout.
unsafe impl<T: Copy + FromBytes + IntoBytes + Immutable + 'static> Pod for Value<T> {}

/// The call's number in `enum bpf_cmd`, and its part of `union bpf_attr` (include/uapi/linux/bpf.h).
const BPF_MAP_UPDATE_BATCH: u32 = 26;

#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Writes many values to a map whose keys and values are words, by one call.
pub(super) fn update_batch(map: BorrowedFd<'_>, keys: &[u32], values: &[u32]) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    let mut batch = Batch {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `count` words from each of the two slices, which have as many, and writes back how many it has
    // dealt with; all of it lives until the call returns.
    let answer = unsafe { syscall(SYS_bpf, BPF_MAP_UPDATE_BATCH, &raw mut batch, size_of::<Batch>()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
