//! The kernel's side as the controller sees it: all unsafe code, and all of `aya` but the debug log in `daemon`.
//!
//! [`Kernel::load`] brings program and maps into the kernel, [`attach`] puts the program on interfaces, [`Kernel::apply`]
//! switches policies, and [`tables`] and [`Kernel::tallies`] read what the program wrote.

pub mod attach;
mod bans;
pub mod bpf;
pub mod btf;
pub(crate) mod cause;
mod chunks;
mod constants;
mod counters;
mod error;
mod given;
pub(crate) mod hidden;
mod holders;
mod live;
mod load;
pub(crate) mod memory;
mod object;
pub mod orphan;
mod own;
pub mod pins;
mod policy;
mod refusals;
mod samples;
pub mod tables;
mod take;
mod testing;
mod value;

pub use constants::cpus;
pub use error::{Failed, KernelError, Refused};
pub use holders::Holders;
pub use load::{Groundwork, Kernel, LoadOptions, Program};
pub use object::embedded;
pub use refusals::Refusals;
pub use samples::Samples;
