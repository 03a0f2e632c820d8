//! What a rate is, and the buckets that hold packets to it.

pub mod bucket;
pub mod limits;
pub mod rate;
