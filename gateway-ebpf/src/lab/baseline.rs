//! What the gateway is compared with.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, BPF_F_NO_PREALLOC};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_gen_syncookie};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{LpmTrie, LruHashMap};
use aya_ebpf::programs::XdpContext;
use aya_ebpf::{EbpfContext as _, Global};

use crate::config::Textbook;
use crate::frame::{get16, get32};

const SECOND: u64 = 1_000_000_000;
const SOURCES: u32 = 1 << 20;

/// Lets everything through; an interface needs some program before frames can be sent back or redirected to it.
#[xdp]
pub(crate) fn pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// Drops everything: the least that a filter can cost.
#[xdp]
pub(crate) fn drop(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// Drops what comes from the networks of floods, without any other work: the best that a filter could do.
#[xdp]
pub(crate) fn drop_flood(context: XdpContext) -> u32 {
    if is_flood(&context) { XDP_DROP } else { XDP_PASS }
}

/// Drops what goes to the networks of floods: forged addresses are elsewhere, and answers to them are nobody's work
/// here.
#[xdp]
pub(crate) fn drop_answers(context: XdpContext) -> u32 {
    if has_flood_address(&context, [30, 38]) { XDP_DROP } else { XDP_PASS }
}

/// Whether a frame comes from the networks of floods.
#[inline(always)]
pub(crate) fn is_flood(context: &XdpContext) -> bool {
    has_flood_address(context, [26, 22])
}

/// Whether the address at this offset, of IPv4 and of IPv6, is of the networks of floods.
#[inline(always)]
fn has_flood_address(context: &XdpContext, [v4, v6]: [usize; 2]) -> bool {
    match get16(context, 12) {
        Some(0x0800) => get32(context, v4).is_some_and(is_flood_v4),
        Some(0x86dd) => match (get32(context, v6), get32(context, v6 + 4)) {
            (Some(first), Some(second)) => is_flood_v6(first, second),
            _ => false,
        },
        _ => false,
    }
}

/// Floods come from the benchmarking networks (RFC 2544, RFC 5180): 198.18.0.0/15 and 2001:2::/48.
#[inline(always)]
const fn is_flood_v4(address: u32) -> bool {
    address & 0xfffe_0000 == 0xc612_0000
}

/// The first two words of an IPv6 address, in the host's byte order.
#[inline(always)]
const fn is_flood_v6(first: u32, second: u32) -> bool {
    first == 0x2001_0002 && second & 0xffff_0000 == 0
}

/// Asks the listener of a SYN for a cookie, and drops the SYN: what answering by a cookie takes of helpers, alone. For
/// IPv4 without options, and TCP with 4 bytes of them.
#[xdp]
pub(crate) fn cookie_helpers(context: XdpContext) -> u32 {
    const IP: usize = 14;
    const TCP: usize = IP + 20;
    const END: usize = TCP + 24;
    let (data, end) = (context.data(), context.data_end());
    if data + END > end {
        return XDP_DROP;
    }
    let (ip, tcp) = ((data + IP) as *mut u8, (data + TCP) as *mut u8);
    // SAFETY: addresses and ports lie before data_end, as just checked.
    let mut tuple = unsafe {
        [ip.add(12).cast::<u32>(), ip.add(16).cast::<u32>(), tcp.cast::<u32>()]
            .map(|word| word.read_unaligned())
    };
    let (tuple, size) = (tuple.as_mut_ptr().cast(), size_of_val(&tuple) as u32);
    // SAFETY: the tuple is of this size.
    let socket = unsafe { bpf_skc_lookup_tcp(context.as_ptr(), tuple, size, HERE, 0) };
    if !socket.is_null() {
        // SAFETY: the socket is not yet released, and both headers end before data_end.
        unsafe {
            bpf_tcp_gen_syncookie(
                socket.cast(),
                ip.cast(),
                (TCP - IP) as u32,
                tcp.cast(),
                (END - TCP) as u32,
            );
            bpf_sk_release(socket.cast());
        }
    }
    XDP_DROP
}

/// The network namespace that the frame came into.
const HERE: u64 = BPF_F_CURRENT_NETNS as i32 as i64 as u64;

/// The limit of [`textbook`].
#[unsafe(no_mangle)]
static TEXTBOOK: Global<Textbook> = Global::new(Textbook { rate: 1_000, burst: 1_000 });

#[derive(Clone, Copy)]
struct Bucket {
    /// Packets left, in billionths.
    tokens: u64,
    /// When it was last filled, in nanoseconds.
    filled: u64,
}

#[map]
static BUCKETS: LruHashMap<u32, Bucket> = LruHashMap::with_max_entries(SOURCES, 0);

/// The token bucket that textbooks put into an LRU hash map, for IPv4.
#[xdp]
pub(crate) fn textbook(context: XdpContext) -> u32 {
    if get16(&context, 12) != Some(0x0800) {
        return XDP_PASS;
    }
    let Some(source) = get32(&context, 26) else {
        return XDP_PASS;
    };
    let limit = TEXTBOOK.load();
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let full = limit.burst * SECOND;
    let Some(bucket) = BUCKETS.get_ptr_mut(source) else {
        let bucket = Bucket { tokens: full - SECOND, filled: now };
        // A source that finds no room is not limited: that is how it is usually done.
        let _ = BUCKETS.insert(source, bucket, 0);
        return XDP_PASS;
    };
    // SAFETY: a map's value stays readable and writable until the program ends; two CPUs may lose an update, as is
    // usual.
    let bucket = unsafe { &mut *bucket };
    let elapsed = now.wrapping_sub(bucket.filled).min(10 * SECOND);
    let tokens = (bucket.tokens + elapsed * limit.rate).min(full);
    bucket.filled = now;
    if tokens < SECOND {
        bucket.tokens = tokens;
        return XDP_DROP;
    }
    bucket.tokens = tokens - SECOND;
    XDP_PASS
}

/// Prefixes that [`trie`] looks sources up in; their values are as long as those of the gateway's prefixes.
#[map]
static TRIE: LpmTrie<[u8; 4], u64> = LpmTrie::with_max_entries(SOURCES, BPF_F_NO_PREALLOC);

/// Looks an IPv4 source up in an LPM trie, and drops the frame.
#[xdp]
pub(crate) fn trie(context: XdpContext) -> u32 {
    match get32(&context, 26).map(|source| TRIE.get(&Key::new(32, source.to_be_bytes()))) {
        // Both arms drop; that the value is looked at keeps the look-up.
        Some(Some(0)) => XDP_PASS,
        _ => XDP_DROP,
    }
}
