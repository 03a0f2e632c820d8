//! What the state is made of: each part knows nothing of the others, and of the gateway as a whole.

pub(super) mod attach;
pub(super) mod bans;
pub(super) mod clock;
pub(super) mod connections;
pub(super) mod cookies;
pub(super) mod drops;
pub(super) mod hub;
pub(super) mod open_files;
pub(super) mod options;
pub(super) mod own;
pub(super) mod pressure;
pub(super) mod refusals;
pub(super) mod service_manager;
pub(super) mod sockets;
