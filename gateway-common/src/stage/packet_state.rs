//! What the stages find out about a packet, and what a CPU keeps from packet to packet.
//!
//! The kernel keeps it in map memory, whose contents the verifier does not track.

use crate::{
    abi::STRANGERS,
    env::{Asked, Found, Sampled},
    limit::rate::Reading,
    packet::Packet,
    stage::{budgets::state::Budgets, handshake::state::Handshake, tls::state::Gate},
    state::{assoc::Victim, buckets::Place, conntrack::Conn, drop_cache, quic_flows::Datagram, samples},
    tables::BucketTable,
    wire::{Network, options::Options},
};

/// What the stages find out about one packet: [`Self::begin`] begins it. Fields that it leaves alone are written before
/// they are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketState {
    /// When it came.
    pub clock: Reading,
    /// Its IP header.
    pub network: Network,
    /// The parsed packet.
    pub packet: Packet,
    /// Its source, its service and its mode.
    pub role: Role,
    /// What the host's TCP says of it.
    pub asked: Asked,
    /// The packet whose socket `reflection` asks for: the one at hand, or the answer to a quoted one.
    pub asked_about: Packet,
    /// [`Self::conn`] is the packet's.
    pub has_conn: bool,
    /// Its connection, of a service that requires TLS.
    pub conn: Conn,
    /// How it begins a connection, or belongs to one.
    pub handshake: Handshake,
    /// What the TLS gate knows of it.
    pub gate: Gate,
    /// Its QUIC flow.
    pub datagram: Datagram,
    /// Its cost, and the budgets that pay.
    pub budgets: Budgets,
    /// Its TCP options, if a stage reads them.
    pub options: Options,
    /// The entry that it evicts.
    pub victim: Victim,
    /// Its refusal, if that is to be cached.
    pub entry: drop_cache::Entry,
    /// Drops of the drop cache that are to be told.
    pub telling: drop_cache::Telling,
    /// Its drop, if user space is shown that.
    pub sampled: Sampled,
    /// What outlives it.
    pub cpu: CpuState,
}

/// What a CPU keeps from packet to packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// What is known of its drop cache.
    pub drops: drop_cache::State,
    /// What it may show of drops.
    pub samples: samples::State,
    /// Where the buckets of the last packet are: the next may be of the same source.
    pub places: Places,
}

impl PacketState {
    /// Begins a packet, with a reading of the clock and the gateway's mode.
    #[inline(always)]
    pub fn begin(&mut self, mode: u32, clock: Reading) {
        self.clock = clock;
        // The service is none already, and written apart: LLVM would call a function to zero so many bytes in a row.
        self.role.trusted = false;
        self.role.class = 0;
        self.role.mode = mode;
        self.role.bucket = 0;
        self.role.held_as = STRANGERS as u32;
        self.asked.found = Found::NotAsked;
        self.has_conn = false;
        self.handshake.begin();
        self.gate.begin();
        self.datagram.begin();
        self.budgets.begin();
    }
}

/// A place in each table of buckets that is looked up by a source, and one in the table of bans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// Of the neighbourhood.
    pub neighbours: Place,
    /// Of the source towards the service.
    pub service: Place,
    /// Of the source.
    pub source: Place,
    /// The set of its ban.
    pub ban_set: u32,
}

impl Places {
    /// The place in a table of sources or neighbourhoods.
    #[inline(always)]
    pub const fn of(&self, table: BucketTable) -> &Place {
        match table {
            BucketTable::Neighbours => &self.neighbours,
            BucketTable::ServiceSources => &self.service,
            _ => &self.source,
        }
    }

    /// The same, to write there.
    #[inline(always)]
    pub const fn of_mut(&mut self, table: BucketTable) -> &mut Place {
        match table {
            BucketTable::Neighbours => &mut self.neighbours,
            BucketTable::ServiceSources => &mut self.service,
            _ => &mut self.source,
        }
    }
}

/// The roles of a packet's source and of its service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Role {
    /// The source is trusted: no ban, list or limit holds it.
    pub trusted: bool,
    /// Index of the source's class; 0: that of all other sources.
    pub class: u32,
    /// Index of the service that the packet is for; 0: none.
    pub service: u32,
    /// Which of [`mode`](crate::abi::mode) holds for the packet: the gateway's, until the service is known.
    pub mode: u32,
    /// Key of the source's bucket if its address does not make it: shared with its neighbourhood, of a finer source
    /// ([`crate::source::finer`]), or of the peer of a quoted packet. Else 0.
    pub bucket: u64,
    /// Index of the service's total that holds the packet: [`crate::abi::STRANGERS`] or [`crate::abi::ALL`].
    pub held_as: u32,
}
