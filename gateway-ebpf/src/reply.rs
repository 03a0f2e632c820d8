//! Turns a frame into the answer to it.

use core::hint::black_box;

use aya_ebpf::{
    helpers::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use gateway_common::wire::synack::SynAck;

/// The shortest frame, less its checksum (`ETH_ZLEN`): what is shorter, some cards pad and some refuse.
const FRAME_MIN: u32 = 60;
/// Both hardware addresses.
const ADDRESSES: u32 = 12;
/// Highest offset of an IP header: behind two VLAN tags.
const AT_MAX: u32 = 22;

/// Writes the answer's headers from offset `at` on, swaps the hardware addresses and keeps what lies between: VLAN tags. False
/// where the driver gives no room, or a group was addressed; then nothing is changed.
/// A function of its own, as [`crate::socket::cookie`].
#[inline(never)]
pub(crate) fn write(context: &XdpContext, at: u32, answer: &SynAck) -> bool {
    let mut addresses = [0_u16; ADDRESSES as usize / 2];
    // SAFETY: the context is the kernel's own; addresses has room for what is read.
    let read = unsafe { bpf_xdp_load_bytes(context.ctx, 0, addresses.as_mut_ptr().cast(), ADDRESSES) };
    // The first bit on the wire is the lowest of the first byte.
    if read != 0 || addresses[0].to_be() >> 8 & 1 != 0 || at > AT_MAX {
        return false;
    }
    let end = at + answer.ip_length + answer.tcp_length;
    let wanted = if end < FRAME_MIN { FRAME_MIN } else { end };
    // SAFETY: as above.
    let there = unsafe { bpf_xdp_get_buff_len(context.ctx) } as i32;
    // SAFETY: as above; nothing keeps a pointer into the frame.
    if unsafe { bpf_xdp_adjust_tail(context.ctx, wanted as i32 - there) } != 0 {
        return false;
    }
    let [a, b, c, d, e, f] = addresses;
    let mut turned = [d, e, f, a, b, c];
    // With the zeros behind the header that fill the frame up.
    let tcp_length = black_box(u64::from(wanted.wrapping_sub(at + answer.ip_length) & 63)) as u32;
    if tcp_length == 0 {
        return false;
    }
    let ip = answer.ip.as_ptr().cast_mut();
    // SAFETY: as above. The lengths are those of headers, and what is read has them: 12 bytes of turned, 20 or 40 of ip, up
    // to 63 of tcp.
    unsafe {
        let _ = bpf_xdp_store_bytes(context.ctx, 0, turned.as_mut_ptr().cast(), ADDRESSES);
        if answer.ip_length == 20 {
            let _ = bpf_xdp_store_bytes(context.ctx, at, ip.cast(), 20);
        } else {
            let _ = bpf_xdp_store_bytes(context.ctx, at, ip.cast(), 40);
        }
        let tcp = answer.tcp.as_ptr().cast_mut();
        bpf_xdp_store_bytes(context.ctx, at + answer.ip_length, tcp.cast(), tcp_length) == 0
    }
}
