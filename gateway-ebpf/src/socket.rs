//! What the host's own TCP knows of a connection.
//!
//! The socket structures are read at offsets that the loader takes from the running kernel's BTF. The verifier checks
//! each read against that BTF again.

use core::{ffi::c_void, hint::black_box, mem::MaybeUninit};

use aya_ebpf::{
    Global,
    bindings::{bpf_sock, tcphdr},
    helpers::{
        bpf_sk_release, bpf_skc_to_tcp_request_sock, bpf_skc_to_tcp_sock, bpf_tcp_gen_syncookie,
        bpf_tcp_raw_check_syncookie_ipv4, bpf_tcp_raw_check_syncookie_ipv6, bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use gateway_common::{
    env::{Asked, Found},
    frame::Frame as _,
    packet::{Packet, flags},
    wire::options::Options,
};

use crate::{
    atomics::zeroed,
    constants,
    frame::{PLAIN, XdpFrame},
    sock_tuple::SockTuple,
};

/// States of include/net/tcp_states.h in which a client that has completed its handshake is heard.
pub(crate) const TCP_ESTABLISHED: u32 = 1;
const TCP_CLOSE_WAIT: u32 = 8;
/// States that have no `tcp_sock` of a connection.
const TCP_TIME_WAIT: u32 = 6;
pub(crate) const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

/// Asks for the socket of a TCP packet, and for the SYN cookie in it: if the socket is an open connection, only if
/// `doubts_open`, since the check costs more than the look-up.
#[inline(always)]
pub(crate) fn ask(
    context: &XdpContext,
    packet: &Packet,
    transport: u32,
    doubts_open: bool,
    asked: &mut Asked,
) {
    let mut ends = SockTuple::of(packet);
    let socket = ends.tcp(context);
    if socket.is_null() {
        return;
    }
    read(socket, asked);
    let may_have = packet.tcp_flags & (flags::ACK | flags::RST | flags::SYN) == flags::ACK
        && (doubts_open || !matches!(asked.found, Found::Connection | Found::Request));
    // In place: headers are in the first buffer of any frame.
    let frame = XdpFrame::<PLAIN>(context);
    let tcp = frame.at(transport).and_then(|at| frame.address::<{ TCP_HEADER as usize }>(at));
    if may_have && let Some(tcp) = tcp {
        let (ip, tcp) = (ends.ip(), tcp as *mut tcphdr);
        // A connection can be gone by the time that the host's TCP has the packet, and a listener takes the cookie.
        // SAFETY: both headers have the lengths that the helpers read.
        let check = unsafe {
            if packet.ipv6 {
                bpf_tcp_raw_check_syncookie_ipv6(ip.cast(), tcp)
            } else {
                bpf_tcp_raw_check_syncookie_ipv4(ip.cast(), tcp)
            }
        };
        asked.has_cookie = check == 0;
    }
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
}

/// A SYN cookie of the listener that a SYN is for, if there is one: the sequence number, and in the next 16 bits what
/// is kept of the client's segment size. Negative if there is none. A function of its own: its stack is added to its
/// caller's alone.
#[inline(never)]
pub(crate) fn cookie(context: &XdpContext, packet: &Packet, transport: u32) -> i64 {
    let mut ends = SockTuple::of(packet);
    let socket = ends.tcp(context);
    if socket.is_null() {
        return NONE;
    }
    let mut made = NONE;
    // A power of two, so that the mask keeps lengths below.
    let length = black_box(u64::from(packet.payload.wrapping_sub(transport)) & 63) as u32;
    // SAFETY: a socket that the look-up gave, not yet released.
    if unsafe { (*socket).state } == TCP_LISTEN && length >= TCP_HEADER {
        let mut header = MaybeUninit::uninit();
        let header: *mut c_void = zeroed::<8>(&mut header).as_mut_ptr().cast();
        // SAFETY: as in ask; there is room for 64 bytes, and length is less.
        unsafe {
            if bpf_xdp_load_bytes(context.ctx, transport, header, length) == 0 {
                let (ip, tcp) = (ends.ip().cast(), header.cast());
                made = bpf_tcp_gen_syncookie(socket.cast(), ip, SockTuple::IP_LENGTH, tcp, length);
            }
        }
    }
    // SAFETY: as in ask.
    unsafe { bpf_sk_release(socket.cast()) };
    made
}

/// No cookie.
const NONE: i64 = -1;
/// Bytes of a TCP header without options: all that is read of it to check a cookie.
const TCP_HEADER: u32 = 20;

/// Whether the handshake of a TCP packet's connection is complete, so that its sender has shown its address.
#[inline(always)]
pub(crate) fn is_established(context: &XdpContext, packet: &Packet) -> bool {
    let socket = SockTuple::of(packet).tcp(context);
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT
}

/// States of include/net/tcp_states.h in which a connection has a receive window, a bit for each: established,
/// FIN-WAIT-1 and FIN-WAIT-2, CLOSE-WAIT, LAST-ACK, and CLOSING.
const OPEN: u32 = 1 << TCP_ESTABLISHED | 1 << 4 | 1 << 5 | 1 << TCP_CLOSE_WAIT | 1 << 9 | 1 << TCP_CLOSING;
const TCP_CLOSING: u32 = 11;
/// A SYN of this host is on its way.
const TCP_SYN_SENT: u32 = 2;

/// Whether a TCP packet answers a SYN of this host, or is in the receive window of a connection or as far before it,
/// and nobody listens on its local port: so this host has opened the connection.
#[inline(always)]
pub(crate) fn is_own(context: &XdpContext, packet: &Packet) -> bool {
    let socket = SockTuple::of(packet).tcp(context);
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    let mut is_near = state == TCP_SYN_SENT && packet.tcp_flags & flags::SYN != 0;
    if state <= TCP_CLOSING && OPEN >> state & 1 != 0 {
        // SAFETY: as above; the helper checks the kind of socket.
        let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast()) }.cast();
        let next = field::<u32>(tcp, &constants::TCP_SOCK_RCV_NXT);
        let window = field::<u32>(tcp, &constants::TCP_SOCK_RCV_WND);
        if let (Some(next), Some(window)) = (next, window) {
            let ahead = packet.sequence.wrapping_sub(next);
            is_near = ahead <= window || ahead.wrapping_neg() <= window;
        }
    }
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    if !is_near {
        return false;
    }
    let listener = SockTuple::of_listener(packet).tcp(context);
    if listener.is_null() {
        return true;
    }
    // SAFETY: as above.
    unsafe { bpf_sk_release(listener.cast()) };
    false
}

/// Whether TCP would take a segment that starts with the next byte that it waits for: it acknowledges nothing that was
/// not sent, and its timestamp is no older than the last that was taken (`tcp_validate_incoming` and `tcp_ack` in
/// net/ipv4/tcp_input.c, `tcp_check_req` in net/ipv4/tcp_minisocks.c). In doubt it would not.
#[inline(always)]
pub(crate) fn would_take(
    context: &XdpContext,
    packet: &Packet,
    acknowledgment: u32,
    options: &Options,
) -> bool {
    let socket = SockTuple::of(packet).tcp(context);
    if socket.is_null() {
        return false;
    }
    let is_taken = |oldest: u32, next: u32, last: u32| {
        let is_sent = acknowledgment.wrapping_sub(oldest) <= next.wrapping_sub(oldest);
        is_sent && (!options.has_timestamps || options.timestamp.wrapping_sub(last) as i32 >= 0)
    };
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    let answer = match state {
        TCP_LISTEN | TCP_TIME_WAIT => false,
        TCP_NEW_SYN_RECV => {
            // SAFETY: as above; the helper checks the kind of socket.
            let request: *const u8 = unsafe { bpf_skc_to_tcp_request_sock(socket.cast()) }.cast();
            match (
                field::<u32>(request, &constants::TCP_REQUEST_SOCK_SNT_ISN),
                field::<u32>(request, &constants::REQUEST_SOCK_TS_RECENT),
            ) {
                (Some(isn), Some(last)) => is_taken(isn.wrapping_add(1), isn.wrapping_add(1), last),
                _ => false,
            }
        }
        _ => {
            // SAFETY: as above.
            let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast()) }.cast();
            match (
                field::<u32>(tcp, &constants::TCP_SOCK_SND_UNA),
                field::<u32>(tcp, &constants::TCP_SOCK_SND_NXT),
                field::<u32>(tcp, &constants::TCP_SOCK_TS_RECENT),
            ) {
                (Some(oldest), Some(next), Some(last)) => is_taken(oldest, next, last),
                _ => false,
            }
        }
    };
    // SAFETY: the reference is from bpf_skc_lookup_tcp, and is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    answer
}

#[inline(always)]
fn read(socket: *mut bpf_sock, asked: &mut Asked) {
    // SAFETY: a socket that the look-up gave, not yet released.
    let state = unsafe { (*socket).state };
    asked.found = match state {
        TCP_LISTEN => Found::Listener,
        // A socket in TIME-WAIT delivers nothing; only a SYN makes a connection of it.
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
