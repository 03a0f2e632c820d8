//! The generator. BPF_PROG_TEST_RUN runs it on live frames: each is made from the template, and leaves by the interface
//! that user space names in the context.

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_TX};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::config::{self, Flood, HEADER_WORDS, Progress};
use crate::frame::{put16, put32, put64};

/// What to send; constant while the program is loaded.
#[unsafe(no_mangle)]
static FLOOD: Global<Flood> = Global::new(Flood {
    header: [0; HEADER_WORDS],
    words: 0,
    source_at: 0,
    ip_checksum_at: 0,
    ip_sum: 0,
    checksum_at: 0,
    sum: 0,
    pseudo: 0,
    port_at: 0,
    source: config::SOURCE_FIXED,
    count: 0,
    base: [0; 4],
    limit: 0,
    gap: 0,
    seed: 0,
});

/// One thread runs the program, so nobody else writes.
#[map]
static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);

/// Not zero: user space wants no more frames. A run cannot be ended from outside, but the rest of it is quick.
#[map]
static STOP: Array<u32> = Array::with_max_entries(1, 0);

/// Makes one frame and sends it, if one is due.
#[xdp]
pub(crate) fn flood(context: XdpContext) -> u32 {
    let (Some(progress), Some(stop)) = (PROGRESS.get_ptr_mut(0), STOP.get_ptr(0)) else {
        return XDP_ABORTED;
    };
    // SAFETY: the pointer is to the value of an array's entry that exists; the only writer is this thread.
    let progress = unsafe { &mut *progress };
    // SAFETY: as above; an aligned word that user space writes whole, and at most once.
    let stop = unsafe { stop.read_volatile() };
    let flood = FLOOD.load();
    if stop != 0 || progress.sent >= flood.limit || !is_due(&flood, progress) {
        return XDP_DROP;
    }
    if make(&context, &flood, progress.sent).is_none() {
        return XDP_ABORTED;
    }
    progress.sent += 1;
    XDP_TX
}

/// Whether it is time for the next frame. What is late is made up for.
#[inline(always)]
fn is_due(flood: &Flood, progress: &mut Progress) -> bool {
    if flood.gap == 0 {
        return true;
    }
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() } << 8;
    if progress.next == 0 {
        progress.next = now;
    }
    if now < progress.next {
        return false;
    }
    progress.next += flood.gap;
    true
}

#[inline(always)]
fn make(context: &XdpContext, flood: &Flood, number: u64) -> Option<()> {
    for (index, word) in flood.header.into_iter().enumerate() {
        if index < flood.words as usize {
            put64(context, index * 8, word)?;
        }
    }
    let draw = mix(flood.seed.wrapping_add(number));
    let added = put_source(context, flood, draw)?;
    if flood.ip_checksum_at != 0 {
        put16(context, flood.ip_checksum_at as usize, checksum(flood.ip_sum + added))?;
    }
    let mut sum = flood.sum;
    if flood.pseudo != 0 {
        sum += added;
    }
    if flood.port_at != 0 {
        // Ports below 1024 are not drawn.
        let port = (draw >> 48) as u16 | 0x400;
        put16(context, flood.port_at as usize, port)?;
        sum += u32::from(port);
    }
    if flood.checksum_at != 0 {
        // Zero would mean "no checksum" to UDP; all ones is the same number.
        let sum = checksum(sum);
        put16(context, flood.checksum_at as usize, if sum == 0 { 0xffff } else { sum })?;
    }
    Some(())
}

/// Writes the frame's source, and gives the sum of its words.
#[inline(always)]
fn put_source(context: &XdpContext, flood: &Flood, draw: u64) -> Option<u32> {
    let at = flood.source_at as usize;
    let base = flood.base;
    let chosen = ((draw & 0xffff_ffff) * u64::from(flood.count)) >> 32;
    match flood.source {
        config::SOURCE_IPV4 => {
            let source = base[0].wrapping_add(chosen as u32);
            put32(context, at, source)?;
            Some(halves(source))
        }
        config::SOURCE_IPV6_NETWORKS => {
            let second = base[1].wrapping_add(chosen as u32);
            put32(context, at + 4, second)?;
            Some(halves(base[0]) + halves(second) + halves(base[2]) + halves(base[3]))
        }
        config::SOURCE_IPV6_HOSTS => {
            let (third, fourth) = ((draw >> 32) as u32, draw as u32);
            put32(context, at + 8, third)?;
            put32(context, at + 12, fourth)?;
            Some(halves(base[0]) + halves(base[1]) + halves(third) + halves(fourth))
        }
        _ => Some(halves(base[0]) + halves(base[1]) + halves(base[2]) + halves(base[3])),
    }
}

#[inline(always)]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The Internet checksum of a sum of 16-bit words (RFC 1071).
#[inline(always)]
const fn checksum(sum: u32) -> u16 {
    !(halves(halves(sum)) as u16)
}

/// The finaliser of splitmix64: numbers in sequence become draws, each of them once.
#[inline(always)]
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
