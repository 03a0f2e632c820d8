//! Counting what arrives, for tests that must know it exactly.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;

use crate::baseline::is_flood;
use crate::config::{ALL, CATEGORIES, Count, FLOOD, ICMP, IPV4, IPV6, TCP, TLS, UDP};
use crate::frame::{get8, get16};

#[map]
static COUNTS: PerCpuArray<Count> = PerCpuArray::with_max_entries(CATEGORIES.len() as u32, 0);

/// Counts, and lets everything through.
#[xdp]
pub(crate) fn count_pass(context: XdpContext) -> u32 {
    count(&context);
    XDP_PASS
}

/// Counts, and drops everything.
#[xdp]
pub(crate) fn count_drop(context: XdpContext) -> u32 {
    count(&context);
    XDP_DROP
}

#[inline(always)]
fn count(context: &XdpContext) {
    let bytes = (context.data_end() - context.data()) as u64;
    add(ALL, bytes);
    if is_flood(context) {
        add(FLOOD, bytes);
    }
    let _ = count_layers(context, bytes);
}

#[inline(always)]
fn count_layers(context: &XdpContext, bytes: u64) -> Option<()> {
    let (protocol, l4, end) = match get16(context, 12)? {
        0x0800 => {
            add(IPV4, bytes);
            let header = usize::from(get8(context, 14)? & 15) * 4;
            (get8(context, 23)?, 14 + header, 14 + usize::from(get16(context, 16)?))
        }
        0x86dd => {
            add(IPV6, bytes);
            (get8(context, 20)?, 54, 54 + usize::from(get16(context, 18)?))
        }
        _ => return None,
    };
    match protocol {
        6 => {
            add(TCP, bytes);
            let payload = l4 + usize::from(get8(context, l4 + 12)? >> 4) * 4;
            if get16(context, l4 + 2)? == 443 && end > payload {
                add(TLS, (end - payload) as u64);
            }
        }
        17 => add(UDP, bytes),
        1 | 58 => add(ICMP, bytes),
        _ => {}
    }
    Some(())
}

#[inline(always)]
fn add(category: u32, bytes: u64) {
    let Some(count) = COUNTS.get_ptr_mut(category) else {
        return;
    };
    // SAFETY: the pointer is to this CPU's value of an entry that exists, and XDP is not interrupted by itself on a
    // CPU.
    unsafe {
        (*count).packets += 1;
        (*count).bytes += bytes;
    }
}
