//! Whom on this host a packet is for.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_FIB_LKUP_RET_FWD_DISABLED, bpf_fib_lookup as Route, bpf_sock,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ipv4Tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ipv6Tuple,
    },
    helpers::{bpf_fib_lookup, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
    programs::XdpContext,
};
use gateway_common::{env::Receiver, packet::Packet};

use crate::socket::{TCP_LISTEN, words};

/// Address families of include/linux/socket.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Asks for the socket of a TCP or UDP packet.
#[inline(always)]
pub(crate) fn of(context: &XdpContext, packet: &Packet, forwarding: bool) -> Receiver {
    if !forwarding && is_forwarding(context, packet.ipv6) {
        return Receiver::Elsewhere;
    }
    let (sport, dport) = (packet.source_port.to_be(), packet.destination_port.to_be());
    // One of both is filled and no union zeroed first, as in socket::of.
    let socket = if packet.ipv6 {
        let (saddr, daddr) = (words(packet.source), words(packet.destination));
        look_up(context, packet.is_udp(), Ipv6Tuple { saddr, daddr, sport, dport })
    } else {
        let (saddr, daddr) = (packet.source.as_v4().to_be(), packet.destination.as_v4().to_be());
        look_up(context, packet.is_udp(), Ipv4Tuple { saddr, daddr, sport, dport })
    };
    if socket.is_null() {
        return Receiver::Nobody;
    }
    // A listener is no connection.
    // SAFETY: a socket that the look-up gave, not yet released.
    let is_listener = packet.is_tcp() && unsafe { (*socket).state } == TCP_LISTEN;
    // SAFETY: the reference is from the look-up, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    if is_listener { Receiver::Nobody } else { Receiver::Socket }
}

/// Whether the host forwards what comes in by this interface. The kernel looks at that before it looks at any route
/// (`bpf_ipv4_fib_lookup` in net/core/filter.c), so no address is filled in.
#[inline(always)]
fn is_forwarding(context: &XdpContext, ipv6: bool) -> bool {
    // SAFETY: zeros are valid for a structure of numbers.
    let mut route: Route = unsafe { core::mem::zeroed() };
    route.family = if ipv6 { AF_INET6 } else { AF_INET };
    route.ifindex = context.ingress_ifindex() as u32;
    // SAFETY: the helper reads and writes the structure of the size that it is told.
    let answer = unsafe { bpf_fib_lookup(context.as_ptr(), &raw mut route, size_of::<Route>() as i32, 0) };
    answer != i64::from(BPF_FIB_LKUP_RET_FWD_DISABLED)
}

/// Looks for a socket by both ends; the size of the tuple tells the helpers the family.
#[inline(always)]
fn look_up<T>(context: &XdpContext, udp: bool, mut tuple: T) -> *mut bpf_sock {
    let (size, namespace) = (size_of::<T>() as u32, BPF_F_CURRENT_NETNS as i32 as i64 as u64);
    let tuple = (&raw mut tuple).cast();
    // SAFETY: tuple is one of the two variants of bpf_sock_tuple, of which size bytes are read.
    unsafe {
        if udp {
            bpf_sk_lookup_udp(context.as_ptr(), tuple, size, namespace, 0)
        } else {
            bpf_skc_lookup_tcp(context.as_ptr(), tuple, size, namespace, 0)
        }
    }
}
