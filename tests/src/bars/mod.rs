//! What the gateway promises, measured with the real daemon in the lab: briefly in tests, at length in `soak`.

mod answers;
mod bans;
mod blocked;
mod claims;
mod connections;
mod cookies;
mod escalation;
mod flood;
mod floods;
mod forged;
mod honest;
mod http3;
mod idle;
mod kills;
mod known;
mod lasting;
mod limits;
mod link;
mod lists;
mod live;
mod overhead;
mod path_mtu;
mod protect;
mod random;
mod reflection;
mod refused;
mod smoke;
mod stacks;
mod strangers;
mod victim;

use std::net::IpAddr;

use anyhow::Result;

use crate::lab::{Counters, Lab, SERVER_V4, SERVER_V6};

pub use answers::{dns, openings};
pub use bans::{bans, million};
pub use claims::claims;
pub use connections::connections;
pub use cookies::{cookies, downloads};
pub use escalation::escalation;
pub use flood::{random_sources, share_at_full_rate};
pub use floods::{floods, floods_at_full_rate};
pub use forged::forged;
pub use honest::{adoption, https, plaintext};
pub use http3::{http3, nonsense};
pub use idle::idle;
pub use kills::kills;
pub use known::known;
pub use lasting::crowd;
pub use limits::exactness;
pub use link::link;
pub use lists::reload_million;
pub use live::{limit_set, reloads};
pub use overhead::overhead;
pub use path_mtu::path_mtu;
pub use protect::{kill_and_restart, metrics};
pub use random::random_connections;
pub use reflection::reflection;
pub use refused::refused;
pub use smoke::smoke;
pub use stacks::{few_stacks, stacks};
pub use strangers::strangers;
pub use victim::victim;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Honest requests of each kind, and plaintext connections.
    pub requests: u32,
    /// Requests of each TLS stack in each version.
    pub requests_of_stacks: u32,
    /// How long a flood against a limit takes, in seconds.
    pub seconds: u64,
    /// Reloads under load.
    pub reloads: u32,
    /// Connections that are open before the gateway comes.
    pub open: usize,
    /// The same made by hand.
    pub crowd: usize,
    /// Frames of each flood while a connection is idle, and of datagrams that are no QUIC.
    pub flood: u64,
    /// Bans that a restart restores.
    pub bans: u32,
    /// How long it is idle at least for each of them, in seconds.
    pub idle_seconds: u64,
}

impl Scale {
    /// For every change.
    pub const SHORT: Self = Self {
        requests: 100,
        requests_of_stacks: 2,
        seconds: 3,
        reloads: 100,
        open: 50,
        crowd: 1_000,
        flood: 100_000,
        bans: 20_000,
        idle_seconds: 0,
    };
    /// The figures that are promised.
    pub const FULL: Self = Self {
        requests: 1_000,
        requests_of_stacks: 20,
        seconds: 10,
        reloads: 1_000,
        open: 1_000,
        crowd: 10_000,
        flood: 1_000_000,
        bans: 1_000_000,
        idle_seconds: 60,
    };
}

/// One measurement: prints its figures, fails where a promise is broken.
pub type Bar = fn(&Scale) -> Result<()>;

/// All that tests run too, by name.
pub const BARS: [(&str, Bar); 23] = [
    ("smoke", smoke),
    ("https", https),
    ("few-stacks", few_stacks),
    ("plaintext", plaintext),
    ("adoption", adoption),
    ("crowd", crowd),
    ("idle", idle),
    ("exactness", exactness),
    ("limit-set", limit_set),
    ("reloads", reloads),
    ("kill", kill_and_restart),
    ("metrics", metrics),
    ("kills", kills),
    ("claims", claims),
    ("path-mtu", path_mtu),
    ("quic-nonsense", nonsense),
    ("bans", bans),
    ("escalation", escalation),
    ("million", million),
    ("known", known),
    ("dns", dns),
    ("openings", openings),
    ("link", link),
];

/// A port that is gated beside nginx's.
const GATED: u16 = 9_000;

/// TLS alone on ports 443 and [`GATED`]; a client in a hurry is no flood.
const HONEST: &str = "mode = \"enforce\"\n\
    [limits]\nsyn = \"none\"\n\
    [limits.neighbours]\nsyn = \"none\"\n\
    [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443, 9000]\nrequire = \"tls\"\n";

/// The server's address of each family.
const fn servers() -> [IpAddr; 2] {
    [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)]
}

/// Datagrams that got to the server's UDP.
fn datagrams(lab: &Lab) -> Result<u64> {
    let counters = Counters::read(&lab.server)?;
    let names = ["UdpNoPorts", "UdpInDatagrams", "Udp6NoPorts", "Udp6InDatagrams"];
    Ok(names.iter().map(|name| counters.get(name)).sum())
}
