//! A server that answers nothing, and keeps what reached it.

use std::io::{ErrorKind, Read as _};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::namespace::Namespace;

/// Bytes of one connection that are kept; more are counted.
const KEPT: usize = 65_536;
/// Connections that are open at once; more wait in the kernel's queue.
const OPEN: usize = 16_384;
/// Connections that wait to be accepted; the system has a limit of its own.
const BACKLOG: i32 = 16_384;
/// How often new bytes are looked for.
const PAUSE: Duration = Duration::from_millis(1);

/// What one connection delivered to the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Who connected.
    pub peer: SocketAddr,
    /// The first 64 KiB.
    pub bytes: Vec<u8>,
    /// How many bytes came in all.
    pub total: u64,
    /// Whether the connection is over.
    pub closed: bool,
}

/// A TCP server in a namespace; it ends with the handle.
pub struct PlainListener {
    stop: Arc<AtomicBool>,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    hung_up: Arc<Mutex<Vec<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

impl PlainListener {
    /// Listens on an address of the namespace.
    ///
    /// # Errors
    /// Where the address is in use or not there.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::speak(namespace, address, Protocol::TCP)
    }

    /// The same for whoever speaks Multipath TCP (RFC 8684), as servers in Go do; others are served as by TCP.
    ///
    /// # Errors
    /// As for [`Self::start`], and where the kernel has no Multipath TCP.
    pub fn multipath(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::speak(namespace, address, Protocol::MPTCP)
    }

    fn speak(namespace: &Namespace, address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let listen = || -> std::io::Result<TcpListener> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        };
        let listener = namespace.enter(listen)?.with_context(|| format!("cannot listen on {address}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let hung_up = Arc::new(Mutex::new(Vec::new()));
        let (stopped, records, closing) = (Arc::clone(&stop), Arc::clone(&delivered), Arc::clone(&hung_up));
        let thread = thread::spawn(move || serve(&listener, &stopped, &records, &closing));
        Ok(Self { stop, delivered, hung_up, thread: Some(thread) })
    }

    /// Closes the connections of a peer, in a moment.
    pub fn hang_up(&self, peer: SocketAddr) {
        self.hung_up.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }

    /// Whether the last connection of a peer has delivered this.
    #[must_use]
    pub fn has(&self, peer: SocketAddr, bytes: &[u8]) -> bool {
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        delivered.iter().rfind(|one| one.peer == peer).is_some_and(|one| one.bytes == bytes)
    }

    /// What has come so far, in the order of the connections.
    #[must_use]
    pub fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PlainListener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    stop: &AtomicBool,
    records: &Mutex<Vec<Delivered>>,
    hung_up: &Mutex<Vec<SocketAddr>>,
) {
    let mut open: Vec<(usize, TcpStream)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        // Before connections are accepted: whoever is named is among them then.
        let closing = mem::take(&mut *hung_up.lock().unwrap_or_else(PoisonError::into_inner));
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() < OPEN
            && let Ok((stream, peer)) = listener.accept()
        {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            open.push((records.len(), stream));
            records.push(Delivered { peer, bytes: Vec::new(), total: 0, closed: false });
            idle = false;
        }
        open.retain_mut(|(index, stream)| {
            let before = records[*index].total;
            let stays = receive(stream, &mut records[*index]) && !closing.contains(&records[*index].peer);
            idle &= stays && records[*index].total == before;
            stays
        });
        drop(records);
        if idle {
            thread::sleep(PAUSE);
        }
    }
    // Reset: a FIN would be sent again and again to those who are gone.
    for (_, stream) in &open {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

/// Takes what one connection has; says whether it is still open.
fn receive(stream: &mut TcpStream, record: &mut Delivered) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => record.closed = true,
        Ok(length) => {
            record.total += length as u64;
            let room = KEPT.saturating_sub(record.bytes.len());
            record.bytes.extend(&buffer[..length.min(room)]);
        }
        Err(error) => record.closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
    !record.closed
}
