//! Words of a table that several CPUs change at once.

/// A set of buckets.
pub trait Slots: Copy {
    /// One of them.
    type Slot: Words;

    /// The slot of a way below [`crate::limit::bucket::WAYS`].
    fn slot(self, way: usize) -> Self::Slot;
}

/// Words of 64 bits in a table, which several CPUs change at once.
pub trait Words: Copy {
    /// Reads a word; 0 beyond the last.
    fn load(self, word: usize) -> u64;
    /// Writes a word without looking at it.
    fn store(self, word: usize, value: u64);
    /// Replaces a word that still is `current`.
    fn replace(self, word: usize, current: u64, value: u64) -> bool;
    /// Adds to a word, wrapping.
    fn add(self, word: usize, value: u64);
}
