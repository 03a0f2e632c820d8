//! Tables that outlive a packet: one a file.

pub mod assoc;
#[cfg(feature = "host")]
pub mod ban_table;
pub mod bans;
pub mod buckets;
pub mod conntrack;
pub mod drop_cache;
pub mod first_syns;
pub mod known_clients;
pub mod link_peers;
pub mod local_endpoints;
pub mod partial_hellos;
pub mod quic_flows;
pub mod samples;
pub mod services;
pub mod strikes;
