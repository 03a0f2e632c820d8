//! From configuration and live changes to what the kernel takes.

mod listings;
mod modes;
mod set;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use gateway_common::{
    abi::{
        ADDRESSES, CLASSES, Class as ClassValue, Limits as LimitsValue, NAMES, PORT_GROUPS, PORT_WORDS,
        SERVICE_REGIONS, SERVICES, SERVICES_PER_PORT, Service as ServiceValue, Settings, cookies, gate,
        policy, refuse,
    },
    hash::{Key, Running},
    limit::rate::{Dimension, FRAME_MAX, Instant, Limit, SECOND},
    packet::Address,
    stage::reflection::{self, REFLECTORS},
    wire::hello::want,
};
use thiserror::Error;
use zerocopy::FromZeros;

use crate::{
    config::{
        Config, Connections, DropUnasked, Protocol, Reflection, Refuse, Require, ReservedSources, Sanity,
        Service, SynCookies, TlsVersion,
    },
    host::zeroed_settings,
    model::{LimitScope, Mode, Quota, Quotas},
};

use modes::mode_value;

pub use listings::prefixes;
pub use modes::{mode_of, modes, set_modes};
pub use set::PolicySet;

/// Why a valid configuration cannot be a policy.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// More services with limits of their own for each source than there are regions.
    #[error(
        "{0} services have limits of their own for each source; at most {SERVICE_REGIONS} can; use total.* for some"
    )]
    Regions(usize),
    /// Ports are shared by too many different sets of services.
    #[error("the services share ports in more than {PORT_GROUPS} different ways; merge port ranges")]
    Groups,
    /// More services were configured since the daemon started than it has counters for.
    #[error("more than {SERVICES} different services since the gateway was started; restart it")]
    Services,
}

/// Limits that take the place of the configuration's; nothing: the limit is lifted.
pub type Overrides = BTreeMap<(LimitScope, Dimension), Option<Quota>>;

/// Which counter row each service has: the same for as long as the counters live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<String, u8>);

impl Rows {
    /// The row of a service, given now if it has none.
    fn of(&mut self, name: &str) -> Result<usize, PolicyError> {
        if let Some(&row) = self.0.get(name) {
            return Ok(usize::from(row));
        }
        let free = (1..SERVICES as u8).find(|row| !self.0.values().any(|used| used == row));
        let row = free.ok_or(PolicyError::Services)?;
        self.0.insert(name.to_owned(), row);
        Ok(usize::from(row))
    }
}

/// All places of a configuration where limits can be, with the limits there.
pub fn places(config: &Config) -> Vec<(LimitScope, &Quotas)> {
    let Config { limits, neighbours, classes, services, .. } = config;
    let mut places = vec![
        (LimitScope::Default, &limits.quotas),
        (LimitScope::Neighbours, &neighbours.quotas),
        (LimitScope::Rest, &limits.rest),
    ];
    places.extend(classes.iter().map(|class| (LimitScope::Class(class.name.clone()), &class.quotas)));
    for service in services {
        places.push((LimitScope::Service(service.name.clone()), &service.quotas));
        places.push((LimitScope::Total(service.name.clone()), &service.total));
    }
    places
}

/// Compiles everything but prefixes, which [`prefixes`] does, into a policy for tables with this key.
///
/// # Errors
/// Where it does not fit the kernel's tables.
pub fn compile(
    config: &Config,
    mode: Mode,
    overrides: &Overrides,
    rows: &mut Rows,
    generation: u64,
    key: Key,
) -> Result<Box<Settings>, PolicyError> {
    let mut settings = zeroed_settings();
    settings.generation = generation;
    settings.mode = mode_value(mode);
    let quotas = |place: LimitScope, quotas: &Quotas| overridden(&place, quotas, overrides);
    let defaults = quotas(LimitScope::Default, &config.limits.quotas);
    let neighbours = quotas(LimitScope::Neighbours, &config.neighbours.quotas);
    settings.source_mask_v4 = u64::from(mask32(config.limits.ipv4_prefix));
    settings.source_mask_v6 = mask64(config.limits.ipv6_prefix);
    settings.neighbour_mask_v4 = u64::from(mask32(config.neighbours.ipv4_prefix));
    settings.neighbour_mask_v6 = mask64(config.neighbours.ipv6_prefix);
    (settings.neighbours, settings.neighbours_own) = limits(&neighbours);
    settings.classes = [ClassValue::new(limits(&defaults).0, 0); CLASSES];
    for (value, class) in settings.classes.iter_mut().skip(1).zip(&config.classes) {
        let own = quotas(LimitScope::Class(class.name.clone()), &class.quotas);
        *value = ClassValue { mode: mode_value(class.mode).into(), ..class_value(&defaults, &own) };
    }
    // The first service stands for none.
    settings.services[0] = service_of_none(
        &quotas(LimitScope::Rest, &config.limits.rest),
        config.reflection.drop != DropUnasked::Off,
    );
    let meets = config.gated().next().is_some();
    let mut region = 0;
    let mut placed = Vec::new();
    for service in &config.services {
        let row = rows.of(&service.name)?;
        let own = limits(&quotas(LimitScope::Service(service.name.clone()), &service.quotas));
        let total = quotas(LimitScope::Total(service.name.clone()), &service.total);
        settings.services[row] = ServiceValue {
            limits: own.0,
            own: own.1 as u32,
            region,
            connections: are_limited(config, service).into(),
            ..service_value(service, &total, key, meets)
        };
        region += u32::from(own.1 != 0);
        placed.push((row, service));
    }
    if region as usize > SERVICE_REGIONS {
        return Err(PolicyError::Regions(region as usize));
    }
    groups(&mut settings, &placed)?;
    settings.flags |= reflectors(&mut settings.reflectors, &config.reflection);
    settings.flags |= clock(&settings);
    Ok(settings)
}

/// Whether somebody may have no more than so many connections to a service.
pub fn are_limited(config: &Config, service: &Service) -> bool {
    let Connections { each, total, .. } = service.connections;
    service.protocol == Protocol::Tcp
        && (each.is_some() || total.is_some() || config.neighbours.connections.is_some())
}

/// The longest that a kernel's tick can be: HZ is at least 100 (kernel/Kconfig.hz).
pub(crate) const TICK_MAX: Instant = SECOND / 100;
/// How many ticks a burst must stand for, so that what a late reading holds back for a tick is no great part of it.
const TICKS: Instant = 8;

/// The flag that every packet is to have a reading of the clock of its own, if some limit would be held back by a late one:
/// its burst stands for a few ticks alone, or is used up by a single packet.
fn clock(settings: &Settings) -> u32 {
    let services = settings.services.iter().flat_map(|service| service.total.iter().chain([&service.limits]));
    let classes = settings.classes.iter().map(|class| &class.limits);
    let is_fine = |limit: &Limit, dimension: Dimension| {
        let largest = limit.price(dimension, FRAME_MAX as u32);
        limit.is_limit() && limit.burst < (largest + TICK_MAX).max(TICKS * TICK_MAX)
    };
    let has_fine = |limits: &LimitsValue| {
        Dimension::ALL.into_iter().any(|dimension| is_fine(limits.of(dimension), dimension))
    };
    let answers = |service: &ServiceValue| is_fine(&service.answers.halved(Dimension::Syn), Dimension::Syn);
    let any = services.chain(classes).chain([&settings.neighbours]).any(has_fine)
        || settings.services.iter().any(answers);
    if any { policy::CLOCK_PER_PACKET } else { 0 }
}

/// Writes down the ports that reflectors answer from; gives the flags that say who is asked.
fn reflectors(ports: &mut [u64; PORT_WORDS], section: &Reflection) -> u32 {
    let extra = section.ports_extra.iter().cloned().flatten();
    REFLECTORS.into_iter().chain(extra).for_each(|port| reflection::add(ports, port));
    let allowed = section.ports_allow.iter().cloned().flatten();
    allowed.for_each(|port| reflection::remove(ports, port));
    match section.drop {
        DropUnasked::Auto => policy::REFLECTION,
        DropUnasked::Always => policy::REFLECTION | policy::REFLECTION_FORWARDING,
        DropUnasked::Off => 0,
    }
}

/// Writes down the addresses of this host, as many as there is room for.
pub fn set_locals(settings: &mut Settings, addresses: &[IpAddr]) {
    reflection::set_locals(settings, addresses.iter().map(|address| Address::from(*address)));
}

/// Lets sources in what IPv4 has reserved come, where the configuration says so or this host has such an address itself.
pub fn let_reserved(settings: &mut Settings, sanity: Sanity, addresses: &[IpAddr]) {
    let is_reserved = |address: &IpAddr| match address {
        IpAddr::V4(address) => matches!(address.octets()[0], 0 | 240..),
        IpAddr::V6(_) => false,
    };
    let may_come = match sanity.reserved_sources {
        ReservedSources::Auto => addresses.iter().any(is_reserved),
        ReservedSources::Pass => true,
        ReservedSources::Drop => false,
    };
    if may_come {
        settings.flags |= policy::RESERVED_SOURCES;
    }
}

/// Writes down which segments this host takes by the interfaces of counter rows.
pub fn set_segments(settings: &mut Settings, segments: &[[u16; 2]]) {
    for (place, segments) in settings.segments.iter_mut().zip(segments) {
        *place = *segments;
    }
}

/// The quotas of a place, live changes in the place of what they change. A lifted quota stands as lifted.
pub fn overridden(place: &LimitScope, quotas: &Quotas, overrides: &Overrides) -> Quotas {
    let mut result = *quotas;
    for dimension in Dimension::ALL {
        match overrides.get(&(place.clone(), dimension)) {
            Some(Some(quota)) => result.set(*quota),
            Some(None) => result.lift(dimension),
            None => {}
        }
    }
    result
}

pub(crate) fn mask32(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

pub(crate) fn mask64(length: u8) -> u64 {
    u64::MAX.checked_shl(64 - u32::from(length)).unwrap_or(0)
}

/// Limits, and the bits of the dimensions in which there is something to hold or that are lifted.
fn limits(quotas: &Quotas) -> (LimitsValue, u64) {
    let mut value = LimitsValue::default();
    let mut own = 0;
    for dimension in Dimension::ALL {
        if let Some(quota) = quotas.get(dimension) {
            value.each[dimension as usize] = quota.limit();
        }
        if quotas.get(dimension).is_some() || quotas.is_lifted(dimension) {
            own |= 1 << dimension as u32;
        }
    }
    (value, own)
}

/// A class has the default where it says nothing.
fn class_value(defaults: &Quotas, quotas: &Quotas) -> ClassValue {
    let (mut value, own) = limits(quotas);
    let (default, _) = limits(defaults);
    for dimension in Dimension::ALL {
        if own & (1 << dimension as u32) == 0 {
            value.each[dimension as usize] = default.each[dimension as usize];
        }
    }
    ClassValue::new(value, own as u32)
}

/// Everything that is no service's. Where sockets are asked whether they wait for an answer by UDP, half of its burst is kept for what
/// they do.
fn service_of_none(total: &Quotas, asks: bool) -> ServiceValue {
    let (total, totals) = limits(total);
    let mut strangers = total;
    if asks {
        strangers.each[Dimension::Udp as usize] = total.of(Dimension::Udp).halved(Dimension::Udp);
    }
    ServiceValue { total: [strangers, total], totals: totals as u32, ..FromZeros::new_zeroed() }
}

/// A service without limits of its own for each source. `meets`: this host gets to know clients, which the TLS gate alone does.
fn service_value(service: &Service, total: &Quotas, key: Key, meets: bool) -> ServiceValue {
    let (total, totals) = limits(total);
    let mut addresses = [[0; 2]; ADDRESSES];
    for (value, address) in addresses.iter_mut().zip(&service.addresses) {
        let Address { high, low } = Address::from(*address);
        *value = [high, low];
    }
    let (wildcards, whole): (Vec<_>, Vec<_>) =
        service.server_names.iter().partition(|name| name.starts_with('*'));
    let mut names = [0; NAMES];
    let hashed = whole.iter().chain(&wildcards).map(|name| name.trim_start_matches('*'));
    for (value, name) in names.iter_mut().zip(hashed) {
        *value = Running::of(key, name.as_bytes()).0;
    }
    let wants = [
        (want::PROXY, service.proxy_protocol),
        (want::VERSION, service.min_tls.is_some()),
        (want::NAME, !service.server_names.is_empty()),
    ];
    let reserves = meets && service.require != Require::Any && totals != 0;
    ServiceValue {
        total: [if reserves { total.halved() } else { total }, total],
        limits: LimitsValue::default(),
        addresses,
        address_count: service.addresses.len().min(ADDRESSES) as u32,
        gate: match service.require {
            Require::Any => gate::ANY,
            Require::Tls => gate::TLS,
            Require::Quic => gate::QUIC,
        },
        own: 0,
        totals: totals as u32,
        region: 0,
        names,
        wants: wants.iter().filter(|(_, wanted)| *wanted).map(|(bit, _)| u32::from(*bit)).sum(),
        min_minor: service.min_tls.map_or(0, minor),
        whole_names: whole.len() as u32,
        all_names: service.server_names.len() as u32,
        cookies: match service.syn_cookies {
            SynCookies::Off => cookies::OFF,
            SynCookies::Auto => cookies::AUTO,
            SynCookies::Always => cookies::ALWAYS,
        },
        surge: surge(total.of(Dimension::Syn)),
        answers: service.syn_answers.map_or(Limit::NONE, |quota| quota.limit()),
        reserves: u32::from(reserves),
        refuse: match service.refuse {
            Refuse::Reset if service.require == Require::Tls => refuse::RESET,
            Refuse::Reset | Refuse::Drop => refuse::DROP,
        },
        connections: 0,
        mode: mode_value(service.mode),
    }
}

/// SYNs a second above which cookies answer: what a host takes without notice, but for a service with a small total no more
/// than half of that, so that the total is not used up first. A second's worth may come at once.
fn surge(total: &Limit) -> Limit {
    const SURGE: u64 = 1_000;
    let cost = (SECOND / SURGE).max(total.cost * 2);
    Limit { cost, burst: SECOND.max(cost) }
}

/// The lower byte of a version on the wire (RFC 8446 section 4.2.1).
const fn minor(version: TlsVersion) -> u32 {
    match version {
        TlsVersion::V1_0 => 1,
        TlsVersion::V1_1 => 2,
        TlsVersion::V1_2 => 3,
        TlsVersion::V1_3 => 4,
    }
}

/// Gives every port the set of services that share it.
fn groups(settings: &mut Settings, placed: &[(usize, &Service)]) -> Result<(), PolicyError> {
    let mut sets: HashMap<Vec<u8>, u8> = HashMap::new();
    for (protocol, row) in [(Protocol::Tcp, 0), (Protocol::Udp, 1)] {
        let mut by_port: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        for (index, service) in placed.iter().filter(|(_, service)| service.protocol == protocol) {
            for port in service.ports.iter().cloned().flatten() {
                by_port.entry(port).or_default().push(*index as u8);
            }
        }
        for (port, set) in by_port {
            let next = sets.len() + 1;
            let group = match sets.get(&set) {
                Some(&group) => group,
                None if next < PORT_GROUPS => {
                    settings.groups[next][..set.len().min(SERVICES_PER_PORT)]
                        .copy_from_slice(&set[..set.len().min(SERVICES_PER_PORT)]);
                    sets.insert(set, next as u8);
                    next as u8
                }
                None => return Err(PolicyError::Groups),
            };
            settings.group_by_port[row][usize::from(port)] = group;
        }
    }
    Ok(())
}
