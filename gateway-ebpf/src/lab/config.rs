//! What user space and the lab's programs tell each other; compiled into both.

/// Words of the template's beginning that the generator writes into each frame: its pages come back as the receiver
/// left them, and a receiver that answers in place leaves something else.
pub(crate) const HEADER_WORDS: usize = 12;

/// Every frame has the template's source.
pub(crate) const SOURCE_FIXED: u32 = 0;
/// Sources are drawn from `count` IPv4 addresses that begin at `base[0]`.
pub(crate) const SOURCE_IPV4: u32 = 1;
/// Sources are drawn from `count` IPv6 networks of 64 bits, numbered in the second word of `base`; the host part is
/// kept.
pub(crate) const SOURCE_IPV6_NETWORKS: u32 = 2;
/// Sources are drawn from all host parts in the network of 64 bits that `base` begins with.
pub(crate) const SOURCE_IPV6_HOSTS: u32 = 3;

/// What the generator sends. Addresses are numbers of the host's byte order, the header is bytes as they are sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// The first bytes of each frame.
    pub(crate) header: [u64; HEADER_WORDS],
    /// How many words of `header` are used.
    pub(crate) words: u32,
    /// Offset of the source address, even.
    pub(crate) source_at: u32,
    /// Offset of the IPv4 header's checksum, even; 0: there is none.
    pub(crate) ip_checksum_at: u32,
    /// One's complement sum of the IPv4 header's 16-bit words in network order, without checksum and source.
    pub(crate) ip_sum: u32,
    /// Offset of the checksum of TCP, UDP or ICMP, even; 0: none is written.
    pub(crate) checksum_at: u32,
    /// One's complement sum of what that checksum covers, without checksum, source address and drawn source port.
    pub(crate) sum: u32,
    /// 1 when the source address is part of that sum, as for all but ICMP over IPv4.
    pub(crate) pseudo: u32,
    /// Offset of the source port, even, when it is drawn; 0: it stays.
    pub(crate) port_at: u32,
    /// One of the `SOURCE_` constants.
    pub(crate) source: u32,
    /// How many sources there are.
    pub(crate) count: u32,
    /// The first source: one word for IPv4, four for IPv6.
    pub(crate) base: [u32; 4],
    /// Frames to send at most.
    pub(crate) limit: u64,
    /// Time between two frames in 1/256 ns; 0: none.
    pub(crate) gap: u64,
    /// Where the sequence of draws begins.
    pub(crate) seed: u64,
}

/// Where the generator is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Frames sent so far.
    pub(crate) sent: u64,
    /// When the next is due, in 1/256 ns; 0 before the first.
    pub(crate) next: u64,
}

/// The limit of the textbook token bucket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Textbook {
    /// Packets per second and source, at most 1,000,000,000.
    pub(crate) rate: u64,
    /// Packets that may come at once.
    pub(crate) burst: u64,
}

/// What the counting program keeps for each of [`CATEGORIES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Frames.
    pub(crate) packets: u64,
    /// Their bytes; for `tls` the bytes of TCP payload.
    pub(crate) bytes: u64,
}

/// What is counted, in the order of the map.
pub(crate) const CATEGORIES: [&str; 8] = ["all", "ipv4", "ipv6", "tcp", "udp", "icmp", "tls", "flood"];
/// Index of all frames.
pub(crate) const ALL: u32 = 0;
/// Index of IPv4 frames.
pub(crate) const IPV4: u32 = 1;
/// Index of IPv6 frames.
pub(crate) const IPV6: u32 = 2;
/// Index of TCP segments.
pub(crate) const TCP: u32 = 3;
/// Index of UDP datagrams.
pub(crate) const UDP: u32 = 4;
/// Index of ICMP and ICMPv6 messages.
pub(crate) const ICMP: u32 = 5;
/// Index of TCP segments to port 443 that carry data.
pub(crate) const TLS: u32 = 6;
/// Index of frames from the networks that floods come from.
pub(crate) const FLOOD: u32 = 7;
