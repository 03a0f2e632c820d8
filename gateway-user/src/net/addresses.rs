//! The addresses of this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;

/// All addresses of all interfaces that somebody beyond the link could send to, each once; those of `first` before the others.
///
/// # Errors
/// When the kernel does not tell them.
pub fn addresses<'a>(first: impl Iterator<Item = &'a str>) -> Result<Vec<IpAddr>, nix::Error> {
    let first: Vec<&str> = first.collect();
    let mut interfaces: Vec<_> = getifaddrs()?.collect();
    interfaces.sort_by_key(|interface| !first.contains(&interface.interface_name.as_str()));
    let mut found = Vec::new();
    for address in interfaces.into_iter().filter_map(|interface| interface.address) {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()));
        let reachable = v4.or(v6).filter(is_reachable);
        found.extend(reachable.filter(|address| !found.contains(address)));
    }
    Ok(found)
}

/// Neither loopback nor of the link alone.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !Ipv4Addr::is_loopback(address) && !Ipv4Addr::is_link_local(address),
        IpAddr::V6(address) => !Ipv6Addr::is_loopback(address) && !Ipv6Addr::is_unicast_link_local(address),
    }
}
