//! IPv6 (RFC 8200) with its extension headers: contract: a frame and the header's offset in, [`Network`] out, and
//! addresses, protocol and fragment in the packet.
//!
//! The chain is walked over at most [`CHAIN_MAX`] headers. It ends at a transport protocol, ESP, "no next header", an
//! unknown number, or a later fragment, whose bytes are no header at all.

use core::ops::ControlFlow;

use network_types::ip::{IpProto, Ipv6Hdr};

use super::{Network, ipv4};
use crate::{
    frame::{Frame, Task},
    packet::{Address, Fragment, Packet},
    verdict::{Reason, Step, drop},
};

/// Extension headers that are walked; RFC 8504 section 5.3 lets hosts limit them to 8.
pub const CHAIN_MAX: usize = 8;

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const DESTINATION: u8 = IpProto::Ipv6Opts as u8;
const MOBILITY: u8 = IpProto::MobilityHeader as u8;
const HIP: u8 = IpProto::Hip as u8;
const SHIM6: u8 = IpProto::Shim6 as u8;

/// Bytes that every extension header starts with, and by which headers grow.
const UNIT: u32 = 8;

/// Parses the header and its chain.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, offset: u32, network: &mut Network, packet: &mut Packet) -> Step {
    let Some(header) = frame.bytes::<{ Ipv6Hdr::LEN }>(offset) else {
        return drop(Reason::Ipv6Malformed);
    };
    let [version, _, _, _, l0, l1, next, hops, addresses @ ..] = header;
    let (Some(&source), Some(&destination)) = (addresses.first_chunk(), addresses.last_chunk()) else {
        return drop(Reason::Ipv6Malformed);
    };
    let transport = offset + Ipv6Hdr::LEN as u32;
    let length = super::said(u16::from_be_bytes([l0, l1]), frame.length().wrapping_sub(transport));
    if version >> 4 != 6 || transport + length > frame.length() {
        return drop(Reason::Ipv6Malformed);
    }
    let source = Address::v6(source);
    *packet = Packet {
        source,
        destination: Address::v6(destination),
        length: frame.length(),
        ipv6: true,
        from_v4: source.embeds_v4(),
        protocol: next,
        hops,
        ..Packet::default()
    };
    *network = Network { transport, length };
    if is_extension(next) { extensions(frame, network, packet) } else { Step::Continue(()) }
}

/// Walks the chain. A function of its own in the kernel: few packets have one.
#[inline(never)]
fn extensions<F: Frame>(frame: &F, network: &mut Network, packet: &mut Packet) -> Step {
    let mut chain = Chain { network, packet, answer: Step::Continue(()) };
    frame.take_steps(CHAIN_MAX as u32 + 1, &mut chain);
    chain.answer
}

/// A walk along a chain, one header a step.
struct Chain<'a> {
    network: &'a mut Network,
    packet: &'a mut Packet,
    answer: Step,
}

impl Task for Chain<'_> {
    #[inline(always)]
    fn step<F: Frame>(&mut self, position: u32, frame: &F) -> ControlFlow<()> {
        if !is_extension(self.packet.protocol) || matches!(self.packet.fragment, Fragment::Later) {
            return ControlFlow::Break(());
        }
        self.answer = header(frame, position, self.network, self.packet);
        if self.answer.is_break() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Steps over the extension header at `position` of the chain.
#[inline(always)]
fn header<F: Frame>(frame: &F, position: u32, network: &mut Network, packet: &mut Packet) -> Step {
    if position == CHAIN_MAX as u32 {
        return drop(Reason::Ipv6Chain);
    }
    let Some(header) = frame.bytes::<{ UNIT as usize }>(network.transport) else {
        return drop(if network.transport > crate::frame::OFFSET_MAX {
            Reason::Ipv6Chain
        } else {
            cut_short(packet)
        });
    };
    let [next, extra, kind, low, ..] = header;
    let size = match packet.protocol {
        HOP_BY_HOP if position != 0 => return drop(Reason::Ipv6Malformed),
        // RFC 4302 section 2.2: in units of four bytes, less two.
        AUTHENTICATION => (u32::from(extra) + 2) * 4,
        FRAGMENT => UNIT,
        _ => (u32::from(extra) + 1) * UNIT,
    };
    if size > network.length {
        return drop(cut_short(packet));
    }
    if packet.protocol == ROUTING && kind == 0 {
        return drop(Reason::Ipv6RoutingType0);
    }
    let is_fragment = packet.protocol == FRAGMENT;
    packet.protocol = next;
    network.transport = network.transport.wrapping_add(size);
    network.length -= size;
    if is_fragment {
        packet.fragment = fragment(u16::from_be_bytes([kind, low]), network, packet)?;
    }
    Step::Continue(())
}

/// RFC 7112 section 5: the first fragment holds the whole chain.
#[inline(always)]
const fn cut_short(packet: &Packet) -> Reason {
    if matches!(packet.fragment, Fragment::First) { Reason::TinyFragment } else { Reason::Ipv6Malformed }
}

/// RFC 8200 section 4.5: 13 bits of offset in units of eight bytes, two reserved, one "more fragments".
#[inline(always)]
fn fragment(field: u16, network: &Network, packet: &Packet) -> Step<Fragment> {
    match (field & 0xfff8, field & 1) {
        // RFC 6946: atomic. A fragment header earlier in the chain still holds.
        (0, 0) => Step::Continue(packet.fragment),
        (0, _) => Step::Continue(Fragment::First),
        (start, _) => ipv4::later(u32::from(start), network.length, packet.protocol),
    }
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}
