//! Connections of a capture: who is the server, and what became of what was sent to it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use gateway_common::{
    abi::Settings,
    packet::{Address, Packet, flags},
    verdict::{Action, Reason, Verdict},
    wire::tls::PREFIX,
};
use ipnet::IpNet;

use crate::config::Protocol;

/// One end: address and port.
type End = (IpAddr, u16);

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who began it.
    pub client: End,
    /// Whom it is for.
    pub server: End,
    /// The frame that it started with; none: it started before the capture.
    pub first_frame: Option<u64>,
    /// Packets of the client that were passed.
    pub packets_passed: u64,
    /// Packets of the client that were dropped.
    pub packets_dropped: u64,
    /// Bytes behind the transport headers of what was passed. Of a TCP connection those that its application can read.
    pub payload_bytes_passed: u64,
    /// Bytes that were passed ahead of a TCP stream's start, which did not pass: TCP delivers none of them.
    pub payload_bytes_held: u64,
    /// Packets of the client by the reason of their verdict.
    pub reasons: BTreeMap<&'static str, u64>,
    start: StreamStart,
}

/// How much of a TCP stream's start has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StreamStart {
    /// Sequence number of its first byte; none: it is not known, or all that decides has passed.
    base: Option<u32>,
    /// Bytes that passed without a gap.
    read: u32,
    /// What passed ahead of them: where it starts, and how long it is.
    ahead: Vec<(u32, u32)>,
}

impl StreamStart {
    fn of(packet: &Packet) -> Self {
        Self { base: packet.is_syn().then(|| packet.sequence.wrapping_add(1)), ..Self::default() }
    }

    /// Takes in a segment that passed, and says how many bytes can be delivered by it.
    fn deliver(&mut self, packet: &Packet) -> u64 {
        let (length, Some(base)) = (packet.payload_length, self.base) else {
            return packet.payload_length.into();
        };
        let start = packet.sequence.wrapping_add(packet.is_syn().into()).wrapping_sub(base);
        // A keep-alive lies before the stream.
        let before = if (start as i32) < 0 { start.wrapping_neg() } else { 0 };
        self.ahead.push((start.wrapping_add(before), length.saturating_sub(before)));
        let mut delivered = 0;
        while let Some(place) = self.ahead.iter().position(|(start, _)| *start <= self.read) {
            let (start, length) = self.ahead.swap_remove(place);
            self.read = self.read.max(start.saturating_add(length));
            delivered += u64::from(length);
        }
        if self.read >= PREFIX {
            // What has no start that decides is delivered sooner or later.
            delivered += self.held();
            *self = Self::default();
        }
        delivered
    }

    fn held(&self) -> u64 {
        self.ahead.iter().map(|(_, length)| u64::from(*length)).sum()
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Away from a server: an ingress filter does not see it.
    FromServer,
    /// To a server, or nobody knows; the place of its connection, where it has one.
    ToServer(Option<usize>),
}

/// All connections of a capture.
#[derive(Debug)]
pub struct Flows {
    /// Ports of services, by protocol.
    ports: HashSet<(Protocol, u16)>,
    /// The protected side, where it was said.
    server: Option<IpNet>,
    connections: Vec<Connection>,
    /// The newest connection between two ends, the lower end first; with the first SYN's sequence number.
    places: HashMap<(Protocol, End, End), (usize, u32)>,
    /// Addresses that were servers.
    servers: HashSet<IpAddr>,
    clients: HashSet<IpAddr>,
}

/// The ports that a policy names.
pub(super) fn service_ports(settings: &Settings) -> HashSet<(Protocol, u16)> {
    let rows = [Protocol::Tcp, Protocol::Udp].into_iter().zip(&settings.group_by_port);
    rows.flat_map(|(protocol, groups)| {
        let named = (0..=u16::MAX).filter(move |port| groups[usize::from(*port)] != 0);
        named.map(move |port| (protocol, port))
    })
    .collect()
}

impl Flows {
    /// No connection yet.
    pub fn new(ports: HashSet<(Protocol, u16)>, server: Option<IpNet>) -> Self {
        Self {
            ports,
            server,
            connections: Vec::new(),
            places: HashMap::new(),
            servers: HashSet::new(),
            clients: HashSet::new(),
        }
    }

    /// The connections whose start is in the capture.
    pub fn started(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|connection| connection.first_frame.is_some())
    }

    /// Counts a packet of a connection's client.
    pub fn count(&mut self, place: usize, verdict: Verdict, packet: &Packet) {
        let connection = &mut self.connections[place];
        if verdict.action == Action::Pass {
            connection.packets_passed += 1;
            connection.payload_bytes_passed += connection.start.deliver(packet);
            connection.payload_bytes_held = connection.start.held();
        } else {
            connection.packets_dropped += 1;
        }
        *connection.reasons.entry(Reason::name(verdict.reason)).or_default() += 1;
    }

    /// Which way a packet goes; a new connection is written down.
    pub fn side(&mut self, packet: Option<&Packet>, number: u64) -> Side {
        let Some(packet) = packet else { return Side::ToServer(None) };
        let from = (ip(packet.source, packet.ipv6), packet.source_port);
        let to = (ip(packet.destination, packet.ipv6), packet.destination_port);
        let protocol = match () {
            () if packet.is_tcp() => Protocol::Tcp,
            () if packet.is_udp() && !matches!(packet.fragment, gateway_common::packet::Fragment::Later) => {
                Protocol::Udp
            }
            () => return self.portless(from.0, to.0),
        };
        let key = (protocol, from.min(to), from.max(to));
        let is_start = packet.is_syn() || (protocol == Protocol::Udp && !self.places.contains_key(&key));
        let known = self.places.get(&key).copied();
        let place = match known {
            Some((place, sequence)) if !packet.is_syn() || sequence == packet.sequence => place,
            _ => {
                let is_client = self.is_client(protocol, from, to, packet);
                let (client, server) = if is_client { (from, to) } else { (to, from) };
                self.servers.insert(server.0);
                self.clients.insert(client.0);
                self.connections.push(Connection {
                    protocol,
                    client,
                    server,
                    first_frame: is_start.then_some(number),
                    packets_passed: 0,
                    packets_dropped: 0,
                    payload_bytes_passed: 0,
                    payload_bytes_held: 0,
                    reasons: BTreeMap::new(),
                    start: StreamStart::of(packet),
                });
                let place = self.connections.len() - 1;
                self.places.insert(key, (place, packet.sequence));
                place
            }
        };
        if self.connections[place].client == from { Side::ToServer(Some(place)) } else { Side::FromServer }
    }

    /// Whether the sender of a connection's first packet is its client.
    fn is_client(&self, protocol: Protocol, from: End, to: End, packet: &Packet) -> bool {
        if let Some(server) = self.server
            && server.contains(&from.0) != server.contains(&to.0)
        {
            return server.contains(&to.0);
        }
        if protocol == Protocol::Tcp {
            match packet.tcp_flags & (flags::SYN | flags::ACK) {
                flags::SYN => return true,
                both if both == flags::SYN | flags::ACK => return false,
                _ => {}
            }
        }
        match (self.ports.contains(&(protocol, from.1)), self.ports.contains(&(protocol, to.1))) {
            (true, false) => false,
            (false, true) => true,
            // The first datagram goes to the server. Of a connection that was there before, the lower port is the server's.
            _ => protocol == Protocol::Udp || to.1 <= from.1,
        }
    }

    /// What has no ports goes to the server unless a server sends it to a client.
    fn portless(&self, from: IpAddr, to: IpAddr) -> Side {
        let from_server = match self.server {
            Some(server) => server.contains(&from) && !server.contains(&to),
            None => self.servers.contains(&from) && self.clients.contains(&to) && !self.servers.contains(&to),
        };
        if from_server { Side::FromServer } else { Side::ToServer(None) }
    }
}

fn ip(address: Address, ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from((u128::from(address.high) << 64 | u128::from(address.low)).to_be_bytes())
    } else {
        IpAddr::from(address.as_v4().to_be_bytes())
    }
}
