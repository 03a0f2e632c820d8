//! A packet that was dropped.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::Outcome;

/// A packet that was dropped, or in monitor mode would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// What happened to it.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// The interface that it came in by.
    pub interface: String,
    /// Its service, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its source, unless its header makes no sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Its source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Its destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
    /// Its destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the protocol's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Bytes of the whole frame.
    pub length: u32,
    /// Whether it begins with an Ethernet header; else with that of IP.
    pub ethernet: bool,
}

/// `limit_syn: 192.0.2.9:4711 → 203.0.113.1:443 tcp, 74 bytes, api, eth0`.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = if self.verdict == Outcome::WouldDrop { " (monitored, and passed)" } else { "" };
        write!(f, "{}{passed}: ", self.reason)?;
        let end = |address: Option<IpAddr>, port: Option<u16>| match (address, port) {
            (Some(IpAddr::V6(address)), Some(port)) => format!("[{address}]:{port}"),
            (Some(address), Some(port)) => format!("{address}:{port}"),
            (Some(address), None) => address.to_string(),
            (None, _) => "?".to_owned(),
        };
        match self.source {
            Some(_) => write!(
                f,
                "{} → {}",
                end(self.source, self.source_port),
                end(self.destination, self.destination_port)
            )?,
            None => f.write_str("a frame that is not understood")?,
        }
        if let Some(protocol) = &self.protocol {
            write!(f, " {protocol}")?;
        }
        write!(f, ", {} bytes", self.length)?;
        if let Some(service) = &self.service {
            write!(f, ", {service}")?;
        }
        write!(f, ", {}", self.interface)
    }
}
