//! One stage a file: each answers "go on" or a verdict with its reason. [`crate::pipeline`] says in which order.

pub mod budgets;
pub mod connections;
pub mod essential;
pub mod fallback;
pub mod handshake;
pub mod hello;
pub mod lists;
pub mod own;
pub mod parse;
pub mod quic;
pub mod reflection;
pub mod refusal;
pub mod sanity;
pub mod service;
pub mod tls;
