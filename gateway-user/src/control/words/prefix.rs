//! Addresses and networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network without host bits. As text, a prefix of full length is the bare address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNet);

/// A text that is not a [`Prefix`], or a network that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor an address with a length.
    #[error(
        "{0:?} is neither an address nor a prefix; write for example 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
    )]
    Syntax(String),
    /// Address bits are set behind the length.
    #[error("{given} has host bits set; write {network} for the network, or {address} for the address alone")]
    HostBits {
        /// As given.
        given: IpNet,
        /// The same without host bits.
        network: IpNet,
        /// The address alone.
        address: IpAddr,
    },
    /// An IPv4 address in the form of an IPv6 one, which no packet carries.
    #[error("{0} is an IPv4-mapped address and never on the wire; write the IPv4 prefix {1}")]
    Mapped(IpNet, IpNet),
}

impl Prefix {
    /// The network.
    pub const fn network(self) -> IpNet {
        self.0
    }
}

impl TryFrom<IpNet> for Prefix {
    type Error = PrefixError;

    fn try_from(given: IpNet) -> Result<Self, PrefixError> {
        if given.trunc() != given {
            let (network, address) = (given.trunc(), given.addr());
            return Err(PrefixError::HostBits { given, network, address });
        }
        if let IpNet::V6(net) = given
            && net.prefix_len() >= 96
            && let Some(v4) = net.addr().to_ipv4_mapped()
            && let Ok(v4) = IpNet::new(IpAddr::V4(v4), net.prefix_len() - 96)
        {
            return Err(PrefixError::Mapped(given, v4));
        }
        Ok(Self(given))
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        Self::try_from(net.map_err(|_| PrefixError::Syntax(text.to_owned()))?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}
