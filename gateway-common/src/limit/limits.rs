//! A limit in each dimension.

use crate::limit::rate::{Dimension, Limit};

/// A limit for each [`Dimension`], in the order of [`Dimension::ALL`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "host",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Limits {
    /// The limits.
    pub each: [Limit; Dimension::COUNT],
}

const _: () = assert!(size_of::<Limits>() == 112);

impl Default for Limits {
    fn default() -> Self {
        Self { each: [Limit::NONE; Dimension::COUNT] }
    }
}

impl Limits {
    /// The limit in a dimension.
    #[inline(always)]
    pub fn of(&self, dimension: Dimension) -> &Limit {
        self.at(dimension as usize)
    }

    /// The same by the dimension's number.
    #[inline(always)]
    pub fn at(&self, number: usize) -> &Limit {
        // The fallback is never taken: there is a limit for every dimension.
        self.each.get(number).unwrap_or(&Limit::NONE)
    }

    /// The same rates with half the bursts: what unknown clients may use of a total, if half is kept for known clients.
    pub fn halved(&self) -> Self {
        Self { each: Dimension::ALL.map(|dimension| self.of(dimension).halved(dimension)) }
    }
}
