//! The lab's only unsafe code: which types may cross to the kernel as bytes.

use aya::Pod;

use super::config::{Count, Flood, Progress, Textbook};

// Types without padding: the size is the sum of the fields.
const _: () = assert!(size_of::<Flood>() == 12 * 8 + 14 * 4 + 3 * 8);
const _: () = assert!(size_of::<Progress>() == 2 * 8);
const _: () = assert!(size_of::<Textbook>() == 2 * 8);
const _: () = assert!(size_of::<Count>() == 2 * 8);

// SAFETY: repr(C), integers alone, every bit pattern is a value, and no padding, as asserted above.
unsafe impl Pod for Flood {}
// SAFETY: as for `Flood`.
unsafe impl Pod for Progress {}
// SAFETY: as for `Flood`.
unsafe impl Pod for Textbook {}
// SAFETY: as for `Flood`.
unsafe impl Pod for Count {}
