//! What the host's own TCP knows of a connection.
//!
//! The socket structures are read at offsets that the loader takes from the running kernel's BTF; the verifier checks each
//! read against that BTF again.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ipv4Tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ipv6Tuple,
    },
    helpers::{
        bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_request_sock, bpf_skc_to_tcp_sock,
        bpf_tcp_check_syncookie, bpf_tcp_gen_syncookie, bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use gateway_common::{
    env::{Asked, Found},
    packet::{Address, Packet, flags},
};

use crate::constants;

/// States of include/net/tcp_states.h in which a client is heard that has completed its handshake.
const TCP_ESTABLISHED: u32 = 1;
const TCP_CLOSE_WAIT: u32 = 8;
/// States that have no `tcp_sock` of a connection.
const TCP_TIME_WAIT: u32 = 6;
pub(crate) const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

/// Asks for the socket of a TCP packet; a listener also for the SYN cookie in it.
#[inline(always)]
pub(crate) fn ask(context: &XdpContext, packet: &Packet, transport: u32, asked: &mut Asked) {
    let socket = find(context, packet);
    if socket.is_null() {
        return;
    }
    read(socket, asked);
    let may_have = packet.tcp_flags & (flags::ACK | flags::RST | flags::SYN) == flags::ACK;
    if may_have && matches!(asked.found, Found::Listener) {
        let check = |ip: *mut u8, ip_length, tcp: *mut u8, tcp_length| {
            // SAFETY: the socket is not yet released, and headers hands out memory of these lengths.
            unsafe { bpf_tcp_check_syncookie(socket.cast(), ip.cast(), ip_length, tcp.cast(), tcp_length) }
        };
        asked.has_cookie = headers(context, packet, transport, check) == 0;
    }
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
}

/// Asks for the socket of a SYN, and a listener for a SYN cookie: the sequence number, and the segment size in the next 16
/// bits. Negative where there is none.
#[inline(always)]
pub(crate) fn cookie(context: &XdpContext, packet: &Packet, transport: u32, asked: &mut Asked) -> i64 {
    let socket = find(context, packet);
    if socket.is_null() {
        return NONE;
    }
    read(socket, asked);
    let mut made = NONE;
    if matches!(asked.found, Found::Listener) {
        let make = |ip: *mut u8, ip_length, tcp: *mut u8, tcp_length| {
            // SAFETY: as in ask.
            unsafe { bpf_tcp_gen_syncookie(socket.cast(), ip.cast(), ip_length, tcp.cast(), tcp_length) }
        };
        made = headers(context, packet, transport, make);
    }
    // SAFETY: as in ask.
    unsafe { bpf_sk_release(socket.cast()) };
    made
}

/// What is no cookie.
const NONE: i64 = -1;
/// Room for a TCP header: a power of two, so that a mask keeps lengths below.
const TCP_ROOM: usize = 64;

/// Calls a helper with a packet's headers: of the IP header, which may have options or extensions, with what the helpers read,
/// version and addresses (`bpf_tcp_gen_syncookie` in net/core/filter.c); the TCP header as it is. Negative where that cannot be.
#[inline(always)]
fn headers(
    context: &XdpContext,
    packet: &Packet,
    transport: u32,
    helper: impl FnOnce(*mut u8, u32, *mut u8, u32) -> i64,
) -> i64 {
    let length = black_box(u64::from(packet.payload.wrapping_sub(transport)) & (TCP_ROOM as u64 - 1)) as u32;
    if length < 20 {
        return NONE;
    }
    let mut tcp = [0_u64; TCP_ROOM / 8];
    // SAFETY: tcp has room for length bytes, by the mask.
    let read = unsafe { bpf_xdp_load_bytes(context.ctx, transport, tcp.as_mut_ptr().cast(), length) };
    if read != 0 {
        return NONE;
    }
    let mut ip = [0_u32; 10];
    if packet.ipv6 {
        ip[0] = 0x6000_0000_u32.to_be();
        let (source, destination) = (words(packet.source), words(packet.destination));
        [ip[2], ip[3], ip[4], ip[5]] = source;
        [ip[6], ip[7], ip[8], ip[9]] = destination;
    } else {
        ip[0] = 0x4500_0000_u32.to_be();
        ip[3] = packet.source.as_v4().to_be();
        ip[4] = packet.destination.as_v4().to_be();
    }
    helper(ip.as_mut_ptr().cast(), 40, tcp.as_mut_ptr().cast(), length)
}

/// Looks for the socket of a packet. It must be released.
#[inline(always)]
fn find(context: &XdpContext, packet: &Packet) -> *mut bpf_sock {
    let (sport, dport) = (packet.source_port.to_be(), packet.destination_port.to_be());
    // One of both is filled and no union zeroed first: LLVM makes a loop of that.
    if packet.ipv6 {
        let (saddr, daddr) = (words(packet.source), words(packet.destination));
        look_up(context, Ipv6Tuple { saddr, daddr, sport, dport })
    } else {
        let (saddr, daddr) = (packet.source.as_v4().to_be(), packet.destination.as_v4().to_be());
        look_up(context, Ipv4Tuple { saddr, daddr, sport, dport })
    }
}

/// Whether the handshake of a TCP packet's connection is complete, so that its sender has shown where it is.
#[inline(always)]
pub(crate) fn is_established(context: &XdpContext, packet: &Packet) -> bool {
    let socket = find(context, packet);
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT
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
fn read(socket: *mut bpf_sock, asked: &mut Asked) {
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    asked.found = match state {
        TCP_LISTEN => Found::Listener,
        // A socket in TIME-WAIT delivers nothing; only a SYN makes something of it.
        TCP_TIME_WAIT => Found::Waiting,
        TCP_NEW_SYN_RECV => {
            // SAFETY: as above; the helper checks the kind of socket.
            let request = unsafe { bpf_skc_to_tcp_request_sock(socket.cast()) };
            let Some(isn) = field::<u32>(request.cast(), &constants::TCP_REQUEST_SOCK_RCV_ISN) else {
                asked.found = Found::Waiting;
                return;
            };
            asked.base = isn.wrapping_add(1);
            Found::Request
        }
        _ => {
            // SAFETY: as above.
            let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast()) }.cast();
            let next = field::<u32>(tcp, &constants::TCP_SOCK_RCV_NXT);
            let received = field::<u64>(tcp, &constants::TCP_SOCK_BYTES_RECEIVED);
            let scale = field::<u8>(tcp, &constants::TCP_SOCK_RCV_WSCALE);
            let (Some(next), Some(received), Some(scale)) = (next, received, scale) else {
                asked.found = Found::Waiting;
                return;
            };
            asked.base = next.wrapping_sub(received as u32);
            asked.received = received;
            asked.scale = scale >> constants::TCP_SOCK_RCV_WSCALE_SHIFT.load() & 15;
            Found::Connection
        }
    };
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
