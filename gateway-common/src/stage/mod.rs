//! One stage a file: each answers "go on" or a verdict with its reason. [`crate::pipeline`] says in which order.

pub mod budgets;
pub mod connection_limit;
pub mod connection_reset;
pub mod drop_cache;
pub mod essential;
pub mod handshake;
pub mod lists;
pub mod mptcp_fallback;
pub mod own_traffic;
pub mod packet_state;
pub mod parse;
pub mod quic;
pub mod reflection;
pub mod sanity;
pub mod service;
pub mod strike;
pub mod subprog;
pub mod tls;
