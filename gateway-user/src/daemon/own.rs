//! Telling the program what of the traffic is this host's own.

use std::{collections::HashSet, fs};

use anyhow::{Context as _, Result};
use gateway_common::abi::Tunnel;

use super::{
    part::own::{PORT_RANGE, port_range, ports, tunnel},
    state::Gateway,
};
use crate::net;

impl Gateway {
    /// Looks at listeners, connected UDP sockets and tunnels, and tells the program what has changed.
    pub(super) fn follow_own(&mut self) {
        let trouble = self.tell_own().err().map(|error| {
            format!(
                "cannot tell what of the traffic is this host's own ({error:#}): its downloads and tunnels are held to the limits of their sources"
            )
        });
        self.alarm("own traffic", trouble);
    }

    fn tell_own(&mut self) -> Result<()> {
        let range = fs::read_to_string(PORT_RANGE).context(PORT_RANGE)?;
        let peers = net::tunnel_peers()?;
        // A kernel without `udp_diag` has the rest.
        let connected = net::connected_ports();
        let trouble = connected.as_ref().err().map(|error| {
            format!("{error}: what this host's UDP sockets wait for is held to the limits of its senders")
        });
        self.alarm("UDP sockets", trouble);
        let connected = connected.unwrap_or_default();
        let ports = ports(port_range(&range), &net::listeners()?, &connected, &peers);
        if ports != self.own.ports {
            self.kernel.set_own_ports(&ports)?;
            self.own.ports = ports;
        }
        let tunnels: HashSet<Tunnel> = peers.into_iter().map(tunnel).collect();
        if tunnels != self.own.tunnels {
            let left_out = self.kernel.set_tunnels(&tunnels)?;
            let trouble = (left_out != 0).then(|| {
                format!("{left_out} peers of tunnels find no room: they are held to the limits of sources")
            });
            self.alarm("tunnels", trouble);
            self.own.tunnels = tunnels;
        }
        Ok(())
    }
}
