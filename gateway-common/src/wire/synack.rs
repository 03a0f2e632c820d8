//! The answer to a SYN by a SYN cookie.
//!
//! A cookie is the answer's sequence number, without room for the client's options. So Linux keeps them in the low bits
//! of the timestamp that the client sends back (`cookie_init_timestamp` in net/ipv4/syncookies.c), and forgets them if
//! there are no timestamps. So does this.

use network_types::ip::IpProto;

use super::options::{Options, kind};
use crate::packet::{Packet, flags};

/// No window scale, in the timestamp's bits and from a host that was not seen to scale.
pub const NO_SCALE: u8 = 0xf;
/// Bits of the timestamp that hold options (`TSBITS`).
const OPTION_BITS: u32 = 6;
/// SACK permitted (`TS_OPT_SACK`). ECN, the bit after it, is not offered.
const OPTION_SACK: u32 = 1 << 4;
/// The window before the connection is there: Linux's with default buffers, and more than a client's first flight.
const WINDOW: u16 = 64_240;
/// Hops of an answer, as Linux's default.
const HOPS: u8 = 64;
/// Words of the header of IPv4.
pub const IPV4_WORDS: usize = 5;
/// Of IPv6.
pub const IPV6_WORDS: usize = 10;
/// Of TCP with the segment size alone.
pub const TCP_WORDS: usize = 6;
/// Of TCP with all options.
pub const TCP_WORDS_ALL: usize = 10;

/// What this host answers with, and offers to a client that offers all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The sequence number that the connection begins with.
    pub cookie: u32,
    /// The maximum segment size that this host takes (RFC 9293 section 3.7.1). The client's is kept in the cookie.
    pub mss: u16,
    /// The clock of the host's TCP timestamps, in ms.
    pub clock: u32,
    /// The host's TCP reads options back from the timestamps.
    pub keeps: bool,
    /// SACK permitted.
    pub sack: bool,
    /// By how many bits it scales its windows; [`NO_SCALE`]: it does not.
    pub scale: u8,
}

/// The answer's headers, as words of 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct SynAck {
    /// The IP header.
    pub ip: [u32; IPV6_WORDS],
    /// How many words of it count: [`IPV4_WORDS`] or [`IPV6_WORDS`].
    pub ip_words: u32,
    /// The TCP header.
    pub tcp: [u32; TCP_WORDS_ALL],
    /// How many words of it count: [`TCP_WORDS`] or [`TCP_WORDS_ALL`].
    pub tcp_words: u32,
}

impl SynAck {
    /// Writes the answer to a SYN.
    #[inline(always)]
    pub fn write(&mut self, syn: &Packet, options: &Options, terms: &Terms) {
        let sum = self.write_tcp(syn, options, terms);
        let addresses = if syn.ipv6 { self.write_ipv6(syn) } else { self.write_ipv4(syn) };
        // Both pseudo headers end with protocol and length (RFC 9293 section 3.1, RFC 8200 section 8.1).
        let sum = sum + addresses + u32::from(IpProto::Tcp as u8) + 4 * self.tcp_words;
        self.tcp[4] = u32::from(checksum(sum)) << 16;
    }

    /// Gives back the header's sum.
    #[inline(always)]
    fn write_tcp(&mut self, syn: &Packet, options: &Options, terms: &Terms) -> u32 {
        let tcp = &mut self.tcp;
        let has_all = terms.keeps && options.has_timestamps;
        let words = if has_all { TCP_WORDS_ALL } else { TCP_WORDS };
        tcp[0] = join(syn.destination_port, syn.source_port);
        tcp[1] = terms.cookie;
        tcp[2] = syn.sequence.wrapping_add(1);
        tcp[3] = (words as u32) << 28 | u32::from(flags::SYN | flags::ACK) << 16 | u32::from(WINDOW);
        tcp[4] = 0;
        tcp[5] = bytes([kind::MSS, 4, 0, 0]) | u32::from(terms.mss);
        self.tcp_words = words as u32;
        let mut sum = sum_of(&tcp[..TCP_WORDS]);
        if has_all {
            let has_sack = terms.sack && options.has_sack;
            let has_scale = terms.scale != NO_SCALE && options.has_scale;
            let kept = if has_scale { options.scale } else { NO_SCALE };
            let kept = u32::from(kept) | if has_sack { OPTION_SACK } else { 0 };
            let filler = |wanted, kind| if wanted { kind } else { kind::NOP };
            tcp[6] = bytes([filler(has_sack, kind::SACK), filler(has_sack, 2), kind::TIMESTAMPS, 10]);
            tcp[7] = timestamp(terms.clock, kept);
            tcp[8] = options.timestamp;
            let scale = |byte| filler(has_scale, byte);
            tcp[9] = bytes([kind::NOP, scale(kind::SCALE), scale(3), scale(terms.scale)]);
            sum += sum_of(&tcp[TCP_WORDS..]);
        }
        sum
    }

    /// Gives back the sum of the addresses.
    #[inline(always)]
    fn write_ipv4(&mut self, syn: &Packet) -> u32 {
        let ip = &mut self.ip;
        ip[0] = 0x4500_0000 | (4 * (IPV4_WORDS as u32 + self.tcp_words));
        // Do not fragment.
        ip[1] = 0x4000;
        ip[2] = bytes([HOPS, IpProto::Tcp as u8, 0, 0]);
        ip[3] = syn.destination.as_v4();
        ip[4] = syn.source.as_v4();
        self.ip_words = IPV4_WORDS as u32;
        let addresses = sum_of(&ip[3..IPV4_WORDS]);
        ip[2] |= u32::from(checksum(sum_of(&ip[..3]) + addresses));
        addresses
    }

    /// Gives back the sum of the addresses.
    #[inline(always)]
    fn write_ipv6(&mut self, syn: &Packet) -> u32 {
        let ip = &mut self.ip;
        ip[0] = 0x6000_0000;
        ip[1] = join((4 * self.tcp_words) as u16, u16::from_be_bytes([IpProto::Tcp as u8, HOPS]));
        for (at, address) in [(2, syn.destination), (6, syn.source)] {
            for (at, word) in [(at, address.high), (at + 2, address.low)] {
                ip[at] = (word >> 32) as u32;
                ip[at + 1] = word as u32;
            }
        }
        self.ip_words = IPV6_WORDS as u32;
        sum_of(&ip[2..])
    }
}

/// The latest timestamp up to now with these low bits (`cookie_init_timestamp`): clients take none that goes back.
#[inline(always)]
const fn timestamp(clock: u32, kept: u32) -> u32 {
    let timestamp = clock >> OPTION_BITS << OPTION_BITS | kept;
    if timestamp.wrapping_sub(clock) as i32 > 0 {
        timestamp.wrapping_sub(1 << OPTION_BITS)
    } else {
        timestamp
    }
}

/// Four bytes as a word.
#[inline(always)]
const fn bytes(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

/// Two halves as a word.
#[inline(always)]
fn join(high: u16, low: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

/// The sum of the 16-bit halves of words.
#[inline(always)]
fn sum_of(words: &[u32]) -> u32 {
    words.iter().fold(0, |sum, word| sum + halves(*word))
}

#[inline(always)]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The Internet checksum of a sum of 16-bit words (RFC 1071).
#[inline(always)]
const fn checksum(sum: u32) -> u16 {
    !(halves(halves(sum)) as u16)
}

#[cfg(test)]
mod tests;
