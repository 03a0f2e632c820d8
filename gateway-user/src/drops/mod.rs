//! What is dropped, put together: exact counts by service and reason, floods, and samples.
//!
//! Pure: counts, samples and times are arguments. `daemon` reads them from the kernel, and tells what comes out.

mod counts;
mod floods;
mod sample;
mod sources;

pub use counts::{Count, Counts, Key, Told};
pub use floods::Floods;
pub use sample::{dropped, key};
pub use sources::{BanCounts, Top};
