//! Map values as bytes.
#![expect(
    unsafe_code,
    reason = "aya's Pod is an unsafe trait, and zerocopy's derives prove here what it asks"
)]

use aya::Pod;
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
