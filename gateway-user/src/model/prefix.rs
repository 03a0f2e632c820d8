//! Addresses and networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::wrong::{Wrong, quoted};

/// A network without host bits. As text, a prefix of full length is the bare address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNet);

/// Why a text is no [`Prefix`], or a network that cannot be one, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PrefixError(pub(crate) Wrong);

impl Prefix {
    /// The network.
    pub const fn network(self) -> IpNet {
        self.0
    }
}

impl TryFrom<IpNet> for Prefix {
    type Error = PrefixError;

    fn try_from(net: IpNet) -> Result<Self, PrefixError> {
        whole(net).map(Self).map_err(PrefixError)
    }
}

/// The network, if its bits beyond its length are zero and a packet's source can be in it.
fn whole(net: IpNet) -> Result<IpNet, Wrong> {
    let (address, length) = (net.addr(), net.prefix_len());
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
        && let Some(inner) = length.checked_sub(96)
    {
        let v4 = Ipv4Net::new(v4, inner).map_or_else(|_| v4.to_string(), |net| net.trunc().to_string());
        let message = format!(
            "{} is an IPv4 address mapped into IPv6, which packets do not carry",
            quoted(&net.to_string())
        );
        return Err(Wrong::new(message, format!("write {v4}")));
    }
    if net != net.trunc() {
        let message = format!("{} has bits set beyond its length", quoted(&net.to_string()));
        let help = format!("write {} for the prefix, or {address} for the address", net.trunc());
        return Err(Wrong::new(message, help));
    }
    Ok(net)
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        parse(text).and_then(whole).map(Self).map_err(PrefixError)
    }
}

/// An address, which stands for itself alone, or an address with a length.
fn parse(text: &str) -> Result<IpNet, Wrong> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        let help = "write an address or a prefix: 192.0.2.10, 198.51.100.0/24 or 2001:db8::/48";
        return Err(Wrong::new(format!("{} is no IP address or prefix", quoted(text)), help));
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    // `+8` would be a number for the standard library.
    let digits = |length: &&str| length.bytes().all(|byte| byte.is_ascii_digit());
    let number = length.map_or(Some(bits), |length| Some(length).filter(digits)?.parse::<u8>().ok());
    number.and_then(|length| IpNet::new(address, length).ok()).ok_or_else(|| {
        let message = format!("{} is no prefix length of {address}", quoted(length.unwrap_or_default()));
        Wrong::new(message, format!("write a number from 0 to {bits} after the slash"))
    })
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
