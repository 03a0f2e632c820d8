//! The answer to a SYN by a SYN cookie.
//!
//! A cookie is the answer's sequence number; there is no room in it for the client's options, so Linux keeps them in the low
//! bits of the timestamp that the client sends back (`cookie_init_timestamp` in net/ipv4/syncookies.c), and forgets them
//! where there are no timestamps. So does this.

use network_types::ip::IpProto;

use super::options::{Options, kind};
use crate::packet::{Packet, flags};

/// No window scale, in the timestamp's bits and from a host that was not seen to scale.
pub const NO_SCALE: u8 = 0xf;
/// Bits of the timestamp that hold options (`TSBITS`).
const OPTION_BITS: u32 = 6;
/// SACK permitted (`TS_OPT_SACK`). ECN, the bit after it, is not offered.
const OPTION_SACK: u32 = 1 << 4;
/// The window before the connection is there: what Linux says with its default buffers, and more than a client's first flight.
const WINDOW: u16 = 64_240;
/// Hops of an answer, as Linux's default.
const HOPS: u8 = 64;
/// Lengths of the headers.
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const MSS: usize = 4;
const ALL_OPTIONS: usize = 20;

/// What the cookie says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// The sequence number of the answer.
    pub sequence: u32,
    /// The maximum segment size that is kept in it.
    pub mss: u16,
}

/// What this host answers with, and offers a client that offers all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the connection begins with.
    pub cookie: Cookie,
    /// The clock of the host's TCP timestamps, in ms.
    pub clock: u32,
    /// The host's TCP finds options in them again.
    pub keeps: bool,
    /// SACK permitted.
    pub sack: bool,
    /// By how many bits it scales its windows; [`NO_SCALE`]: it does not.
    pub scale: u8,
}

/// The answer's headers.
#[derive(Clone, Copy, Debug)]
pub struct SynAck {
    /// The IP header, and behind it zeros.
    pub ip: [u8; IPV6],
    /// Length of the IP header.
    pub ip_length: u32,
    /// The TCP header, and behind it zeros.
    pub tcp: [u8; 64],
    /// Length of the TCP header.
    pub tcp_length: u32,
}

impl Default for SynAck {
    fn default() -> Self {
        Self { ip: [0; IPV6], ip_length: 0, tcp: [0; 64], tcp_length: 0 }
    }
}

impl SynAck {
    /// Writes the answer to a SYN. A function of its own in the kernel: its stack is added to its caller's alone.
    #[inline(never)]
    pub fn write(&mut self, syn: &Packet, options: &Options, terms: &Terms) {
        *self = Self::default();
        self.write_tcp(syn, options, terms);
        let sum = if syn.ipv6 { self.write_ipv6(syn) } else { self.write_ipv4(syn) };
        // Both pseudo headers end with protocol and length (RFC 9293 section 3.1, RFC 8200 section 8.1).
        let sum = sum + u32::from(IpProto::Tcp as u8) + self.tcp_length;
        let sum = sum + sum_of::<64>(&self.tcp);
        put16(&mut self.tcp, 16, checksum(sum));
    }

    #[inline(always)]
    fn write_tcp(&mut self, syn: &Packet, options: &Options, terms: &Terms) {
        let tcp = &mut self.tcp;
        put16(tcp, 0, syn.destination_port);
        put16(tcp, 2, syn.source_port);
        put32(tcp, 4, terms.cookie.sequence);
        put32(tcp, 8, syn.sequence.wrapping_add(1));
        tcp[13] = flags::SYN | flags::ACK;
        put16(tcp, 14, WINDOW);
        tcp[20] = kind::MSS;
        tcp[21] = 4;
        put16(tcp, 22, terms.cookie.mss);
        let mut length = TCP + MSS;
        if terms.keeps && options.has_timestamps {
            let has_sack = terms.sack && options.has_sack;
            let has_scale = terms.scale != NO_SCALE && options.has_scale;
            let kept = if has_scale { options.scale } else { NO_SCALE };
            let kept = u32::from(kept) | if has_sack { OPTION_SACK } else { 0 };
            let filler = |wanted, kind| if wanted { kind } else { kind::NOP };
            tcp[24] = filler(has_sack, kind::SACK);
            tcp[25] = filler(has_sack, 2);
            tcp[26] = kind::TIMESTAMPS;
            tcp[27] = 10;
            put32(tcp, 28, timestamp(terms.clock, kept));
            put32(tcp, 32, options.timestamp);
            tcp[36] = kind::NOP;
            tcp[37] = filler(has_scale, kind::SCALE);
            tcp[38] = filler(has_scale, 3);
            tcp[39] = filler(has_scale, terms.scale);
            length = TCP + ALL_OPTIONS;
        }
        tcp[12] = (length as u8 / 4) << 4;
        self.tcp_length = length as u32;
    }

    /// Gives back the sum of the addresses.
    #[inline(always)]
    fn write_ipv4(&mut self, syn: &Packet) -> u32 {
        let ip = &mut self.ip;
        ip[0] = 0x45;
        put16(ip, 2, (IPV4 as u32 + self.tcp_length) as u16);
        // Do not fragment.
        ip[6] = 0x40;
        ip[8] = HOPS;
        ip[9] = IpProto::Tcp as u8;
        put32(ip, 12, syn.destination.as_v4());
        put32(ip, 16, syn.source.as_v4());
        self.ip_length = IPV4 as u32;
        let sum = sum_of::<IPV6>(&self.ip);
        put16(&mut self.ip, 10, checksum(sum));
        halves(syn.destination.as_v4()) + halves(syn.source.as_v4())
    }

    /// Gives back the sum of the addresses.
    #[inline(always)]
    fn write_ipv6(&mut self, syn: &Packet) -> u32 {
        let ip = &mut self.ip;
        ip[0] = 0x60;
        put16(ip, 4, self.tcp_length as u16);
        ip[6] = IpProto::Tcp as u8;
        ip[7] = HOPS;
        let mut sum = 0;
        for (at, address) in [(8, syn.destination), (24, syn.source)] {
            for (at, word) in [(at, address.high), (at + 8, address.low)] {
                put32(ip, at, (word >> 32) as u32);
                put32(ip, at + 4, word as u32);
                sum += halves((word >> 32) as u32) + halves(word as u32);
            }
        }
        self.ip_length = IPV6 as u32;
        sum
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

#[inline(always)]
fn put16<const N: usize>(bytes: &mut [u8; N], at: usize, value: u16) {
    let [high, low] = value.to_be_bytes();
    bytes[at] = high;
    bytes[at + 1] = low;
}

#[inline(always)]
fn put32<const N: usize>(bytes: &mut [u8; N], at: usize, value: u32) {
    put16(bytes, at, (value >> 16) as u16);
    put16(bytes, at + 2, value as u16);
}

/// The sum of the 16-bit words.
#[inline(always)]
fn sum_of<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    for at in 0..N / 2 {
        sum += u32::from(u16::from_be_bytes([bytes[at * 2], bytes[at * 2 + 1]]));
    }
    sum
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
