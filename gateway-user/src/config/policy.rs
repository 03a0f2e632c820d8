//! What of a configuration decides about packets.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use gateway_common::limit::rate::{Dimension, Rate};
use ipnet::{IpNet, Ipv6Net};

use crate::model::Mode;
use crate::model::keyword::keywords;
use crate::model::{Quota, Quotas};

/// One second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Limits of each source, wherever it sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What each source may send.
    pub quotas: Quotas,
    /// What all sources together may send to what is no service's.
    pub rest: Quotas,
    /// Leading bits of an IPv4 address that make a source, 8 to 32.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that make a source, 16 to 64.
    pub ipv6_prefix: u8,
    /// Networks in which a source is finer, at most 63, each once.
    pub finer: Vec<FinerNetwork>,
}

/// A network of hosts that have nothing to do with each other, as machines in one /64 of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinerNetwork {
    /// The network; where such networks nest, the narrower one holds.
    pub network: Ipv6Net,
    /// Leading bits of an address there that make a source: 65 to 128, and at most 56 more than the network has.
    pub ipv6_prefix: u8,
}

impl Default for Limits {
    fn default() -> Self {
        let quotas = quotas(&[
            (Dimension::Packets, 20_000, Some(40_000)),
            (Dimension::Bytes, 125_000_000, Some(64 << 20)),
            (Dimension::Syn, 200, Some(400)),
            (Dimension::Udp, 5_000, Some(10_000)),
            (Dimension::Icmp, 20, Some(40)),
        ]);
        Self { quotas, rest: Self::default_rest(), ipv4_prefix: 32, ipv6_prefix: 64, finer: Vec::new() }
    }
}

impl Limits {
    /// What a host that is asked for nothing there takes without notice. Nothing of TCP: who forges SYNs would keep others out.
    fn default_rest() -> Quotas {
        quotas(&[(Dimension::Udp, 100_000, Some(200_000)), (Dimension::Icmp, 1_000, Some(2_000))])
    }
}

/// One budget for a whole neighbourhood of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// What all sources of a neighbourhood together may send.
    pub quotas: Quotas,
    /// How many connections all sources of a neighbourhood together may have open to services; nothing: as many as they like.
    pub connections: Option<u32>,
    /// Leading bits of an IPv4 address that make a neighbourhood, fewer than a source has.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that make a neighbourhood, fewer than a source has.
    pub ipv6_prefix: u8,
    /// Whether one with many sources over their limits shares one source's limits; see [`crate::escalation`].
    pub escalate: bool,
}

impl Default for Neighbours {
    fn default() -> Self {
        let quotas = quotas(&[(Dimension::Packets, 200_000, None), (Dimension::Syn, 2_000, None)]);
        Self { quotas, connections: None, ipv4_prefix: 24, ipv6_prefix: 48, escalate: true }
    }
}

/// Quotas from rates a second and bursts, in packets or bytes.
fn quotas(rates: &[(Dimension, u64, Option<u64>)]) -> Quotas {
    let mut quotas = Quotas::NONE;
    for &(dimension, amount, burst) in rates {
        let quota = Quota::new(dimension, Rate { amount, per: SECOND }, burst);
        quotas.set(quota.expect("the constants above are within the limits' bounds"));
    }
    quotas
}

/// Sources that get other limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name: `[a-z0-9][a-z0-9_-]{0,30}`, unique among classes.
    pub name: String,
    /// The sources; where classes nest, the longest prefix wins.
    pub sources: Vec<IpNet>,
    /// What each of the sources may send.
    pub quotas: Quotas,
    /// What verdicts on their packets do, where the gateway's mode and the service's are not more lenient.
    pub mode: Mode,
}

keywords! {
    /// Transport protocol of a service.
    #[derive(Default)]
    Protocol {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

keywords! {
    /// What a connection to a service must speak.
    #[derive(Default)]
    Require {
        /// Anything.
        #[default]
        Any = "any",
        /// TLS from the first byte on.
        Tls = "tls",
        /// QUIC.
        Quic = "quic",
    }
}

keywords! {
    /// A version of TLS.
    TlsVersion {
        /// TLS 1.0, RFC 2246.
        V1_0 = "1.0",
        /// TLS 1.1, RFC 4346.
        V1_1 = "1.1",
        /// TLS 1.2, RFC 5246.
        V1_2 = "1.2",
        /// TLS 1.3, RFC 8446.
        V1_3 = "1.3",
    }
}

keywords! {
    /// When SYN cookies answer for a service.
    #[derive(Default)]
    SynCookies {
        /// While there are more than 1,000 SYNs a second, or half of `total.syn` if that is less.
        #[default]
        Auto = "auto",
        /// For every SYN.
        Always = "always",
        /// Never.
        Off = "off",
    }
}

keywords! {
    /// What becomes of a connection whose opening was refused.
    #[derive(Default)]
    Refuse {
        /// The host's TCP resets it.
        #[default]
        Reset = "reset",
        /// Its segments are dropped, and it stays open until an application gives it up.
        Drop = "drop",
    }
}

/// A set of ports with requirements and limits of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name: `[a-z0-9][a-z0-9_-]{0,30}`, unique among services.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Local ports, without overlap, in the order of the file.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Local addresses, at most 8; empty: all.
    pub addresses: Vec<IpAddr>,
    /// What connections must speak.
    pub require: Require,
    /// The lowest TLS version that a client must offer.
    pub min_tls: Option<TlsVersion>,
    /// Names that a client may ask for, in lower case: exact ones and `*.example.com`; empty: any.
    pub server_names: Vec<String>,
    /// A PROXY protocol header comes before the first TLS record.
    pub proxy_protocol: bool,
    /// What becomes of connections that do not start as required.
    pub refuse: Refuse,
    /// When SYN cookies answer.
    pub syn_cookies: SynCookies,
    /// How many SYNs they answer, of all sources together; nothing: all.
    pub syn_answers: Option<Quota>,
    /// What all sources together may send.
    pub total: Quotas,
    /// What each source may send to this service.
    pub quotas: Quotas,
    /// Which connections it may have open.
    pub connections: Connections,
    /// What verdicts on packets for it do, where the gateway's mode and that of the source's class are not more lenient.
    pub mode: Mode,
}

/// Which connections a service may have open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many each source may have; nothing: as many as it likes.
    pub each: Option<u32>,
    /// How many all sources together may have.
    pub total: Option<u32>,
    /// After how long one is ended in which the server waits for a hello; nothing: never.
    pub hello_timeout: Option<Duration>,
    /// After how long one is ended in which neither side has sent a byte.
    pub idle_timeout: Option<Duration>,
}

impl Connections {
    /// Whether there is anything to look at.
    pub fn are_watched(&self) -> bool {
        *self != Self::default()
    }
}

impl Service {
    /// What holds where the file says nothing. No server that speaks TLS sends before it has a whole hello, and clients send theirs at once.
    pub(super) fn default_connections(require: Require) -> Connections {
        let hello_timeout = (require == Require::Tls).then_some(Duration::from_secs(30));
        Connections { hello_timeout, ..Connections::default() }
    }

    /// What can be counted towards a service: the dimensions of sources, but for those that its packets never have.
    pub const fn dimensions(protocol: Protocol, require: Require) -> &'static [Dimension] {
        use Dimension::{Bytes, Initial, Migration, Packets, Syn, Udp};
        match (protocol, require) {
            (Protocol::Tcp, _) => &[Packets, Bytes, Syn],
            (Protocol::Udp, Require::Quic) => &[Packets, Bytes, Udp, Initial, Migration],
            (Protocol::Udp, _) => &[Packets, Bytes, Udp],
        }
    }

    /// Whether a port is one of its own.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|ports| ports.contains(&port))
    }

    /// Whether what comes to an address and port of this host, by its protocol, is for it.
    pub fn takes(&self, at: SocketAddr) -> bool {
        self.has_port(at.port()) && (self.addresses.is_empty() || self.addresses.contains(&at.ip()))
    }

    /// How many SYNs cookies answer where the file says nothing: what takes about a tenth of a CPU's time.
    pub fn default_answers() -> Option<Quota> {
        quotas(&[(Dimension::Syn, 100_000, Some(20_000))]).get(Dimension::Syn)
    }

    /// What each source, and all of them together, may send where the file says nothing. A QUIC handshake costs the server
    /// more than a SYN does, and nothing but these two keeps forged sources from the gate's table.
    ///
    /// A source may open as many connections as it may send SYNs by default, and clients need two or three Initials for one:
    /// the hello, one more for key shares of a post-quantum group, and the acknowledgment of the server's (RFC 9000 section
    /// 14.1 has them all padded).
    pub(super) fn default_quotas(require: Require) -> (Quotas, Quotas) {
        let of = |initial: (u64, u64), migration: (u64, u64)| {
            quotas(&[
                (Dimension::Initial, initial.0, Some(initial.1)),
                (Dimension::Migration, migration.0, Some(migration.1)),
            ])
        };
        match require {
            Require::Quic => (of((600, 1_200), (50, 100)), of((5_000, 10_000), (1_000, 10_000))),
            Require::Any | Require::Tls => (Quotas::NONE, Quotas::NONE),
        }
    }
}

/// Sources without limits, and blocked sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Passed, whatever bans, `block` and limits say; sanity and the TLS gate hold.
    pub allow: Vec<IpNet>,
    /// Dropped, unless `allow` has them too.
    pub block: Vec<IpNet>,
}

/// When a source with strikes is banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Strikes that are a ban, at least 1: connections whose opening the TLS gate refused.
    pub strikes: u32,
    /// The time in which they count.
    pub within: Duration,
    /// Length of the first ban.
    pub first: Duration,
    /// How many times as long each further ban is, at least 1.
    pub factor: u32,
    /// No ban is longer; at least `first`.
    pub longest: Duration,
    /// Sources that are never banned.
    pub never: Vec<IpNet>,
}

impl Default for Ban {
    fn default() -> Self {
        Self {
            strikes: 100,
            within: Duration::from_secs(10),
            first: Duration::from_secs(60),
            factor: 4,
            longest: Duration::from_secs(24 * 3_600),
            never: Vec::new(),
        }
    }
}
