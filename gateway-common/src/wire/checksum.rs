//! The checksum of TCP (RFC 9293 section 3.1, RFC 1071).

use core::ops::ControlFlow;

use network_types::ip::IpProto;

use super::tcp;
use crate::{
    frame::{Frame, Task},
    packet::{Address, Packet},
};

/// Bytes that a step adds: even, so that steps end between words.
const STEP: usize = 64;
/// More steps than a packet needs.
const STEPS: u32 = (1 << 16) / STEP as u32;

/// Bytes of a frame that are added step by step, as words of this machine's order: the sum is the same but for its byte
/// order.
#[derive(Clone, Copy, Debug)]
struct Sum {
    at: u32,
    end: u32,
    sum: u64,
}

impl Task for Sum {
    #[inline(always)]
    fn step<F: Frame>(&mut self, _: u32, frame: &F) -> ControlFlow<()> {
        let left = self.end.wrapping_sub(self.at);
        let length = if left < STEP as u32 { left } else { STEP as u32 };
        let Some(bytes) = frame.copy::<STEP>(self.at, length) else { return ControlFlow::Break(()) };
        let (words, _) = bytes.as_chunks::<4>();
        for word in words {
            self.sum += u64::from(u32::from_ne_bytes(*word));
        }
        self.at += length;
        if self.at == self.end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Whether the checksum of a TCP segment is right, or is one that a sender on this machine leaves to its network card:
/// the sum of the pseudo header, to which the card would add the rest (`CHECKSUM_PARTIAL` in include/linux/skbuff.h).
#[inline(always)]
pub fn holds<F: Frame>(frame: &F, packet: &Packet, transport: u32) -> bool {
    let end = packet.payload.wrapping_add(packet.payload_length);
    let Some(field) = frame.bytes(transport.wrapping_add(tcp::CHECKSUM)).map(u16::from_ne_bytes) else {
        return false;
    };
    let pseudo = pseudo(packet, end.wrapping_sub(transport));
    if field == fold(pseudo) {
        return true;
    }
    let mut sum = Sum { at: transport, end, sum: pseudo };
    frame.take_steps(STEPS, &mut sum);
    sum.at == end && fold(sum.sum) == u16::MAX
}

/// The sum of the pseudo header of a segment of so many bytes, in this machine's byte order.
#[inline(always)]
fn pseudo(packet: &Packet, length: u32) -> u64 {
    let rest = u64::from(u32::from(IpProto::Tcp as u8).to_be()) + u64::from(length.to_be());
    if packet.ipv6 {
        return rest + words(packet.source) + words(packet.destination);
    }
    rest + u64::from(packet.source.as_v4().to_be()) + u64::from(packet.destination.as_v4().to_be())
}

#[inline(always)]
fn words(Address { high, low }: Address) -> u64 {
    (high.to_be() >> 32) + (high.to_be() & 0xffff_ffff) + (low.to_be() >> 32) + (low.to_be() & 0xffff_ffff)
}

/// The sum of the 16-bit words in a sum of larger ones, as one such word.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}
