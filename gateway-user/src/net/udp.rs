//! The UDP sockets of this host, by `sock_diag` (net/ipv4/udp_diag.c).

use netlink_packet_core::{NLM_F_DUMP, Parseable as _};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use nix::libc;

use super::{
    NetError,
    socket::{Netlink, bytes},
};

/// The local ports of UDP sockets that are connected to a peer, and so hear nobody else; for anybody.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn connected_ports() -> Result<Vec<u16>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
    let mut ports = Vec::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let question = InetRequest {
            family,
            protocol: IPPROTO_UDP,
            extensions: ExtensionFlags::empty(),
            // A connected UDP socket is "established".
            states: StateFlags::ESTABLISHED,
            socket_id,
        };
        let answers = netlink
            .ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &bytes(&question))
            .map_err(|failure| failure.into_error("list UDP sockets"))?;
        for answer in answers {
            let InetResponse { header, .. } = InetResponse::parse(answer.as_slice())
                .map_err(|error| NetError::Answer(error.to_string()))?;
            ports.push(header.socket_id.source_port);
        }
    }
    Ok(ports)
}
