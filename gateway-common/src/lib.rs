//! The packet path of the gateway, as pure Rust.
//!
//! [`pipeline`] is the file to open first: it names the stages in their order. The same code runs in the kernel as XDP,
//! on the host in tests and fuzzing, and over captures. It reads a frame through [`frame::Frame`], and clock, settings,
//! tables and counters through [`env::Env`]. So nothing here is unsafe or calls BPF, and only code for the host
//! allocates. But shapes of code and barriers are chosen for the kernel's verifier.
#![cfg_attr(not(feature = "host"), no_std)]
#![forbid(unsafe_code)]

#[cfg(all(test, not(feature = "host")))]
extern crate std;

pub mod abi;
pub mod branchless;
pub mod env;
pub mod frame;
pub mod hash;
#[cfg(feature = "host")]
pub mod host;
pub mod limit;
pub mod packet;
pub mod pipeline;
pub mod prefixes;
pub mod source;
pub mod stage;
pub mod state;
pub mod tables;
pub mod verdict;
pub mod wire;
pub mod words;
