//! Addresses and ports of a TCP or UDP packet, as the kernel's helpers read them.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_tuple},
    helpers::{bpf_sk_lookup_udp, bpf_skc_lookup_tcp},
    programs::XdpContext,
};
use gateway_common::packet::{Address, Packet};

/// The packet's IP header with what `bpf_tcp_gen_syncookie` reads of it (net/core/filter.c): version and addresses,
/// whatever options or extensions it has. With the ports behind it, its end is a `bpf_sock_tuple` too: one place on the
/// small stack.
pub(crate) struct SockTuple {
    words: [u32; 11],
    ipv6: bool,
}

impl SockTuple {
    /// Bytes of the header that helpers are given: an IPv6 header, or an IPv4 header and bytes that they do not read.
    pub(crate) const IP_LENGTH: u32 = 40;

    #[inline(always)]
    pub(crate) fn of(packet: &Packet) -> Self {
        let mut words = [0; 11];
        let ports = u32::from(packet.source_port.to_be()) | u32::from(packet.destination_port.to_be()) << 16;
        if packet.ipv6 {
            words[0] = 0x6000_0000_u32.to_be();
            [words[2], words[3], words[4], words[5]] = quarters(packet.source);
            [words[6], words[7], words[8], words[9]] = quarters(packet.destination);
            words[10] = ports;
        } else {
            words[0] = 0x4500_0000_u32.to_be();
            words[3] = packet.source.as_v4().to_be();
            words[4] = packet.destination.as_v4().to_be();
            words[5] = ports;
        }
        Self { words, ipv6: packet.ipv6 }
    }

    /// The same for a packet from port 0 to the packet's destination: of all TCP sockets only a listener takes that.
    #[inline(always)]
    pub(crate) fn of_listener(packet: &Packet) -> Self {
        Self::of(&Packet { source: packet.destination, source_port: 0, ..*packet })
    }

    /// The IP header, of [`Self::IP_LENGTH`] bytes.
    #[inline(always)]
    pub(crate) const fn ip(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }

    /// The connection's or listener's socket. It must be released.
    #[inline(always)]
    pub(crate) fn tcp(&mut self, context: &XdpContext) -> *mut bpf_sock {
        // SAFETY: the tuple is of this size.
        self.look_up(|tuple, size| unsafe { bpf_skc_lookup_tcp(context.as_ptr(), tuple, size, HERE, 0) })
    }

    /// The socket that takes the datagram. It must be released.
    #[inline(always)]
    pub(crate) fn udp(&mut self, context: &XdpContext) -> *mut bpf_sock {
        // SAFETY: the tuple is of this size.
        self.look_up(|tuple, size| unsafe { bpf_sk_lookup_udp(context.as_ptr(), tuple, size, HERE, 0) })
    }

    /// The tuple's size tells the helpers the family.
    #[inline(always)]
    fn look_up(&mut self, helper: impl Fn(*mut bpf_sock_tuple, u32) -> *mut bpf_sock) -> *mut bpf_sock {
        if self.ipv6 {
            helper((&raw mut self.words[2]).cast(), 36)
        } else {
            helper((&raw mut self.words[3]).cast(), 12)
        }
    }
}

/// The network namespace that the frame came into.
const HERE: u64 = BPF_F_CURRENT_NETNS as i32 as i64 as u64;

#[inline(always)]
const fn quarters(Address { high, low }: Address) -> [u32; 4] {
    [((high >> 32) as u32).to_be(), (high as u32).to_be(), ((low >> 32) as u32).to_be(), (low as u32).to_be()]
}
