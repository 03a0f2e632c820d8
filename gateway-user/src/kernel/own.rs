//! What the program is told of the host: its interfaces' counter rows, and what of its traffic is its own.

use std::collections::HashSet;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use gateway_common::abi::{INTERFACE_PLACES, OwnPorts, Tunnel};

use super::{Kernel, KernelError, error::on, take::take, value::Value};

/// The counter row of each interface, by its index.
type Rows = [u8; INTERFACE_PLACES as usize];

/// The maps that say it.
pub(super) struct HostMaps {
    rows: Array<MapData, Rows>,
    ports: Array<MapData, Value<OwnPorts>>,
    tunnels: HashMap<MapData, Value<Tunnel>, u32>,
    /// What is in the map.
    told: HashSet<Tunnel>,
}

impl HostMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            rows: take(ebpf, ".bss.interfaces")?,
            ports: take(ebpf, ".bss.own_ports")?,
            tunnels: take(ebpf, "tunnels")?,
            told: HashSet::new(),
        })
    }
}

impl Kernel {
    /// Gives each interface its counter row: by the interfaces' indices, in the order of the rows.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_interfaces(&mut self, indices: &[u32]) -> Result<(), KernelError> {
        let mut rows: Rows = [0; INTERFACE_PLACES as usize];
        for (row, index) in (0..).zip(indices) {
            rows[(index % INTERFACE_PLACES) as usize] = row;
        }
        self.host.rows.set(0, rows, 0).map_err(on("interfaces"))
    }

    /// Says which local ports may have traffic that is the host's own.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_own_ports(&mut self, ports: &OwnPorts) -> Result<(), KernelError> {
        self.host.ports.set(0, Value::of(ports), 0).map_err(on("own_ports"))?;
        self.set_flags(0, 0)
    }

    /// Says who tunnels' peers are. Those for which there is no room are passed over; how many.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_tunnels(&mut self, tunnels: &HashSet<Tunnel>) -> Result<usize, KernelError> {
        let HostMaps { tunnels: map, told, .. } = &mut self.host;
        for gone in told.difference(tunnels) {
            match map.remove(&Value(*gone)) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        told.retain(|tunnel| tunnels.contains(tunnel));
        for tunnel in tunnels {
            if !told.contains(tunnel) && map.insert(Value(*tunnel), 1, 0).is_ok() {
                told.insert(*tunnel);
            }
        }
        Ok(tunnels.len() - told.len())
    }
}
