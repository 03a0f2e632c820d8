//! The record as a whole.

mod ageing;
mod appending;
mod asking;
mod opening;
