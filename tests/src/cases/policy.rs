//! Policies of the table, written down in a few words.

use gateway_common::{
    abi::{ALL, Class, Holder, Listing, Live, STRANGERS, Service, Settings, cookies, gate, policy, refuse},
    env::LiveEntry as _,
    hash::{Key, Running},
    limit::rate::{Dimension, Instant, Limit, Rate, bit},
    packet::Address,
    source::finer::Finer,
    stage::reflection::{self, REFLECTORS},
    wire::hello::want,
};
use gateway_user::bans::table::source_of;
use gateway_user::host::Stand;
use ipnet::IpNet;
use std::net::IpAddr;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// So many packets or bytes a second, and so many at once.
///
/// # Panics
/// Where there can be no such limit.
#[must_use]
pub fn limit(dimension: Dimension, per_second: u64, burst: u64) -> Limit {
    Limit::new(dimension, Rate { amount: per_second, per: SECOND }, burst)
        .unwrap_or_else(|error| panic!("{per_second}/s with a burst of {burst}: {error:?}"))
}

/// What a stand can be told.
#[must_use]
pub trait Draft: Sized {
    /// Another mode.
    fn mode(self, mode: u32) -> Self;
    /// The mode of a service.
    fn service_mode(self, service: u32, mode: u32) -> Self;
    /// The mode of a class, after its limits.
    fn class_mode(self, class: u32, mode: u32) -> Self;
    /// A limit of every source.
    fn each(self, dimension: Dimension, limit: Limit) -> Self;
    /// A limit of a class's own; to be told after [`Self::each`].
    fn class(self, class: u32, dimension: Dimension, limit: Limit) -> Self;
    /// A limit of every neighbourhood.
    fn neighbours(self, dimension: Dimension, limit: Limit) -> Self;
    /// What all sources together have, of what is no service's; of UDP, half of it is kept for answers.
    fn rest(self, dimension: Dimension, limit: Limit) -> Self;
    /// What a prefix is; covering prefixes are the caller's to include.
    fn list(self, prefix: &str, flags: u32, class: u32) -> Self;
    /// A network in which sources have so many bits; covering prefixes are the caller's to include.
    fn finer(self, network: &str, number: u32, source: u8) -> Self;
    /// What was said live of a prefix; 0: nothing.
    fn live(self, prefix: &str, allow_until: Instant, ban_until: Instant) -> Self;
    /// The bucket that sources of a prefix share; to be told after [`Self::live`] of the same prefix.
    fn share(self, prefix: &str, key: u64, until: Instant) -> Self;
    /// A ban of a single source: an IPv4 address or an IPv6 /64.
    fn ban(self, source: &str, until: Instant) -> Self;
    /// A source that may have no more connections to a service (a whole IPv6 address: where sources are finer), or a neighbourhood (by its first address; service 0) to any; as with
    /// [`Self::full`] the end is the same for all.
    fn hold(self, source: &str, service: u32, until: Instant) -> Self;
    /// A service that may have no more connections.
    fn full(self, service: u32, until: Instant) -> Self;
    /// An address of the host, whose sockets are asked who asked for what comes from reflectors.
    fn local(self, address: &str) -> Self;
    /// A service; indices count from 1 in the order of these calls.
    fn serve(self, offer: Offer) -> Self;
}

impl Draft for Stand {
    fn mode(mut self, mode: u32) -> Self {
        self.settings.mode = mode;
        self
    }

    fn service_mode(mut self, service: u32, mode: u32) -> Self {
        self.settings.services[service as usize].mode = mode;
        self
    }

    fn class_mode(mut self, class: u32, mode: u32) -> Self {
        self.settings.classes[class as usize].mode = mode.into();
        self
    }

    fn each(mut self, dimension: Dimension, limit: Limit) -> Self {
        let everybody = &mut self.settings.classes[0];
        everybody.limits.each[dimension as usize] = limit;
        *everybody = Class::new(everybody.limits, everybody.own);
        self
    }

    fn class(mut self, class: u32, dimension: Dimension, limit: Limit) -> Self {
        let everybody = self.settings.classes[0].limits;
        let class = &mut self.settings.classes[class as usize];
        if class.own == 0 {
            class.limits = everybody;
        }
        class.limits.each[dimension as usize] = limit;
        *class = Class::new(class.limits, class.own | bit(dimension));
        self
    }

    fn neighbours(mut self, dimension: Dimension, limit: Limit) -> Self {
        self.settings.neighbours.each[dimension as usize] = limit;
        self.settings.neighbours_own |= u64::from(bit(dimension));
        self
    }

    fn rest(mut self, dimension: Dimension, limit: Limit) -> Self {
        let none = &mut self.settings.services[0];
        let of_strangers = if dimension == Dimension::Udp { limit.halved(dimension) } else { limit };
        none.total[STRANGERS].each[dimension as usize] = of_strangers;
        none.total[ALL].each[dimension as usize] = limit;
        none.totals |= bit(dimension);
        self
    }

    fn list(mut self, prefix: &str, flags: u32, class: u32) -> Self {
        let prefix = parse(prefix);
        self.settings.flags |= if prefix.addr().is_ipv4() { policy::LISTS_V4 } else { policy::LISTS_V6 };
        self.listings.insert(prefix, Listing { flags, class, finer: 0 });
        self
    }

    fn finer(mut self, network: &str, number: u32, source: u8) -> Self {
        let prefix = parse(network);
        let finer = Finer::new(number, prefix.prefix_len(), source)
            .unwrap_or_else(|| panic!("sources of /{source} in {network}"));
        self.settings.flags |= policy::LISTS_V6;
        self.listings.insert(prefix, Listing { flags: 0, class: 0, finer: finer.0 });
        self
    }

    fn live(mut self, prefix: &str, allow_until: Instant, ban_until: Instant) -> Self {
        self.live.insert(parse(prefix), Live { allow_until, ban_until, ..Live::NONE }.into());
        self
    }

    fn share(mut self, prefix: &str, shared_key: u64, shared_until: Instant) -> Self {
        let prefix = parse(prefix);
        let said =
            self.live.iter().find(|(other, _)| *other == prefix).map_or(Live::NONE, |(_, live)| live.read());
        self.live.insert(prefix, Live { shared_key, shared_until, ..said }.into());
        self
    }

    fn ban(mut self, source: &str, until: Instant) -> Self {
        self.bans.push((key_of(source), until));
        self
    }

    fn hold(mut self, source: &str, service: u32, until: Instant) -> Self {
        self.settings.services.iter_mut().skip(1).for_each(|one| one.connections = 1);
        let key = finer_key_of(&self, source).unwrap_or_else(|| key_of(source));
        self.holders.insert(Holder { key, service: service.into() });
        self.held_until = until;
        self
    }

    fn full(mut self, service: u32, until: Instant) -> Self {
        self.settings.services[service as usize].connections = 1;
        self.full.insert(service as u8);
        self.held_until = until;
        self
    }

    fn local(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap_or_else(|_| panic!("{address} is no address"));
        let settings = &mut self.settings;
        reflection::add_local(settings, address.into());
        settings.flags |= policy::REFLECTION;
        REFLECTORS.into_iter().for_each(|port| reflection::add(&mut settings.reflectors, port));
        self
    }

    fn serve(mut self, offer: Offer) -> Self {
        let key = self.key;
        offer.enter(&mut self.settings, key);
        self
    }
}

/// The key of a whole IPv6 address where sources are finer.
fn finer_key_of(stand: &Stand, address: &str) -> Option<u64> {
    let address = IpAddr::V6(address.parse().ok()?);
    let finer = stand.listings.longest(true, address.into())?.finer;
    (finer != 0).then(|| Finer(finer).key(address.into()))
}

/// The key of a single source.
fn key_of(source: &str) -> u64 {
    let prefix = source.parse().unwrap_or_else(|error| panic!("{source}: {error}"));
    source_of(prefix).unwrap_or_else(|| panic!("{source} is no single source"))
}

fn parse(prefix: &str) -> IpNet {
    prefix.parse().unwrap_or_else(|_| panic!("{prefix} is no prefix"))
}

/// A service to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Offer {
    row: usize,
    port: u16,
    gate: u32,
    wants: u8,
    cookies: u32,
    surge: Limit,
    answers: Limit,
    min_minor: u32,
    names: Vec<&'static str>,
    addresses: Vec<Address>,
    total: Vec<(Dimension, Limit)>,
    own: Vec<(Dimension, Limit)>,
}

impl Offer {
    /// On a TCP port.
    pub fn tcp(port: u16) -> Self {
        Self {
            row: 0,
            port,
            gate: gate::ANY,
            wants: 0,
            cookies: cookies::OFF,
            surge: Limit::NONE,
            answers: Limit::NONE,
            min_minor: 0,
            names: Vec::new(),
            addresses: Vec::new(),
            total: Vec::new(),
            own: Vec::new(),
        }
    }

    /// On a UDP port.
    pub fn udp(port: u16) -> Self {
        Self { row: 1, ..Self::tcp(port) }
    }

    /// On a TCP port, and TLS alone.
    pub fn tls(port: u16) -> Self {
        Self { gate: gate::TLS, ..Self::tcp(port) }
    }

    /// On a UDP port, and QUIC alone.
    pub fn quic(port: u16) -> Self {
        Self { gate: gate::QUIC, ..Self::udp(port) }
    }

    /// Behind a PROXY protocol header.
    pub fn proxied(mut self) -> Self {
        self.wants |= want::PROXY;
        self
    }

    /// With SYN cookies.
    pub fn cookies(mut self, cookies: u32) -> Self {
        self.cookies = cookies;
        self
    }

    /// More SYNs than this turn them on.
    pub fn surge(mut self, limit: Limit) -> Self {
        self.surge = limit;
        self
    }

    /// SYNs that cookies answer; all if never told.
    pub fn answers(mut self, limit: Limit) -> Self {
        self.answers = limit;
        self
    }

    /// Offering TLS 1.`minor - 1` or more.
    pub fn min_minor(mut self, minor: u32) -> Self {
        self.wants |= want::VERSION;
        self.min_minor = minor;
        self
    }

    /// For these server names: whole ones, then wildcards without their star.
    pub fn named(mut self, names: &[&'static str]) -> Self {
        self.wants |= want::NAME;
        self.names = names.to_vec();
        self
    }

    /// On this address; on all if never told.
    ///
    /// # Panics
    /// Where it is none.
    pub fn on(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap_or_else(|_| panic!("{address} is no address"));
        self.addresses.push(address.into());
        self
    }

    /// What all sources together have.
    pub fn total(mut self, dimension: Dimension, limit: Limit) -> Self {
        self.total.push((dimension, limit));
        self
    }

    /// What every source has towards it.
    pub fn own(mut self, dimension: Dimension, limit: Limit) -> Self {
        self.own.push((dimension, limit));
        self
    }

    fn enter(self, settings: &mut Settings, key: Key) {
        let index = 1 + settings.services[1..].iter().take_while(|service| is_used(service)).count();
        let regions = settings.services[1..index].iter().filter(|service| service.own != 0).count();
        let meets = settings.services[1..index].iter().any(|service| service.gate == gate::TLS);
        let service = &mut settings.services[index];
        service.gate = self.gate;
        service.wants = u32::from(self.wants);
        service.min_minor = self.min_minor;
        service.cookies = self.cookies;
        service.surge = self.surge;
        service.answers = self.answers;
        service.all_names = self.names.len() as u32;
        service.whole_names = self.names.iter().filter(|name| !name.starts_with('.')).count() as u32;
        for (value, name) in service.names.iter_mut().zip(&self.names) {
            *value = Running::of(key, name.as_bytes()).0;
        }
        // Marks the place as used, too.
        service.refuse = refuse::RESET;
        service.address_count = self.addresses.len() as u32;
        for (place, Address { high, low }) in service.addresses.iter_mut().zip(self.addresses) {
            *place = [high, low];
        }
        for (dimension, limit) in self.total {
            service.total[ALL].each[dimension as usize] = limit;
            service.totals |= bit(dimension);
        }
        service.reserves = u32::from(self.gate == gate::TLS || (self.gate == gate::QUIC && meets));
        service.total[STRANGERS] =
            if service.reserves == 0 { service.total[ALL] } else { service.total[ALL].halved() };
        for (dimension, limit) in self.own {
            service.limits.each[dimension as usize] = limit;
            service.own |= bit(dimension);
            service.region = regions as u32;
        }
        join(settings, self.row, self.port, index as u8);
    }
}

fn is_used(service: &Service) -> bool {
    service.refuse != 0
}

/// Adds a service to those of a port.
fn join(settings: &mut Settings, row: usize, port: u16, index: u8) {
    let free = 1 + settings.groups[1..].iter().take_while(|group| group[0] != 0).count();
    let group = &mut settings.group_by_port[row][usize::from(port)];
    if *group == 0 {
        *group = free as u8;
    }
    let members = &mut settings.groups[usize::from(*group)];
    let last = members.iter_mut().find(|member| **member == 0).expect("room for a service on this port");
    *last = index;
}
