//! The controller: everything of the gateway that is not the packet's way.

pub use gateway_common::host;

pub mod bans;
pub mod cli;
pub mod config;
pub mod connections;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod drops;
pub mod escalation;
pub mod event_rows;
pub mod exposure;
pub mod finer;
pub mod kernel;
mod link_layer;
pub mod live;
pub mod lockout;
pub mod metrics;
pub mod model;
pub mod net;
pub mod places;
pub mod policy;
pub mod prefixes;
pub mod record;
pub mod replay;
pub mod state_file;
pub mod store;
