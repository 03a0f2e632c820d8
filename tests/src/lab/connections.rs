//! Connections that are begun, and those that a server has.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use socket2::{Domain, Socket, Type};

use super::namespace::Namespace;

/// How often it is looked how many there are.
const PAUSE: Duration = Duration::from_millis(20);

/// Begins a TCP connection from an address of the calling thread's namespace, without waiting for it.
///
/// # Errors
/// Where the address is not there, or has no port left.
pub fn begin(source: IpAddr, server: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // So that each server is asked from all ports.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.into()),
        _ => Ok(socket.into()),
    }
}

/// How many connections a server has open on a port; of peers in one network, if it is named.
///
/// # Errors
/// Where `ss` cannot be run.
pub fn established(server: &Namespace, port: u16, peers: Option<&str>) -> Result<usize> {
    let port = port.to_string();
    let mut args = vec!["-Htn", "state", "established", "sport", "=", &port];
    args.extend(peers.into_iter().flat_map(|network| ["dst", network]));
    Ok(server.run("ss", &args)?.lines().count())
}

/// The most of them that there were at once, until it is over.
///
/// # Errors
/// As for [`established`].
pub fn most_established(
    server: &Namespace,
    port: u16,
    peers: Option<&str>,
    over: &AtomicBool,
) -> Result<usize> {
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        most = most.max(established(server, port, peers)?);
        thread::sleep(PAUSE);
    }
    Ok(most)
}
