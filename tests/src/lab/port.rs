//! An interface, frame by frame.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket};

use super::namespace::Namespace;

/// How long a frame may wait for room in the interface's queue.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the far end gets to empty it.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest frame.
const FRAME_MAX: usize = 65_536;

/// A packet socket on an interface. It gets the frames that come and those that others send, and not its own.
pub(crate) struct Port {
    socket: OwnedFd,
}

impl Port {
    /// Opens an interface of a namespace.
    pub(crate) fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| -> Result<OwnedFd> {
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll)?;
            let mut addresses = getifaddrs()?.filter(|one| one.interface_name == interface);
            let address = addresses
                .find_map(|one| one.address.filter(|address| address.as_link_addr().is_some()))
                .context("there is no such interface")?;
            bind(socket.as_raw_fd(), &address)?;
            Ok(socket)
        })?;
        Ok(Self { socket: socket.with_context(|| format!("cannot open {interface}"))? })
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                // The far end's queue is full: it shall have the CPU.
                Err(Errno::ENOBUFS | Errno::EAGAIN) if Instant::now() < until => thread::sleep(PAUSE),
                Err(error) => return Err(error).context("cannot send a frame"),
            }
        }
    }

    /// The next frame; nothing when none comes until then.
    pub(crate) fn next(&self, until: Instant) -> Result<Option<Vec<u8>>> {
        let mut buffer = [0; FRAME_MAX];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => return Ok(Some(buffer[..length].to_vec())),
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("cannot receive frames"),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for frames"),
            }
        }
    }
}
