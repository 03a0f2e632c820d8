//! What connections are held to, out of a configuration.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use gateway_common::{
    abi::{Holder, Listing, listing},
    packet::{Address, Packet},
    source::{self, finer::Finer},
};
use ipnet::IpNet;

use crate::{
    config::{Config, Connections, Protocol, Service},
    model::Mode,
    policy::{Rows, mask32, mask64},
    prefixes::Prefixes,
};

/// What connections to the host's services are held to.
#[derive(Debug)]
pub struct Rules {
    services: Vec<Rule>,
    /// How many all sources of a neighbourhood together may have open, to whichever services.
    pub(super) neighbours: Option<u32>,
    sources: Masks,
    neighbourhoods: Masks,
    prefixes: Arc<Prefixes<Listing>>,
    /// What is trusted beside that, for now.
    trusted: Vec<IpNet>,
    /// Classes whose connections are not ended.
    lenient: Vec<u32>,
    /// Whether connections are ended: in monitor mode it is only looked.
    pub ends: bool,
}

/// What those to one service are.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its counter row.
    pub(super) row: u8,
    service: Service,
}

impl Rule {
    /// Which connections the service may have open.
    pub(super) const fn connections(&self) -> &Connections {
        &self.service.connections
    }
}

/// Which bits of an address count, of IPv4 and of the upper half of IPv6.
#[derive(Clone, Copy, Debug)]
struct Masks(u64, u64);

/// What a source is to the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has looked yet.
    Unknown,
    /// No limit holds it.
    Trusted,
    /// It is of a class: its neighbourhood's limits do not hold it.
    Classed,
    /// All do.
    Other,
}

/// The services whose connections are looked at.
pub fn watched(config: &Config) -> impl Iterator<Item = &Service> {
    let has_neighbours = config.neighbours.connections.is_some();
    let is_tcp = |service: &&Service| service.protocol == Protocol::Tcp && service.mode != Mode::Off;
    let tcp = config.services.iter().filter(is_tcp);
    tcp.filter(move |service| has_neighbours || service.connections.are_watched())
}

impl Rules {
    /// Those of a configuration; nothing where there is nothing to look at.
    #[must_use]
    pub fn of(
        config: &Config,
        rows: &Rows,
        mode: Mode,
        prefixes: &Arc<Prefixes<Listing>>,
        trusted: Vec<IpNet>,
    ) -> Option<Self> {
        let services: Vec<_> = watched(config)
            .filter_map(|service| Some(Rule { row: *rows.0.get(&service.name)?, service: service.clone() }))
            .collect();
        let masks = |v4, v6| Masks(mask32(v4).into(), mask64(v6));
        (mode != Mode::Off && !services.is_empty()).then(|| Self {
            services,
            neighbours: config.neighbours.connections,
            sources: masks(config.limits.ipv4_prefix, config.limits.ipv6_prefix),
            neighbourhoods: masks(config.neighbours.ipv4_prefix, config.neighbours.ipv6_prefix),
            prefixes: Arc::clone(prefixes),
            trusted,
            lenient: lenient(config),
            ends: mode == Mode::Enforce,
        })
    }

    /// Whether there are limits on how many connections there may be, and not on time alone.
    #[must_use]
    pub fn have_limits(&self) -> bool {
        let mut services = self.services.iter().map(Rule::connections);
        self.neighbours.is_some() || services.any(|one| one.each.is_some() || one.total.is_some())
    }

    /// Whether there are limits on time.
    #[must_use]
    pub fn have_timeouts(&self) -> bool {
        let mut services = self.services.iter().map(Rule::connections);
        services.any(|one| one.hello_timeout.is_some() || one.idle_timeout.is_some())
    }

    /// The rule of the service at an address of this host, if it has one.
    pub(super) fn of_service(&self, at: SocketAddr) -> Option<&Rule> {
        self.services.iter().find(|rule| rule.service.takes(at))
    }

    /// A source towards a service.
    pub(super) fn source(&self, peer: IpAddr, row: u8) -> Holder {
        let finer = self.prefixes.longest(peer).map_or(0, |listing| listing.finer);
        let key = if finer == 0 { self.sources.key(peer) } else { Finer(finer).key(peer.into()) };
        Holder { key, service: row.into() }
    }

    /// A neighbourhood.
    pub(super) fn neighbourhood(&self, peer: IpAddr) -> Holder {
        Holder { key: self.neighbourhoods.key(peer), service: 0 }
    }

    /// Whether a connection to a service is ended, as far as its and the peer's modes go.
    pub(super) fn may_end(&self, rule: &Rule, peer: IpAddr) -> bool {
        let class = self.prefixes.longest(peer).map_or(0, |listing| listing.class);
        rule.service.mode == Mode::Enforce && !self.lenient.contains(&class)
    }

    /// What a source is to the limits, as the packet path has it.
    pub(super) fn standing(&self, peer: IpAddr) -> Standing {
        let listing = self.prefixes.longest(peer);
        let is_allowed = listing.is_some_and(|listing| listing.flags & listing::ALLOW != 0);
        if is_allowed || self.trusted.iter().any(|net| net.contains(&peer)) {
            Standing::Trusted
        } else if listing.is_some_and(|listing| listing.class != 0) {
            Standing::Classed
        } else {
            Standing::Other
        }
    }
}

/// Indices of the classes that are not in enforce mode; the first is everybody else.
fn lenient(config: &Config) -> Vec<u32> {
    let classes = (1..).zip(&config.classes);
    classes.filter(|(_, class)| class.mode != Mode::Enforce).map(|(index, _)| index).collect()
}

impl Masks {
    /// The key of an address, as the packet path reckons it.
    fn key(self, peer: IpAddr) -> u64 {
        let (source, ipv6) = (Address::from(peer), peer.is_ipv6());
        let from_v4 = !ipv6 || source.embeds_v4();
        source::held_key(&Packet { source, ipv6, from_v4, ..Packet::default() }, self.0, self.1)
    }
}
