//! What the host's own TCP knows of a connection.
//!
//! The socket structures are read at offsets that the loader takes from the running kernel's BTF; the verifier checks each
//! read against that BTF again.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ipv4Tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ipv6Tuple,
    },
    helpers::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_request_sock, bpf_skc_to_tcp_sock},
    programs::XdpContext,
};
use gateway_common::{
    env::Socket,
    packet::{Address, Packet},
};

use crate::constants;

/// States of include/net/tcp_states.h that have no `tcp_sock` of a connection.
const TCP_TIME_WAIT: u32 = 6;
pub(crate) const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

/// Asks for the socket of a TCP packet.
#[inline(always)]
pub(crate) fn of(context: &XdpContext, packet: &Packet) -> Socket {
    let (sport, dport) = (packet.source_port.to_be(), packet.destination_port.to_be());
    // One of both is filled and no union zeroed first: LLVM makes a loop of that.
    let socket = if packet.ipv6 {
        let (saddr, daddr) = (words(packet.source), words(packet.destination));
        look_up(context, Ipv6Tuple { saddr, daddr, sport, dport })
    } else {
        let (saddr, daddr) = (packet.source.as_v4().to_be(), packet.destination.as_v4().to_be());
        look_up(context, Ipv4Tuple { saddr, daddr, sport, dport })
    };
    if socket.is_null() {
        return Socket::Unknown;
    }
    let answer = read(socket);
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    answer
}

/// Looks for a socket by both ends; the size of the tuple tells the helper the family.
#[inline(always)]
fn look_up<T>(context: &XdpContext, mut tuple: T) -> *mut bpf_sock {
    let size = size_of::<T>() as u32;
    // SAFETY: tuple is one of the two variants of bpf_sock_tuple, of which size bytes are read.
    unsafe {
        bpf_skc_lookup_tcp(
            context.as_ptr(),
            (&raw mut tuple).cast(),
            size,
            BPF_F_CURRENT_NETNS as i32 as i64 as u64,
            0,
        )
    }
}

#[inline(always)]
pub(crate) const fn words(Address { high, low }: Address) -> [u32; 4] {
    [((high >> 32) as u32).to_be(), (high as u32).to_be(), ((low >> 32) as u32).to_be(), (low as u32).to_be()]
}

#[inline(always)]
fn read(socket: *mut bpf_sock) -> Socket {
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    match state {
        // A socket in TIME-WAIT delivers nothing; only a SYN makes something of it.
        TCP_LISTEN | TCP_TIME_WAIT => Socket::Listening,
        TCP_NEW_SYN_RECV => {
            // SAFETY: as above; the helper checks the kind of socket.
            let request = unsafe { bpf_skc_to_tcp_request_sock(socket.cast()) };
            let Some(isn) = field::<u32>(request.cast(), &constants::TCP_REQUEST_SOCK_RCV_ISN) else {
                return Socket::Listening;
            };
            Socket::Open { base: isn.wrapping_add(1), received: 0 }
        }
        _ => {
            // SAFETY: as above.
            let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast()) }.cast();
            let next = field::<u32>(tcp, &constants::TCP_SOCK_RCV_NXT);
            let received = field::<u64>(tcp, &constants::TCP_SOCK_BYTES_RECEIVED);
            let (Some(next), Some(received)) = (next, received) else {
                return Socket::Listening;
            };
            Socket::Open { base: next.wrapping_sub(received as u32), received }
        }
    }
}

/// A field of a kernel structure at an offset that BTF gave.
#[inline(always)]
fn field<T>(structure: *const u8, offset: &Global<u32>) -> Option<T> {
    if structure.is_null() {
        return None;
    }
    // SAFETY: not null; the verifier accepts the read only where the structure has a field of this size there.
    Some(unsafe { structure.add(offset.load() as usize).cast::<T>().read_volatile() })
}
