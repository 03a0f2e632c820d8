//! The policy that a capture is judged under: a configuration file's, or a few words of the command line.

use std::{collections::BTreeMap, str::FromStr};

use gateway_common::hash::Key;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    config::{Config, Connections, Protocol, Refuse, Report, Require, Service, SynCookies},
    host::{Sets, Stand},
    model::{Mode, Quotas},
    policy::{self, PolicyError, PolicySet, Rows},
};

/// `tls:443,8443`, `quic:443`, `any:tcp:22`: what a service requires, and on which ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChoice {
    require: Require,
    ports: Vec<std::ops::RangeInclusive<u16>>,
}

/// What every port requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AllPorts {
    /// TLS on every TCP port.
    Tls,
    /// QUIC on every UDP port.
    Quic,
}

impl FromStr for PolicyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no service; write tls:443 or tls:443,8000-8099 or quic:443");
        let (require, ports) = text.split_once(':').ok_or_else(wrong)?;
        let require = match require {
            "tls" => Require::Tls,
            "quic" => Require::Quic,
            _ => return Err(wrong()),
        };
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => Ok(port(first)?..=port(last)?),
            None => port(text).map(|port| port..=port),
        };
        let ports: Vec<_> = ports.split(',').map(range).collect::<Result<_, _>>()?;
        if ports.iter().any(std::ops::RangeInclusive::is_empty) {
            return Err(wrong());
        }
        Ok(Self { require, ports })
    }
}

impl From<AllPorts> for PolicyChoice {
    fn from(all: AllPorts) -> Self {
        let require = match all {
            AllPorts::Tls => Require::Tls,
            AllPorts::Quic => Require::Quic,
        };
        Self { require, ports: vec![0..=u16::MAX] }
    }
}

impl PolicyChoice {
    /// Whether two of them name one port of one protocol.
    fn overlaps(&self, other: &Self) -> bool {
        let apart = |one: &std::ops::RangeInclusive<u16>| {
            other.ports.iter().all(|other| one.end() < other.start() || other.end() < one.start())
        };
        self.require == other.require && !self.ports.iter().all(apart)
    }

    /// Whether two of several have a port in common.
    pub fn has_overlap(choices: &[Self]) -> bool {
        choices
            .iter()
            .enumerate()
            .any(|(index, choice)| choices[..index].iter().any(|other| other.overlaps(choice)))
    }

    /// The services as a configuration file has them that says no more of them.
    ///
    /// # Errors
    /// Where such a file would be wrong.
    pub fn as_configured(choices: &[Self]) -> Result<Vec<Service>, Report> {
        let text: String = choices.iter().enumerate().map(|(index, choice)| choice.section(index)).collect();
        Config::parse("--service", &text).map(|config| config.services)
    }

    fn section(&self, index: usize) -> String {
        let Service { name, protocol, .. } = self.service(index);
        let (protocol, require) = (protocol.name(), self.require.name());
        let ports: Vec<String> =
            self.ports.iter().map(|ports| format!("\"{}-{}\"", ports.start(), ports.end())).collect();
        let ports = ports.join(", ");
        format!(
            "[[service]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nports = [{ports}]\nrequire = \"{require}\"\n"
        )
    }

    /// A configuration that has these services, and no limits.
    pub fn configuration(choices: &[Self]) -> Config {
        let mut config = Config::default();
        config.limits.quotas = Quotas::NONE;
        config.limits.rest = Quotas::NONE;
        config.neighbours.quotas = Quotas::NONE;
        config.services = choices.iter().enumerate().map(|(index, choice)| choice.service(index)).collect();
        config
    }

    fn service(&self, index: usize) -> Service {
        let word = self.require.name();
        Service {
            name: if index == 0 { word.to_owned() } else { format!("{word}-{}", index + 1) },
            protocol: if self.require == Require::Quic { Protocol::Udp } else { Protocol::Tcp },
            ports: self.ports.clone(),
            addresses: Vec::new(),
            require: self.require,
            min_tls: None,
            server_names: Vec::new(),
            proxy_protocol: false,
            refuse: Refuse::Drop,
            syn_cookies: SynCookies::Off,
            syn_answers: Service::default_answers(),
            total: Quotas::NONE,
            quotas: Quotas::NONE,
            connections: Connections::default(),
            mode: Mode::Enforce,
        }
    }
}

/// What is laid down before the first packet: a configuration in enforce mode, and tables of this size. Also the names of
/// its services by their index.
///
/// # Errors
/// Where the configuration does not fit the packet path's tables.
pub fn stand(config: &Config, sets: Sets) -> Result<(Stand, Vec<String>), PolicyError> {
    let key = Key(rand::random());
    let mut rows = Rows::default();
    let settings = policy::compile(config, Mode::Enforce, &BTreeMap::new(), &mut rows, 1, key)?;
    let PolicySet { settings, prefixes } = PolicySet::new(settings, policy::prefixes(config));
    let mut stand = Stand { settings, key, sets, ..Stand::new() };
    for &(octets, length, listing) in &prefixes.v4 {
        stand.listings.insert(IpNet::V4(Ipv4Net::new_assert(octets.into(), length)), listing);
    }
    for &(octets, length, listing) in &prefixes.v6 {
        stand.listings.insert(IpNet::V6(Ipv6Net::new_assert(octets.into(), length)), listing);
    }
    let last = rows.0.values().max().copied().unwrap_or_default();
    let mut names = vec![String::new(); usize::from(last) + 1];
    for (name, row) in rows.0 {
        names[usize::from(row)] = name;
    }
    Ok((stand, names))
}
