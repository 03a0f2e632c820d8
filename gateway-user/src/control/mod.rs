//! The control socket: how the command line, or another program, asks the running daemon.
//!
//! A connection to the unix stream socket carries one request: one line of JSON of at most [`REQUEST_MAX`] bytes, such as
//! `{"request":"limit_set","place":"class/partners","dimension":"syn","rate":"2k/s"}`. The answer is one JSON object a
//! line (see [`protocol::Line`]): a single `done` or `failed`; or for a list any number of `row`, and an `end` with
//! their count, so that an answer that was cut off is never taken for a short one. Times are whole seconds: fields
//! that end in `_at` since the Unix epoch, `_seconds` a length.
//!
//! * [`protocol`]: requests and replies
//!   (the documents of replies are in [`crate::model::document`])
//! * [`call`]: what goes with a request: its user, and the sessions that it must not cut
//! * [`access`]: who may ask
//! * [`server`]: the daemon's end, on tokio
//! * [`client`]: the other end, blocking

pub mod access;
pub mod call;
pub mod client;
mod connection;
pub mod protocol;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;
mod user;

/// The longest request in bytes, its newline included.
pub const REQUEST_MAX: usize = 64 * 1024;
/// The longest line of a reply in bytes that the client accepts.
pub const LINE_MAX: u64 = 4 * 1024 * 1024;
