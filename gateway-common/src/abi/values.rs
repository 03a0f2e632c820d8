//! The meanings of single numbers in the layouts.

/// Values of [`super::Settings::mode`], and of the modes of services and classes. The bits of several modes together
/// are the most lenient of them; 0 is the strictest.
pub mod mode {
    /// Drops.
    pub const ENFORCE: u32 = 0;
    /// Decides and counts, and passes.
    pub const MONITOR: u32 = 1;
    /// Counts only.
    pub const OFF: u32 = 3;
}

/// Bits of [`super::Settings::flags`].
pub mod policy {
    /// The IPv4 prefix set has entries.
    pub const LISTS_V4: u32 = 1;
    /// The IPv6 prefix set has entries.
    pub const LISTS_V6: u32 = 2;
    /// The host's TCP finds the client's options in the timestamp of a cookie (net.ipv4.tcp_timestamps is 2).
    pub const COOKIE_OPTIONS: u32 = 4;
    /// The host's TCP takes SACK (net.ipv4.tcp_sack is not 0).
    pub const SACK: u32 = 8;
    /// Some limit is so fine that every packet needs a reading of the clock of its own.
    pub const CLOCK_PER_PACKET: u32 = 16;
    /// Sources in reserved parts of IPv4 (240.0.0.0/4, 0.0.0.0/8) may come.
    pub const RESERVED_SOURCES: u32 = 32;
    /// Sockets are asked whether they wait for packets from amplifiers' ports, while the host forwards nothing.
    pub const REFLECTION: u32 = 1 << 8;
    /// They are asked even while it forwards.
    pub const REFLECTION_FORWARDING: u32 = 1 << 9;
}

/// Values of [`super::Service::cookies`].
pub mod cookies {
    /// No SYN is answered.
    pub const OFF: u32 = 0;
    /// SYNs are answered while there are more than [`super::super::Service::surge`].
    pub const AUTO: u32 = 1;
    /// All SYNs are answered.
    pub const ALWAYS: u32 = 2;
}

/// Values of [`super::Service::refuse`].
pub mod refuse {
    /// A segment of a refused opening is dropped.
    pub const DROP: u32 = 0;
    /// It is dropped, and user space is told of its connection, to end it.
    pub const RESET: u32 = 1;
}

/// Bits of [`super::Listing::flags`].
pub mod listing {
    /// Trusted.
    pub const ALLOW: u32 = 1;
    /// Blocked.
    pub const BLOCK: u32 = 2;
    /// Never banned.
    pub const NEVER: u32 = 4;
}

/// Values of [`super::Service::gate`].
pub mod gate {
    /// Anything may come.
    pub const ANY: u32 = 0;
    /// Every connection starts with a ClientHello.
    pub const TLS: u32 = 1;
    /// Every connection starts with an Initial.
    pub const QUIC: u32 = 2;
}
