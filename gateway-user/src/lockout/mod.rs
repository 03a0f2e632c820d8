//! Nobody locks himself out: a change is tried on the management sessions of this host before it goes into the kernel.
//!
//! * [`logind`]: which sessions there are
//! * [`login`]: whether one could log in again, by the packet path's own code

pub mod login;
pub mod logind;
