//! Layouts that cross the boundary between the kernel program and user space: fixed, and checked here.
//!
//! No `bool`, `enum`, `usize` or `Option` in a map value. A change of any layout or meaning raises [`ABI_VERSION`],
//! which names the pin directory, so that no program ever meets the maps of another version.

mod layout;
mod values;

pub use crate::limit::{
    bucket::{SET_WORDS, SLOT_BYTES, SLOT_COUNTS, SLOT_KEY, SLOT_TATS, SLOT_WORDS, WAYS},
    limits::Limits,
};
pub use layout::*;
pub use values::{cookies, gate, listing, mode, policy, refuse};

use crate::limit::rate::{Dimension, Instant, Limit, bit};

/// Version of everything in this module, and of the pinned maps.
pub const ABI_VERSION: u32 = 18;

/// Classes. The first holds every source that is in no other.
pub const CLASSES: usize = 64;
/// Services. The first stands for "none".
pub const SERVICES: usize = 64;
/// Services that may be on one port, with different addresses.
pub const SERVICES_PER_PORT: usize = 8;
/// Addresses that one service may name.
pub const ADDRESSES: usize = 8;
/// Server names that one service may ask for.
pub const NAMES: usize = 32;
/// Different sets of services on a port; the first is the empty one.
pub const PORT_GROUPS: usize = 256;
/// Services that may have limits of their own for each source.
pub const SERVICE_REGIONS: usize = 16;
/// Words of a set of ports, a bit each.
pub const PORT_WORDS: usize = 65_536 / 64;
/// Addresses of this host that the gateway knows as such.
pub const LOCALS: usize = 256;
/// Interfaces that one gateway protects; a power of two.
pub const INTERFACES: usize = 16;
/// Length of the table from interface index to counter row; protected interfaces differ in their index modulo this.
pub const INTERFACE_PLACES: u32 = 1_024;

/// The most bytes of a frame in a sample; a power of two.
pub const SAMPLE_HEAD: usize = 128;

/// The word that switches policies: which of the two settings holds, and what else must be looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active(pub u64);

impl Active {
    /// There are live entries for IPv4.
    pub const LIVE_V4: u64 = 1 << 32;
    /// There are live entries for IPv6.
    pub const LIVE_V6: u64 = 1 << 33;

    /// Added to the lower half by each change: the lowest bit is the slot.
    pub const CHANGE: u32 = 2;

    /// The same word after a change: drop caches find no entry from before it.
    #[must_use]
    pub const fn changed(self) -> Self {
        Self(self.0 >> 32 << 32 | (self.0 as u32).wrapping_add(Self::CHANGE) as u64)
    }

    /// The settings and prefix sets that hold: 0 or 1.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        self.0 as u32 & 1
    }

    /// IPv4 sources are banned.
    pub const BANS_V4: u64 = 1 << 34;
    /// IPv6 sources are banned.
    pub const BANS_V6: u64 = 1 << 35;

    /// Whether the table of banned sources can have the source. An IPv6 source may stand for an IPv4 host.
    #[inline(always)]
    pub const fn has_bans(self, ipv6: bool) -> bool {
        self.0 & if ipv6 { Self::BANS_V4 | Self::BANS_V6 } else { Self::BANS_V4 } != 0
    }

    /// Whether a live entry can match.
    #[inline(always)]
    pub const fn has_live(self, ipv6: bool) -> bool {
        self.0 & if ipv6 { Self::LIVE_V6 } else { Self::LIVE_V4 } != 0
    }
}

macro_rules! map_values {
    ($($(#[$meta:meta])* pub struct $name:ident ($size:expr) { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "host", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout))]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

map_values! {
    /// Limits of the sources of a class.
    pub struct Class (128) {
        /// The class's own limits, and the default where it has none.
        pub limits: Limits,
        /// Bit for each [`Dimension`] in which the class has its own limit, or has none where others have one.
        pub own: u32,
        /// Bit for each [`Dimension`] in which `limits` has a limit.
        pub held: u32,
        /// One of [`mode`].
        pub mode: u64,
    }

    /// A service: what it requires and allows.
    pub struct Service (808) {
        /// The total of all sources together, in one bucket: what [`STRANGERS`] may use of it, and what [`ALL`] may.
        /// They differ in bursts.
        pub total: [Limits; 2],
        /// Limits of each source, towards this service.
        pub limits: Limits,
        /// Hashes of the server names that it asks for, by [`crate::hash::Running`]: whole names, then the part of
        /// wildcards behind their first label, dot included.
        pub names: [u64; NAMES],
        /// Local addresses as [`crate::packet::Address`].
        pub addresses: [[u64; 2]; ADDRESSES],
        /// How many of them count; 0: all addresses.
        pub address_count: u32,
        /// One of [`gate`].
        pub gate: u32,
        /// Bit for each [`Dimension`] in which `limits` holds.
        pub own: u32,
        /// Bit for each [`Dimension`] in which `total` holds.
        pub totals: u32,
        /// The region of the table of sources towards services that belongs to this service.
        pub region: u32,
        /// Parts of a connection's first message that must be read: bits of [`crate::wire::hello::want`]; 0: its prefix
        /// is enough.
        pub wants: u32,
        /// Lower byte of the lowest TLS version that must be offered.
        pub min_minor: u32,
        /// How many of the names are whole.
        pub whole_names: u32,
        /// How many names there are; 0: every name is good.
        pub all_names: u32,
        /// One of [`cookies`].
        pub cookies: u32,
        /// The rate of SYNs of all sources above which [`cookies::AUTO`] answers.
        pub surge: Limit,
        /// The limit of answers by cookies.
        pub answers: Limit,
        /// 1: a part of the total is kept for known clients; else 0.
        pub reserves: u32,
        /// One of [`refuse`].
        pub refuse: u32,
        /// 1: some limit of connections holds for it; else 0.
        pub connections: u32,
        /// One of [`mode`].
        pub mode: u32,
    }

    /// One policy without its prefixes.
    pub struct Settings (205_544) {
        /// The number of the policy, for people. 0: there is no policy yet, and every packet passes.
        pub generation: u64,
        /// One of [`mode`]; services and classes may be more lenient.
        pub mode: u32,
        /// Bits of [`policy`].
        pub flags: u32,
        /// Bits of an IPv4 address that make the source.
        pub source_mask_v4: u64,
        /// Bits of the upper half of an IPv6 address that make the source.
        pub source_mask_v6: u64,
        /// Bits of an IPv4 address that make the neighbourhood.
        pub neighbour_mask_v4: u64,
        /// Bits of the upper half of an IPv6 address that make the neighbourhood.
        pub neighbour_mask_v6: u64,
        /// Limits of each neighbourhood.
        pub neighbours: Limits,
        /// Bit for each [`Dimension`] in which `neighbours` holds.
        pub neighbours_own: u64,
        /// Classes; the first is that of all other sources.
        pub classes: [Class; CLASSES],
        /// Services; the first is none.
        pub services: [Service; SERVICES],
        /// Indices of the services that share a port, ended by 0.
        pub groups: [[u8; SERVICES_PER_PORT]; PORT_GROUPS],
        /// The group of each port: TCP, then UDP.
        pub group_by_port: [[u8; 65_536]; 2],
        /// Bit for each UDP port that amplifiers answer from: bit `port % 64` of word `port / 64`.
        pub reflectors: [u64; PORT_WORDS],
        /// Addresses of this host as [`crate::packet::Address`], sorted; all ones behind the last.
        pub locals: [[u64; 2]; LOCALS],
        /// The maximum segment size that this host's TCP takes, over IPv4 and over IPv6, by the counter row of the
        /// interface; 0: not known.
        pub segments: [[u16; 2]; INTERFACES],
    }

    /// What configuration says of a prefix and its covering prefixes.
    pub struct Listing (12) {
        /// Bits of [`listing`].
        pub flags: u32,
        /// Index of the class.
        pub class: u32,
        /// How sources are finer, of IPv6 alone: a [`crate::source::finer::Finer`].
        pub finer: u32,
    }

    /// The live entry of a prefix, with what its covering prefixes say. A time of 0: never; [`FOREVER`]: until it is
    /// taken back.
    pub struct Live (40) {
        /// Trusted until then.
        pub allow_until: Instant,
        /// Banned until then.
        pub ban_until: Instant,
        /// Until then, sources without a class share one bucket.
        pub shared_until: Instant,
        /// The key of that bucket in the tables of sources: see [`crate::source::KEY_SHARED_V4`].
        pub shared_key: u64,
        /// Packets that the ban dropped. Writer: the program.
        pub drops: u64,
    }

    /// Packets and bytes.
    pub struct Tally (16) {
        /// Packets.
        pub packets: u64,
        /// Bytes of whole frames.
        pub bytes: u64,
    }

    /// A connection to this host whose opening the gate refused, for user space to end.
    #[derive(Hash)]
    pub struct Refusal (56) {
        /// The client's address as [`crate::packet::Address`].
        pub client: [u64; 2],
        /// This host's address.
        pub server: [u64; 2],
        /// Bytes of the client's stream before the segment that was refused.
        pub received: u64,
        /// The client's port.
        pub client_port: u16,
        /// This host's port.
        pub server_port: u16,
        /// 1: IPv6; 0: IPv4.
        pub ipv6: u32,
        /// Index of the service.
        pub service: u32,
        /// Index of the interface that it comes in by.
        pub interface: u32,
    }

    /// A packet that was dropped, or would have been: one of some ([`crate::state::samples`]).
    pub struct Sample (152) {
        /// When it came.
        pub at: Instant,
        /// Bytes of the whole frame.
        pub length: u32,
        /// Bytes of it in `head`.
        pub captured: u32,
        /// Index of the service; 0: none, or it was not known yet.
        pub service: u16,
        /// The counter row of the interface that it came in by.
        pub interface: u16,
        /// The [`Action`](crate::verdict::Action).
        pub action: u8,
        /// The [`Reason`](crate::verdict::Reason).
        pub reason: u8,
        /// 1: it has no Ethernet header; else 0.
        pub bare: u8,
        /// Nothing.
        pub unused: u8,
        /// How the frame begins; behind what was captured there is anything.
        pub head: [u8; SAMPLE_HEAD],
    }

    /// A source that may have no more connections to a service, or a neighbourhood that may have no more to any. It is
    /// the key of a table whose values are the [`Instant`]s until which that holds.
    #[derive(Hash)]
    pub struct Holder (16) {
        /// Its key: see [`crate::source::key`].
        pub key: u64,
        /// Index of the service; 0: a neighbourhood.
        pub service: u64,
    }

    /// A tunnel's peer, with protocol and port of its packets.
    #[derive(Hash)]
    pub struct Tunnel (24) {
        /// The peer's address as [`crate::packet::Address`].
        pub peer: [u64; 2],
        /// The IP protocol.
        pub protocol: u32,
        /// The local port of UDP; else 0.
        pub port: u32,
    }

    /// Local ports that may have traffic of the host's own: a bit for each, as of reflectors.
    pub struct OwnPorts (16_384) {
        /// Of TCP: ports from which this host opens connections, and on which nobody listens.
        pub tcp: [u64; PORT_WORDS],
        /// Of UDP: ports of tunnels, and of connected sockets.
        pub udp: [u64; PORT_WORDS],
    }

    /// Facts that stay the same as long as the tables live, across restarts of the daemon.
    pub struct Identity (32) {
        /// The key of [`crate::hash`].
        pub key: [u64; 2],
        /// Nanoseconds of the monotonic clock at [`Instant`] 0.
        pub epoch: u64,
        /// [`ABI_VERSION`].
        pub abi: u64,
    }
}

/// A time that never comes.
pub const FOREVER: Instant = Instant::MAX;

impl Class {
    /// A class with these limits, of which those in the dimensions of `own` are its own.
    pub fn new(limits: Limits, own: u32) -> Self {
        let held = Dimension::ALL.into_iter().filter(|&dimension| limits.of(dimension).is_limit());
        Self { limits, own, held: held.map(bit).sum(), mode: mode::ENFORCE as u64 }
    }
}

impl Settings {
    /// A service by its index. The mask is for the verifier: user space writes no index beyond.
    #[inline(always)]
    pub const fn service(&self, index: u32) -> &Service {
        &self.services[index as usize & (SERVICES - 1)]
    }

    /// A class by its index, likewise.
    #[inline(always)]
    pub const fn class(&self, index: u32) -> &Class {
        &self.classes[index as usize & (CLASSES - 1)]
    }
}

impl Service {
    /// Its region of the table of sources towards services, likewise.
    #[inline(always)]
    pub const fn region(&self) -> u32 {
        self.region & (SERVICE_REGIONS as u32 - 1)
    }

    /// Whether connections must start with a ClientHello.
    #[inline(always)]
    pub const fn requires_tls(&self) -> bool {
        self.gate == gate::TLS
    }
}

impl Live {
    /// There is no entry.
    pub const NONE: Self = Self { allow_until: 0, ban_until: 0, shared_until: 0, shared_key: 0, drops: 0 };

    /// Whether a time lies ahead.
    #[inline(always)]
    pub const fn holds(until: Instant, now: Instant) -> bool {
        until != 0 && (until == FOREVER || (until.wrapping_sub(now) as i64) > 0)
    }
}
