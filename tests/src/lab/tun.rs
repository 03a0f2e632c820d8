//! A tun device: packets without an Ethernet header, which the test writes and reads itself.
#![expect(unsafe_code, reason = "the one ioctl that names the device, and nix has none for it")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result, ensure};

use super::Namespace;

/// Of linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// The part of `struct ifreq` that the call reads, with room for the rest.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

/// The end of a tun device that a program has.
pub struct Tun(File);

impl Tun {
    /// Makes the device in a namespace; it goes when this is dropped.
    ///
    /// # Errors
    /// Where that cannot be.
    pub fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        let mut request = Request { name: [0; libc::IFNAMSIZ], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
        ensure!(name.len() < libc::IFNAMSIZ, "{name} is too long");
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        namespace.enter(|| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
            let file = file.context("/dev/net/tun")?;
            // SAFETY: the call reads and writes a structure of this size, which lives until it returns.
            let answer = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
            ensure!(answer == 0, "cannot make {name}: {}", std::io::Error::last_os_error());
            Ok(Self(file))
        })?
    }

    /// Has a packet come in by the device.
    ///
    /// # Errors
    /// Where the kernel does not take it.
    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.0.write_all(packet).context("the device takes no packet")
    }

    /// The packets that the host has sent by it since the last call.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn received(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut packets = Vec::new();
        let mut buffer = [0; 2_048];
        loop {
            match self.0.read(&mut buffer) {
                Ok(length) => packets.push(buffer[..length].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(packets),
                Err(error) => return Err(error).context("cannot read from the device"),
            }
        }
    }
}
