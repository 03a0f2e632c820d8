//! The TCP sockets of this host, by `sock_diag` (net/ipv4/inet_diag.c): what `ss` reads, and ends with `ss -K`.
//!
//! To look at a socket's signatures and to end it needs `CAP_NET_ADMIN`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netlink_packet_core::{NLM_F_DUMP, Nla as _, Parseable as _};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, INET_DIAG_MD5SIG, INET_DIAG_SKV6ONLY, IPPROTO_TCP, SOCK_DESTROY, SOCK_DIAG_BY_FAMILY,
    TCP_LISTEN, TCP_SYN_RECV, TCP_TIME_WAIT,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use nix::libc;

use super::{
    NetError,
    socket::{Failure, Netlink, bytes},
};

/// No cookie: whichever socket has the addresses and ports (`INET_DIAG_NOCOOKIE`).
const ANY: [u8; 8] = [0xff; 8];

/// A connection of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    family: u8,
    /// With the cookie, by which the kernel tells it from a later one of the same addresses and ports.
    id: SocketId,
    /// Bytes that TCP has taken and the application has not read.
    pub unread: u32,
    /// Its segments are signed (RFC 2385).
    pub is_signed: bool,
    /// What TCP has counted; nothing where that was not asked for.
    pub counts: Option<Counts>,
}

/// What TCP has counted of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of the peer's stream that TCP has taken.
    pub received: u64,
    /// The application here has sent something.
    pub has_answered: bool,
    /// For how long neither side has sent a byte.
    pub idle: Duration,
}

impl Connection {
    /// What tells it from all others for as long as the host runs.
    #[must_use]
    pub const fn cookie(&self) -> u64 {
        u64::from_ne_bytes(self.id.cookie)
    }

    /// The peer's address.
    #[must_use]
    pub const fn peer(&self) -> IpAddr {
        self.id.destination_address.to_canonical()
    }

    /// Its address and port on this host.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        SocketAddr::new(self.id.source_address.to_canonical(), self.id.source_port)
    }

    fn parse(answer: &[u8]) -> Result<(u8, Self), NetError> {
        let InetResponse { header, nlas } =
            InetResponse::parse(answer).map_err(|error| NetError::Answer(error.to_string()))?;
        let counts = nlas.iter().find_map(|nla| match nla {
            Nla::TcpInfo(info) => Some(Counts {
                received: info.bytes_received,
                has_answered: info.data_segs_out != 0,
                idle: Duration::from_millis(info.last_data_sent.min(info.last_data_recv).into()),
            }),
            _ => None,
        });
        let is_signed = nlas.iter().any(|nla| value_of(nla, INET_DIAG_MD5SIG).is_some());
        let unread = header.recv_queue;
        Ok((header.state, Self { family: header.family, id: header.socket_id, unread, is_signed, counts }))
    }
}

/// A server that waits for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// On all addresses of IPv6, and on none of IPv4.
    pub is_v6_only: bool,
    /// Index of the one interface that it takes connections by (`SO_BINDTODEVICE`); 0: all.
    pub device: u32,
}

impl Listener {
    /// Whether it takes connections to an address of this host.
    #[must_use]
    pub fn serves(&self, address: &IpAddr) -> bool {
        let own = self.address.ip();
        if own.is_unspecified() {
            own.is_ipv4() == address.is_ipv4() || (own.is_ipv6() && !self.is_v6_only)
        } else {
            own.to_canonical() == *address
        }
    }
}

/// The servers of this host, for anybody.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn listeners() -> Result<Vec<Listener>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
    let mut found = Vec::new();
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let question = InetRequest { states: StateFlags::LISTEN, ..request(family, id) };
        let answers = netlink
            .ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &bytes(&question))
            .map_err(|failure| failure.into_error("list TCP sockets"))?;
        for answer in answers {
            let InetResponse { header, nlas } = InetResponse::parse(answer.as_slice())
                .map_err(|error| NetError::Answer(error.to_string()))?;
            let is_v6_only = nlas
                .iter()
                .find_map(|nla| value_of(nla, INET_DIAG_SKV6ONLY))
                .is_some_and(|value| value != [0]);
            let address = SocketAddr::new(header.socket_id.source_address, header.socket_id.source_port);
            found.push(Listener { address, is_v6_only, device: header.socket_id.interface_id });
        }
    }
    Ok(found)
}

/// The bytes of an attribute that the crate has no type for, if it is of this kind.
fn value_of(nla: &Nla, kind: u16) -> Option<Vec<u8>> {
    let Nla::Other(other) = nla else { return None };
    (other.kind() == kind).then(|| {
        let mut value = vec![0; other.value_len()];
        other.emit_value(&mut value);
        value
    })
}

/// Finds connections, and ends them.
pub struct Connections {
    netlink: Netlink,
}

impl Connections {
    /// Begins to ask the kernel.
    ///
    /// # Errors
    /// Where it does not end connections (`CONFIG_INET_DIAG_DESTROY`), or not for this process.
    pub fn open() -> Result<Self, NetError> {
        let mut netlink = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
        // Of no state, and with a cookie that none has: an answer without sockets says that there is somebody to answer.
        let nobody = request(AF_INET, SocketId::new_v4());
        netlink
            .ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &bytes(&nobody))
            .map_err(|failure| failure.into_error("tell of TCP sockets"))?;
        let mut connections = Self { netlink };
        connections.destroy(AF_INET, &SocketId::new_v4())?;
        Ok(connections)
    }

    /// The connection between a client and an address of this host that comes in by an interface; nothing where there is none, or its
    /// handshake is not complete.
    ///
    /// # Errors
    /// Whatever keeps the kernel from answering.
    pub fn find(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        interface: u32,
    ) -> Result<Option<Connection>, NetError> {
        let family = if server.is_ipv4() { AF_INET } else { AF_INET6 };
        let mut question = request(
            family,
            SocketId {
                source_port: server.port(),
                destination_port: client.port(),
                source_address: server.ip(),
                destination_address: client.ip(),
                interface_id: interface,
                cookie: ANY,
            },
        );
        question.extensions = ExtensionFlags::INFO;
        let answers = match self.netlink.ask(SOCK_DIAG_BY_FAMILY, 0, &bytes(&question)) {
            Err(Failure::Refused { code: libc::ENOENT, .. }) => return Ok(None),
            other => other.map_err(|failure| failure.into_error("tell of a TCP socket"))?,
        };
        let Some(answer) = answers.first() else { return Ok(None) };
        let (state, connection) = Connection::parse(answer)?;
        // Without a connection of these addresses and ports the kernel tells of the listener.
        let is_other = matches!(state, TCP_LISTEN | TCP_TIME_WAIT | TCP_SYN_RECV)
            || connection.id.destination_port != client.port();
        Ok((!is_other).then_some(connection))
    }

    /// The connections that an application here has open or has still to close; `counts`: with what TCP has counted.
    ///
    /// # Errors
    /// Whatever keeps the kernel from answering.
    pub fn open_ones(&mut self, counts: bool) -> Result<Vec<Connection>, NetError> {
        let mut found = Vec::new();
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            let question = InetRequest {
                states: StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT,
                extensions: if counts { ExtensionFlags::INFO } else { ExtensionFlags::empty() },
                ..request(family, id)
            };
            let answers = self
                .netlink
                .ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &bytes(&question))
                .map_err(|failure| failure.into_error("list TCP connections"))?;
            for answer in answers {
                found.push(Connection::parse(&answer)?.1);
            }
        }
        Ok(found)
    }

    /// Ends a connection as a reset would: its application gets an error, its client a reset. Whether it was there still.
    ///
    /// # Errors
    /// Whatever keeps the kernel from it.
    pub fn end(&mut self, connection: &Connection) -> Result<bool, NetError> {
        self.destroy(connection.family, &connection.id)
    }

    fn destroy(&mut self, family: u8, id: &SocketId) -> Result<bool, NetError> {
        match self.netlink.ask(SOCK_DESTROY, 0, &bytes(&request(family, id.clone()))) {
            Ok(_) => Ok(true),
            // Another one has its place, or nobody.
            Err(Failure::Refused { code: libc::ENOENT | libc::ESTALE, .. }) => Ok(false),
            Err(failure) => Err(failure.into_error("end a TCP connection")),
        }
    }
}

fn request(family: u8, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::empty(),
        socket_id,
    }
}
