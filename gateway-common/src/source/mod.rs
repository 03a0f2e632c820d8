//! Keys of sources and of neighbourhoods in the tables of buckets, bans and known clients.

pub mod finer;

use crate::{
    abi::Settings,
    packet::Packet,
    source::finer::{LINK_LOCAL, is_link_local},
};

/// The bits above an IPv4 address in a key. As an IPv6 prefix it lies in ::/16, which the sanity stage lets nobody use.
pub const KEY_V4: u64 = 1 << 32;
/// The key of the unspecified IPv6 address, since 0 marks an empty slot.
pub const KEY_UNSPECIFIED: u64 = 2 << 32;
/// The bits above the network address of an IPv4 neighbourhood in the key of the bucket that its sources share; for
/// IPv6 see [`shared_56`] and [`shared_48`]. No source has such a key, so the debts of a source and of its
/// neighbourhood never mix.
pub const KEY_SHARED_V4: u64 = 3 << 32;

/// The key of the bucket that an IPv6 /56 shares, by the upper half of its network address: a multicast prefix, from
/// which the sanity stage lets nobody send.
pub const fn shared_56(high: u64) -> u64 {
    0xff << 56 | high >> 8
}

/// The same for a /48. It lies in ::/16, above all keys of IPv4. Nothing for a /48 in ::/8, of which nothing is
/// assigned to anybody.
pub const fn shared_48(high: u64) -> Option<u64> {
    if high >> 56 == 0 { None } else { Some(high >> 16) }
}

/// The key of a packet's source, where sources are not [`finer`].
#[inline(always)]
pub(crate) const fn of_address(settings: &Settings, packet: &Packet) -> u64 {
    held_key(packet, settings.source_mask_v4, settings.source_mask_v6)
}

/// The key of its neighbourhood. A link-local source is its own neighbourhood.
#[inline(always)]
pub(crate) const fn neighbourhood(settings: &Settings, packet: &Packet) -> u64 {
    held_key(packet, settings.neighbour_mask_v4, settings.neighbour_mask_v6)
}

/// The key of a packet's source, or neighbourhood, as limits take it: [`key`], but each link-local address has its own.
#[inline(always)]
pub const fn held_key(packet: &Packet, mask_v4: u64, mask_v6: u64) -> u64 {
    if is_link_local(packet.source) {
        return LINK_LOCAL.key(packet.source);
    }
    key(packet, mask_v4, mask_v6)
}

/// The key of a packet's exact source, or neighbourhood. An IPv6 address that stands for an IPv4 host is that host:
/// otherwise all clients of one translator would be one source.
#[inline(always)]
pub const fn key(packet: &Packet, mask_v4: u64, mask_v6: u64) -> u64 {
    if packet.from_v4 {
        return KEY_V4 | (packet.source.as_v4() as u64 & mask_v4);
    }
    match packet.source.high & mask_v6 {
        0 => KEY_UNSPECIFIED,
        key => key,
    }
}
