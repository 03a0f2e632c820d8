//! The traits by which stages reach the clock, settings, tables and sockets.

use crate::{
    abi::{Active, Holder, Listing, Live, OwnPorts, Refusal, Settings, Tunnel},
    hash::Key,
    limit::rate::{Instant, Reading},
    packet::Packet,
    tables::{BucketTable, Note, PairTable, Table},
    verdict::{Action, Reason},
    wire::{multipath::Change, options::Options, synack::SynAck},
    words::{Slots, Words},
};

/// The drop cache of a CPU: see [`crate::state::drop_cache`].
pub trait DropSets: Copy + Default {
    /// The part of a set that each look-up reads.
    type Set: Words;
    /// The other part.
    type Rest: Words;

    /// The index of a CPU's set among the sets of all CPUs.
    fn index(self, number: u32) -> u32;
    /// The set at an index; none if the CPU has no cache.
    fn set(self, index: u32) -> Option<Self::Set>;
    /// The other part of that set.
    fn rest(self, index: u32) -> Option<Self::Rest>;
}

/// What the host's TCP knows of a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// No socket here: the packet is for another host, or for nobody.
    Unknown,
    /// A listener or a socket in TIME-WAIT: no connection yet, but a SYN cookie may make one.
    Listening,
    /// A handshake under way, or an open connection.
    Open {
        /// Sequence number of the first byte of the client's stream.
        base: u32,
        /// Bytes of the stream received in order.
        received: u64,
    },
}

/// What kind of socket was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Found {
    /// Nobody has asked yet.
    #[default]
    NotAsked,
    /// None.
    Nothing,
    /// A listener.
    Listener,
    /// A socket in TIME-WAIT: only a SYN can make a connection of it, or a reset and a SYN cookie (RFC 1337).
    Waiting,
    /// A handshake under way.
    Request,
    /// A connection.
    Connection,
}

/// What the host's TCP says of a packet. It is asked once for each packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The socket.
    pub found: Found,
    /// The packet brings back a SYN cookie of this host that is still good: for its own sequence number, or one up to
    /// three less or more, since a cookie can stand for so many segment sizes. It makes a connection once there is none
    /// of its flow.
    pub has_cookie: bool,
    /// Of a connection: by how many bits this host scales its windows; 0: it does not.
    pub scale: u8,
    /// Sequence number of the first byte of the client's stream.
    pub base: u32,
    /// Bytes of the stream received in order.
    pub received: u64,
}

impl Asked {
    /// An answer without details.
    #[inline(always)]
    pub const fn of(socket: Socket) -> Self {
        let (found, base, received) = match socket {
            Socket::Unknown => (Found::Nothing, 0, 0),
            Socket::Listening => (Found::Listener, 0, 0),
            Socket::Open { base, received } => (Found::Connection, base, received),
        };
        Self { found, has_cookie: false, scale: 0, base, received }
    }

    /// The answer in short.
    #[inline(always)]
    pub const fn socket(&self) -> Socket {
        match self.found {
            Found::NotAsked | Found::Nothing => Socket::Unknown,
            Found::Listener | Found::Waiting => Socket::Listening,
            Found::Request | Found::Connection => Socket::Open { base: self.base, received: self.received },
        }
    }

    /// Whether there is no connection, and no packet but a SYN makes one.
    #[inline(always)]
    pub const fn starts_nothing(&self) -> bool {
        matches!(self.found, Found::Waiting | Found::Listener) && !self.has_cookie
    }

    /// Whether there is a listener, and the packet brings it nothing that makes a connection.
    #[inline(always)]
    pub const fn is_refused(&self) -> bool {
        matches!(self.found, Found::Listener) && !self.has_cookie
    }
}

/// The receiver of a packet on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// The host cannot say: sockets are not asked, or it forwards, and may translate addresses for others.
    Elsewhere,
    /// No socket.
    Nobody,
    /// A socket: of TCP a connection, of UDP one that is bound to the port.
    Socket,
    /// A UDP socket that is connected to the sender: it waits for an answer from there.
    Connected,
}

/// The live entry of a packet's source.
pub trait LiveEntry: Copy {
    /// Its values.
    fn read(self) -> Live;
    /// Counts a packet that the ban drops.
    fn count_drop(self);
}

/// The clock of a CPU.
pub trait Clock {
    /// The one reading of time for a packet. `may_be_late`: no limit is finer than the clock of a busy CPU.
    fn read(&mut self, may_be_late: bool) -> Reading;
    /// The last reading, if one that may be late would be late now.
    fn late(&self) -> Option<Instant>;
}

/// Settings, tables, counters, and what the host's TCP knows.
pub trait Env {
    /// A live entry.
    type Live: LiveEntry;
    /// A set of buckets.
    type Buckets: Slots;
    /// A set of pairs.
    type Pairs: Words;
    /// A CPU's drop cache.
    type Drops: DropSets;

    /// The key of the tables.
    fn key(&self) -> Key;
    /// How many bits a hash is shifted down to be the number of a set in a CPU's drop cache.
    fn drop_shift(&self) -> u32;
    /// Which policy is in force.
    fn active(&self) -> Active;
    /// The settings of that policy, if there is one.
    fn settings(&self, active: Active) -> Option<&Settings>;
    /// The listing of the packet's source in that policy's prefix set.
    fn listing(&self, active: Active, packet: &Packet) -> Option<Listing>;
    /// The live entry of the packet's source.
    fn live(&self, packet: &Packet) -> Option<Self::Live>;

    /// The same number, of which the kernel's verifier knows nothing from here on: paths that differ in it alone are
    /// pruned. On a host simply the same number.
    fn barrier_var(value: u64) -> u64;

    /// Sets of one region of a table; a power of two.
    fn sets(&self, table: Table) -> u32;
    /// A set of a table of buckets; nothing beyond the last.
    fn buckets(&self, table: BucketTable, index: u32) -> Option<Self::Buckets>;
    /// A set of a table of pairs; nothing beyond the last.
    fn pairs(&self, table: PairTable, index: u32) -> Option<Self::Pairs>;
    /// A word of the bitmap in front of the table of bans.
    fn ban_filter(&self, index: u32) -> u64;
    /// Until when a source or neighbourhood may have no more connections; 0: it may.
    fn full_until(&self, holder: &Holder) -> Instant;

    /// Local ports that may have traffic of the host's own.
    fn own_ports(&self) -> &OwnPorts;
    /// Whether a packet is of a tunnel's peer.
    fn is_tunnel(&self, tunnel: &Tunnel) -> bool;
    /// Whether a TCP packet belongs to a connection that this host opened: it answers a SYN, or is near the receive
    /// window of an open connection, and nobody listens on its local port.
    fn is_own_connection(&self, packet: &Packet) -> bool;

    /// Asks the host's TCP for a packet's connection; `transport` is the offset of its TCP header. A SYN cookie beside
    /// an open connection is looked for only if `doubts_open`.
    fn ask(&self, packet: &Packet, transport: u32, doubts_open: bool, asked: &mut Asked);
    /// Whether the host's TCP would take a segment that starts with the next byte that it waits for: by the
    /// acknowledgment (RFC 9293 section 3.10.7.4), and by the timestamp, if there is one (RFC 7323 section 5).
    fn would_take(&self, packet: &Packet, acknowledgment: u32, options: &Options) -> bool;
    /// Tells user space of a connection that is to be ended. Without room the message is lost.
    fn tell(&self, refusal: &Refusal);
    /// Shows user space a drop. Without room it is counted as lost.
    fn sample(&self, sampled: &Sampled);
    /// Whether the host's TCP has completed the handshake of a packet's connection.
    fn is_established(&self, packet: &Packet) -> bool;
    /// The receiver of a TCP or UDP packet on this host; `forwarding`: also while the host forwards. Without sockets:
    /// elsewhere.
    fn receiver(&self, packet: &Packet, forwarding: bool) -> Receiver;
    /// A SYN cookie for a SYN, if there is a listener that answers with its own cookies (net.ipv4.tcp_syncookies).
    fn syn_cookie(&self, packet: &Packet, transport: u32) -> Option<u32>;
    /// The counter row of the interface that the frame came in by.
    fn interface(&self) -> u32;
    /// The clock of the host's TCP timestamps at an instant, in ms.
    fn tcp_clock(&self, now: Instant) -> u32;
    /// Makes the frame an answer to itself, with these headers from offset `at` on. False if that is impossible; then
    /// the frame is as it was.
    fn reply(&self, at: u32, answer: &SynAck) -> bool;
    /// Changes bytes of the frame that were read before.
    fn change(&self, changes: [Change; 2]);

    /// Makes LLVM read memory again that was just written, instead of a register. So the verifier knows nothing of it,
    /// and follows later code once, not once for every path through the code before. On a host there is nothing to do.
    fn barrier<T>(&self, memory: &mut T);
    /// Counts a verdict; `service` is an index of [`Settings::services`].
    fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32);
    /// The same for a drop whose reason the kernel's verifier does not know.
    fn count_refused(&self, reason: Reason, service: u32, bytes: u32) {
        self.count(Action::Drop, reason, service, bytes);
    }
    /// Counts what happens to a table.
    fn note(&self, table: Table, note: Note);
}

/// A drop that user space is shown. Numbers, for the verifier follows each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// When the packet came.
    pub at: Instant,
    /// The number of the [`Action`].
    pub action: u32,
    /// The number of the [`Reason`].
    pub reason: u32,
    /// Index of the service, as far as it is known.
    pub service: u32,
}

/// What all stages share for one packet: one policy, one reading of time.
#[derive(Clone, Copy)]
pub struct Context<'a, E: Env> {
    /// Tables and counters.
    pub env: &'a E,
    /// The policy that held when the packet came.
    pub settings: &'a Settings,
    /// The word that says which policy that was.
    pub active: Active,
    /// When it came.
    pub now: Instant,
    /// The CPU's drop cache.
    pub drops: E::Drops,
}
