//! A TCP client whose every segment is made by hand: what an attacker sends who keeps to no rules.
//!
//! It sits on a packet socket in the attacker's namespace, and comes from addresses that nobody owns. The server sends its
//! answers to the attacker's cable, where the kernel has no socket for them and forwards nothing, so no RST gets between.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::port::Port;
use super::{ATTACK_MACS, CLIENT_MACS, FAR, Lab};
use crate::builder::{self, Frame, IpProto, flags};

/// How long the server may take to answer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a SYN is sent at most, and how long an answer to it is waited for (RFC 6298 section 2.1).
const SYNS: u32 = 10;
const AGAIN: Duration = Duration::from_secs(1);
/// How long a round of sending again waits.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes of Ethernet's, of IPv6's and of TCP's header.
const ETHERNET: usize = 14;
const IPV6: usize = 40;
const TCP: usize = 20;
/// The maximum segment size that SYNs announce, as an option.
const MSS: [u8; 4] = [2, 4, 5, 180];

/// A cable to the server, frame by frame.
pub struct Wire {
    port: Port,
    macs: [u8; 12],
}

impl Wire {
    /// Opens the attacker's end.
    ///
    /// # Errors
    /// Where the kernel gives no packet socket.
    pub fn open(lab: &Lab) -> Result<Self> {
        Ok(Self { port: Port::open(&lab.attacker, FAR)?, macs: ATTACK_MACS })
    }

    /// Opens the client's end.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_client(lab: &Lab) -> Result<Self> {
        Ok(Self { port: Port::open(&lab.client, FAR)?, macs: CLIENT_MACS })
    }

    /// Sends a frame as it is, but for its hardware addresses.
    ///
    /// # Errors
    /// Where the interface takes none for a while.
    pub fn send(&self, frame: &Frame) -> Result<()> {
        let mut frame = frame.build();
        frame[..self.macs.len()].copy_from_slice(&self.macs);
        self.port.send(&frame)
    }
}

/// A segment of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// TCP options.
    pub options: Vec<u8>,
}

/// One connection, or what looks like one.
pub struct ByHand<'a> {
    wire: &'a Wire,
    /// Where it says it comes from.
    pub local: SocketAddr,
    /// Where it goes.
    pub remote: SocketAddr,
    /// The sequence number of its SYN: its stream begins behind it.
    pub isn: u32,
    /// The next sequence number of the server's, once it has answered.
    pub ack: u32,
    /// What comes before position 0 of its stream, and is sent with the handshake's end.
    pub lead: &'static [u8],
    /// What was sent.
    sent: RefCell<Vec<Frame>>,
}

impl<'a> ByHand<'a> {
    /// A connection that has sent nothing yet.
    #[must_use]
    pub const fn new(wire: &'a Wire, local: SocketAddr, remote: SocketAddr, isn: u32) -> Self {
        Self { wire, local, remote, isn, ack: 0, lead: b"", sent: RefCell::new(Vec::new()) }
    }

    /// A packet without transport.
    fn packet(&self) -> Frame {
        builder::between(self.local.ip(), self.remote.ip())
    }

    /// Whether it is over IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.local.is_ipv6()
    }

    /// A SYN.
    pub fn syn(&self) -> Frame {
        let segment = self.packet().tcp(self.local.port(), self.remote.port());
        segment.flags(flags::SYN).seq(self.isn).ack(0).tcp_options(&MSS)
    }

    /// A segment with these bytes of the stream, from this position on; below zero lie the SYN and what was before it.
    pub fn at(&self, position: i32, bytes: &[u8]) -> Frame {
        let segment = self.packet().tcp(self.local.port(), self.remote.port()).payload(bytes);
        let pushed = if bytes.is_empty() { flags::ACK } else { flags::ACK | flags::PSH };
        let sequence = self.isn.wrapping_add(1 + self.lead.len() as u32).wrapping_add_signed(position);
        segment.flags(pushed).seq(sequence).ack(self.ack)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// Where the interface takes none.
    pub fn send(&self, frame: &Frame) -> Result<()> {
        self.sent.borrow_mut().push(frame.clone());
        self.wire.send(frame)
    }

    /// Sends all again that was sent, as TCP does with what nobody acknowledges: so often that each time one more frame may
    /// be of use.
    ///
    /// # Errors
    /// Where the interface takes no frames.
    pub fn again(&self) -> Result<()> {
        self.repeat(&self.sent.borrow())
    }

    /// The same of a connection whose SYN was answered.
    ///
    /// # Errors
    /// As [`Self::again`].
    pub fn data_again(&self) -> Result<()> {
        let syn = self.syn().build();
        let sent: Vec<_> = self.sent.borrow().iter().filter(|frame| frame.build() != syn).cloned().collect();
        self.repeat(&sent)
    }

    fn repeat(&self, sent: &[Frame]) -> Result<()> {
        for _ in sent {
            sent.iter().try_for_each(|frame| self.wire.send(frame))?;
            // Time for the answers, of which the cable holds a few hundred.
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Sends bytes of the stream from this position on.
    ///
    /// # Errors
    /// Where the interface takes no frames.
    pub fn write(&self, position: i32, bytes: &[u8]) -> Result<()> {
        self.send(&self.at(position, bytes))
    }

    /// Shakes hands: SYN, the server's answer, ACK, and what comes before all else.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn connect(&mut self) -> Result<()> {
        self.ask(&self.syn())?;
        let start = -(self.lead.len() as i32);
        self.write(start, &[])?;
        if self.lead.is_empty() { Ok(()) } else { self.write(start, self.lead) }
    }

    /// Sends a SYN of any kind and waits for the SYN-ACK.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn ask(&mut self, syn: &Frame) -> Result<Answer> {
        self.forget()?;
        // As TCP does: a slow machine loses one now and then.
        for _ in 0..SYNS {
            self.send(syn)?;
            if let Some(answer) = self.answer(AGAIN, |answer| answer.flags & flags::SYN != 0)? {
                self.ack = answer.sequence.wrapping_add(1);
                return Ok(answer);
            }
        }
        bail!("{} does not answer {}", self.remote, self.local)
    }

    /// Passes over what has come so far.
    ///
    /// # Errors
    /// Where nothing can be read.
    pub fn forget(&self) -> Result<()> {
        while self.wire.port.next(Instant::now())?.is_some() {}
        Ok(())
    }

    /// The next answer of this kind; nothing when none is in time.
    ///
    /// # Errors
    /// Where nothing can be read.
    pub fn answer(&self, patience: Duration, wanted: impl Fn(&Answer) -> bool) -> Result<Option<Answer>> {
        let until = Instant::now() + patience;
        while let Some(frame) = self.wire.port.next(until)? {
            if let Some(answer) = self.read(&frame).filter(&wanted) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Waits until the server has acknowledged the stream up to a position.
    ///
    /// # Errors
    /// Where it does not.
    pub fn acknowledged(&self, position: i32) -> Result<()> {
        let ack = self.isn.wrapping_add(1 + self.lead.len() as u32).wrapping_add_signed(position);
        let answer = self.answer(PATIENCE, |answer| answer.ack == ack)?;
        ensure!(answer.is_some(), "{} does not acknowledge {position} bytes of {}", self.remote, self.local);
        Ok(())
    }

    /// What a frame says, if it is the server's to this connection.
    fn read(&self, frame: &[u8]) -> Option<Answer> {
        let (network, segment) = if self.is_v6() {
            let (header, segment) = frame.get(ETHERNET..)?.split_at_checked(IPV6)?;
            (header[6] == IpProto::Tcp as u8 && header[0] >> 4 == 6).then_some(())?;
            (&header[8..], segment)
        } else {
            let packet = frame.get(ETHERNET..)?;
            let (header, segment) = packet.split_at_checked(usize::from(packet.first()? & 15) * 4)?;
            (*header.get(9)? == IpProto::Tcp as u8 && header[0] >> 4 == 4).then_some(())?;
            (&header[12..20], segment)
        };
        let header = segment.get(..TCP)?;
        let (from, to) = network.split_at_checked(network.len() / 2)?;
        let is = |address: SocketAddr, ip: &[u8], port: &[u8]| {
            let same = match address {
                SocketAddr::V4(address) => address.ip().octets() == ip,
                SocketAddr::V6(address) => address.ip().octets() == ip,
            };
            same && address.port().to_be_bytes() == port
        };
        (is(self.remote, from, &header[..2]) && is(self.local, to, &header[2..4])).then_some(())?;
        let number =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Some(Answer {
            flags: header[13],
            sequence: number(4),
            ack: number(8),
            options: segment.get(TCP..usize::from(header[12] >> 4) * 4)?.to_vec(),
        })
    }
}
