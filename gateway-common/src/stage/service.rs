//! The service that a packet is for.

use crate::{
    abi::{Service, Settings},
    branchless::zero_sign,
    packet::{Fragment, Packet},
    stage::packet_state::PacketState,
};

/// Finds the service by protocol, port and local address, and the mode of the packet: the most lenient of the
/// gateway's, the service's and that of the source's class. A later fragment has no port, so it is for no service.
#[inline(always)]
pub fn find(settings: &Settings, state: &mut PacketState) {
    let PacketState { packet, role, .. } = state;
    role.service = index(settings, packet).unwrap_or(0);
    role.mode = settings.mode | settings.service(role.service).mode | settings.class(role.class).mode as u32;
}

#[inline(always)]
fn index(settings: &Settings, packet: &Packet) -> Option<u32> {
    if matches!(packet.fragment, Fragment::Later) {
        return None;
    }
    let row = if packet.is_tcp() {
        0
    } else if packet.is_udp() {
        1
    } else {
        return None;
    };
    let group = *settings.group_by_port.get(row)?.get(usize::from(packet.destination_port))?;
    if group == 0 {
        return None;
    }
    for &index in settings.groups.get(usize::from(group))? {
        if index == 0 {
            return None;
        }
        if is_addressed(settings.service(u32::from(index)), packet) {
            return Some(u32::from(index));
        }
    }
    None
}

#[inline(always)]
fn is_addressed(service: &Service, packet: &Packet) -> bool {
    let count = u64::from(service.address_count);
    if count == 0 {
        return true;
    }
    // All are compared, without a branch: the verifier would follow later code once for each of them.
    let mut is_other: u64 = 1;
    for (position, [high, low]) in (0_u64..).zip(service.addresses) {
        let difference = (packet.destination.high ^ high) | (packet.destination.low ^ low);
        // None of those beyond the last.
        let is_one = position.wrapping_sub(count) & zero_sign(difference);
        is_other &= !(is_one >> 63);
    }
    is_other == 0
}
