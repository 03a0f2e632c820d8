//! The receiver of a packet on this host.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_FIB_LKUP_RET_FWD_DISABLED, bpf_fib_lookup as Route},
    helpers::{bpf_fib_lookup, bpf_sk_release},
    programs::XdpContext,
};
use gateway_common::{env::Receiver, packet::Packet};

use crate::{
    atomics::zeroed,
    sock_tuple::SockTuple,
    socket::{TCP_ESTABLISHED, TCP_LISTEN},
};

/// Address families of include/linux/socket.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Words of a question for a route.
const ROUTE_WORDS: usize = size_of::<Route>() / size_of::<u64>();
const _: () = assert!(ROUTE_WORDS * size_of::<u64>() == size_of::<Route>());

/// Asks for the socket of a TCP or UDP packet.
#[inline(always)]
pub(crate) fn of(context: &XdpContext, packet: &Packet, forwarding: bool) -> Receiver {
    if !forwarding && is_forwarding(context, packet.ipv6) {
        return Receiver::Elsewhere;
    }
    let mut ends = SockTuple::of(packet);
    let socket = if packet.is_udp() { ends.udp(context) } else { ends.tcp(context) };
    if socket.is_null() {
        return Receiver::Nobody;
    }
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    // SAFETY: the reference is from a look-up, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    match (packet.is_udp(), state) {
        (true, TCP_ESTABLISHED) => Receiver::Connected,
        // A listener is no connection.
        (false, TCP_LISTEN) => Receiver::Nobody,
        _ => Receiver::Socket,
    }
}

/// Whether the host forwards what comes in by this interface. The kernel looks at that before it looks at any route
/// (`bpf_ipv4_fib_lookup` in net/core/filter.c), so no address is filled in.
#[inline(always)]
fn is_forwarding(context: &XdpContext, ipv6: bool) -> bool {
    let mut route = MaybeUninit::uninit();
    let route: *mut Route = zeroed::<ROUTE_WORDS>(&mut route).as_mut_ptr().cast();
    // SAFETY: zeros are valid for a structure of numbers.
    let route = unsafe { &mut *route };
    route.family = if ipv6 { AF_INET6 } else { AF_INET };
    route.ifindex = context.ingress_ifindex() as u32;
    // SAFETY: the helper reads and writes the structure of the size that it is told.
    let answer = unsafe { bpf_fib_lookup(context.as_ptr(), route, size_of::<Route>() as i32, 0) };
    answer != i64::from(BPF_FIB_LKUP_RET_FWD_DISABLED)
}
