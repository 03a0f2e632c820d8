//! What replies say, and what `--json` prints: stable documents. Fields are added, never renamed or removed.

use serde::{Deserialize, Serialize};

use super::{Dimension, Fact, LimitScope, Mode, Outcome, Prefix};

/// An interface of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    /// Name.
    pub name: String,
    /// Kernel index; 0 while there is no such interface.
    pub index: u32,
    /// How the program is attached: `native` or `generic`.
    pub driver: String,
    /// Whether it is attached now.
    pub attached: bool,
    /// Why it is not, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// Traffic of one interface with one verdict for one reason, since the counters were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// Interface name.
    pub interface: String,
    /// What happened.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames.
    pub bytes: u64,
}

/// Packets for one service with one verdict for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// The service's name.
    pub name: String,
    /// What happened.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// How full a table of the packet path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRow {
    /// The table's word.
    pub table: String,
    /// Entries in use.
    pub entries: u64,
    /// Entries that fit.
    pub capacity: u64,
    /// How often something found no room.
    pub full_total: u64,
}

/// `gateway status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Version of the layout shared with the kernel.
    pub abi: u32,
    /// Process of the daemon.
    pub pid: u32,
    /// The mode now.
    pub mode: Mode,
    /// When a mode set with `--for` reverts.
    pub mode_until_at: Option<u64>,
    /// Services and classes with a mode of their own; the most lenient holds.
    #[serde(default)]
    pub modes: Vec<ModeRow>,
    /// How long the daemon has been running.
    pub uptime_seconds: u64,
    /// Number of the policy in force, one more with each change.
    pub generation: u64,
    /// The configuration file.
    pub config_path: String,
    /// How the TLS gate knows where a connection stands.
    pub tls_gate: TlsGate,
    /// Whether this host's sockets are asked, and what is off where they are not.
    #[serde(default)]
    pub sockets: Sockets,
    /// Interfaces.
    pub interfaces: Vec<InterfaceRow>,
    /// Counters, rows of zero included.
    pub traffic: Vec<TrafficRow>,
    /// Counters of services.
    pub services: Vec<ServiceRow>,
    /// Tables.
    pub tables: Vec<TableRow>,
    /// Neighbourhoods whose sources share one budget.
    #[serde(default)]
    pub escalated: Escalated,
    /// Connections that were refused and therefore reset, by service; none where that is off.
    #[serde(default)]
    pub refused_reset: Vec<ResetRow>,
    /// Connections of services that are counted or have their time; none where nobody asks for it.
    #[serde(default)]
    pub connections: Vec<ConnectionRow>,
    /// What the operator should know, a sentence each.
    pub warnings: Vec<String>,
}

/// The mode of a service or class, where it is not `enforce`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeRow {
    /// Whose: `service NAME` or `class NAME`.
    pub of: String,
    /// The mode.
    pub mode: Mode,
    /// When it reverts, if it was set with `--for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
}

/// Connections of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The service's name.
    pub service: String,
    /// Those that are open now.
    pub open: u64,
    /// Those that were ended, since the daemon began, by cause.
    pub ended: Vec<EndedRow>,
}

/// Connections that were ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRow {
    /// Why: `limit`, `hello_timeout` or `idle_timeout`.
    pub cause: String,
    /// How many.
    pub connections: u64,
}

/// Connections of a service that were reset because their opening was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetRow {
    /// The service's name.
    pub service: String,
    /// Connections, since the daemon began.
    pub connections: u64,
}

/// How the TLS gate knows where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsGate {
    /// It asks this host's TCP, which knows the connections that end here.
    pub asks_host: bool,
    /// This host forwards: of connections that pass through it goes by the SYN that it saw, as well as that can be.
    pub forwards: bool,
}

/// Whether the program asks this host's sockets where connections stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// It does.
    pub asked: bool,
    /// Why not.
    pub why: Option<String>,
    /// What the gateway goes without therefore.
    pub off: Vec<Off>,
}

/// What does not work on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Off {
    /// Its word.
    pub feature: String,
    /// What holds instead, a sentence without full stop.
    pub instead: String,
}

/// How many neighbourhoods share one budget, because many of their sources were over their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalated {
    /// Networks of IPv4, each a /24.
    pub ipv4: u64,
    /// Networks of IPv6, each a /56 or a /48.
    pub ipv6: u64,
}

/// A change was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What was done, a sentence without full stop.
    pub message: String,
    /// Number of the policy in force after it.
    pub generation: u64,
    /// When the change reverts by itself.
    pub until_at: Option<u64>,
    /// What the operator should know, a sentence each.
    pub warnings: Vec<String>,
    /// What is other than before, thing by thing.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Whether the change is on the disk; else it is in force, and is written as soon as it can be.
    #[serde(default = "yes")]
    pub durable: bool,
}

impl Default for Changed {
    fn default() -> Self {
        Self {
            message: String::new(),
            generation: 0,
            until_at: None,
            warnings: Vec::new(),
            facts: Vec::new(),
            durable: true,
        }
    }
}

const fn yes() -> bool {
    true
}

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOrigin {
    /// The file.
    Configuration,
    /// A live change, gone with the next reload or restart unless `until_at` is set.
    Live,
}

/// A limit in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Where it holds.
    pub place: LimitScope,
    /// What it counts.
    pub dimension: Dimension,
    /// Rate as text, such as `20k/s`.
    pub rate: String,
    /// Burst as text, such as `40k` or `64MiB`.
    pub burst: String,
    /// Where it comes from.
    pub origin: LimitOrigin,
    /// When it reverts.
    pub until_at: Option<u64>,
}

/// A prefix that is blocked or allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRow {
    /// The prefix.
    pub prefix: Prefix,
    /// Who put it there: `configuration`, `operator`, `strikes`, or a feed's name.
    pub origin: String,
    /// Why, in the words of whoever did.
    pub reason: Option<String>,
    /// Since when.
    pub added_at: u64,
    /// Until when; none: until it is taken away.
    pub until_at: Option<u64>,
    /// Packets that met it, where they are counted.
    pub packets: Option<u64>,
    /// For a ban by strikes: which one it is of those that are not forgotten, from 1.
    pub level: Option<u32>,
}

/// What is left of one budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What it counts.
    pub dimension: Dimension,
    /// What is left of the burst, 0 to 100.
    pub left_percent: u8,
}

/// A source seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// The source.
    pub source: Prefix,
    /// Its class, `default` when none names it.
    pub class: String,
    /// The service whose own limits the row is about.
    pub service: Option<String>,
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Packets dropped, or in monitor mode that would have been.
    pub drops: u64,
    /// Its budgets.
    pub budgets: Vec<Budget>,
    /// Whether a counter of this source has stopped at its highest value.
    pub saturated: bool,
}
