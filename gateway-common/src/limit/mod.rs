//! Rates, and the buckets that hold packets to them.

pub mod bucket;
pub mod limits;
pub mod rate;
