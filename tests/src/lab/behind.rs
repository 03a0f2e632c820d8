//! A server one hop behind the gateway's host, as a container or another machine is: the gateway's kernel has no sockets of
//! its connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::cable::Cable;
use super::namespace::Namespace;
use super::{FAR, Lab};

/// The address of the server behind.
pub const BEHIND_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The same for IPv6.
pub const BEHIND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2);
/// The addresses of the gateway's host on that cable.
const ROUTER: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 24),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1)), 64),
];

/// A namespace that the lab's server forwards to; it goes with the handle.
pub struct Behind {
    /// Where servers listen.
    pub namespace: Namespace,
}

impl Behind {
    /// Lays the cable, and lets the lab's server forward.
    ///
    /// # Errors
    /// Where the network cannot be set up.
    pub fn new(lab: &Lab) -> Result<Self> {
        let namespace = Namespace::new("behind")?;
        let cable = Cable {
            number: 3,
            near: lab.client_side().replace("client", "behind"),
            near_addresses: ROUTER,
            far_addresses: [(BEHIND_V4.into(), 24), (BEHIND_V6.into(), 64)],
        };
        // One of before goes with its namespace, but only in a while.
        let _ = lab.server.ip(&[format!("link del {}", cable.near)]);
        cable.lay(&lab.server, &namespace).context("cannot connect the server behind")?;
        lab.server.sysctl(&[("net/ipv4/conf/all/forwarding", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        namespace.ip(&ROUTER.map(|(router, _)| format!("route add default via {router} dev {FAR}")))?;
        Ok(Self { namespace })
    }
}
