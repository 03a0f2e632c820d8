//! Comparisons without a branch.

/// A number whose highest bit says whether a word is 0. Without a branch: the verifier would follow all later code on
/// both paths.
#[inline(always)]
pub const fn zero_sign(word: u64) -> u64 {
    word.wrapping_sub(1) & !word
}

/// 1 for 0, else 0.
#[inline(always)]
pub const fn is_zero(word: u64) -> u64 {
    zero_sign(word) >> (u64::BITS - 1)
}
