//! Turns a frame into the answer to it.

use aya_ebpf::{helpers::bpf_xdp_adjust_tail, programs::XdpContext};
use gateway_common::{
    frame::{Frame as _, Offset},
    wire::synack::{IPV4_WORDS, IPV6_WORDS, SynAck, TCP_WORDS, TCP_WORDS_ALL},
};

use crate::frame::{BARE, XdpFrame, get32, put16, put32};

/// The shortest frame, less its checksum (`ETH_ZLEN`): some cards pad shorter ones, and some refuse them.
const FRAME_MIN: u32 = 60;
/// Words of both hardware addresses.
const ADDRESSES: usize = 3;
/// Highest offset of an IP header: behind two VLAN tags.
const AT_MAX: u32 = 22;

/// Writes the answer's headers from offset `at` on, swaps the hardware addresses and keeps the bytes between: VLAN
/// tags. False, and nothing is changed, if the driver gives no room, or if the frame was sent to a group. The same if
/// there are no hardware addresses: the kernel would take the first bytes of the answer for them
/// (`bpf_prog_run_generic_xdp` in net/core/dev.c).
#[inline(always)]
pub(crate) fn write<const BUILD: u8>(context: &XdpContext, at: u32, answer: &SynAck) -> bool {
    if BUILD == BARE {
        return false;
    }
    let frame = XdpFrame::<BUILD>(context);
    // The first bit on the wire is the lowest of the first byte.
    let Some(start) = frame.at(at).filter(|_| at <= AT_MAX) else { return false };
    if frame.u8(0).is_none_or(|first| first & 1 != 0) {
        return false;
    }
    let end = at + 4 * (answer.ip_words + answer.tcp_words);
    let (there, wanted) = (frame.length(), end.max(FRAME_MIN));
    // SAFETY: the context is the kernel's own; nothing keeps a pointer into the frame.
    if wanted != there && unsafe { bpf_xdp_adjust_tail(context.ctx, wanted.wrapping_sub(there) as i32) } != 0
    {
        return false;
    }
    // With constant lengths, which the verifier can follow.
    match (answer.ip_words as usize == IPV4_WORDS, answer.tcp_words as usize == TCP_WORDS) {
        (true, true) => fill::<IPV4_WORDS, TCP_WORDS>(context, start, answer),
        (true, false) => fill::<IPV4_WORDS, TCP_WORDS_ALL>(context, start, answer),
        (false, true) => fill::<IPV6_WORDS, TCP_WORDS>(context, start, answer),
        (false, false) => fill::<IPV6_WORDS, TCP_WORDS_ALL>(context, start, answer),
    }
}

/// Fills a frame of the right length.
#[inline(always)]
fn fill<const IP: usize, const TCP: usize>(context: &XdpContext, at: Offset<'_>, answer: &SynAck) -> bool {
    let (first, start) = (context.data(), context.data() + at.get());
    let end = start + 4 * (IP + TCP);
    if end > context.data_end() || first + 4 * ADDRESSES > context.data_end() {
        return false;
    }
    // SAFETY: all that is read and written lies before data_end, as just checked.
    unsafe {
        let [a, b, c] = [0, 1, 2].map(|word| get32(first + 4 * word));
        put32(first, b >> 16 | c << 16);
        put32(first + 4, c >> 16 | a << 16);
        put32(first + 8, a >> 16 | b << 16);
        for (word, value) in answer.ip[..IP].iter().enumerate() {
            put32(start + 4 * word, value.to_be());
        }
        for (word, value) in answer.tcp[..TCP].iter().enumerate() {
            put32(start + 4 * (IP + word), value.to_be());
        }
        // The shortest of these headers, without VLAN tags, are two bytes shorter than a frame.
        if IP + TCP == IPV4_WORDS + TCP_WORDS && end + 2 <= context.data_end() {
            put16(end, 0);
        }
    }
    true
}
