//! What the gateway is compared with.

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::XdpContext;

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

/// Whether a frame comes from the networks of floods.
#[inline(always)]
pub(crate) fn is_flood(context: &XdpContext) -> bool {
    match get16(context, 12) {
        Some(0x0800) => get32(context, 26).is_some_and(is_flood_v4),
        Some(0x86dd) => match (get32(context, 22), get32(context, 26)) {
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
    // SAFETY: a map's value stays readable and writable until the program ends; two CPUs may lose an update, as is usual.
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
