//! The gateway's XDP program: the kernel's clock, tables and counters under the stages of gateway-common.
//!
//! The packet path is in `gateway_common::pipeline`. Here is only the code that needs the kernel, and all unsafe code
//! of the program.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "core has no atomic compare-and-swap for BPF but the intrinsic")]
#![feature(asm_experimental_arch, core_intrinsics)]

mod array;
mod atomics;
mod barrier;
mod clock;
mod constants;
mod drop_cache;
mod env;
mod frame;
mod inner_map;
mod live_entry;
mod maps;
mod receiver;
mod reply;
mod sock_tuple;
mod socket;
mod subprog;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use gateway_common::{pipeline, verdict::Action};

use crate::{
    drop_cache::CpuDrops,
    env::KernelEnv,
    frame::{BARE, FRAGS, PLAIN, XdpFrame},
    maps::Cpu,
};

/// Judges every frame of an interface.
#[xdp]
#[inline(always)]
pub(crate) fn gateway(context: XdpContext) -> u32 {
    judge(&context, &XdpFrame::<PLAIN>(&context))
}

/// The same for drivers and frames that need several buffers: headers are in the first.
#[xdp(frags)]
#[inline(always)]
pub(crate) fn gateway_frags(context: XdpContext) -> u32 {
    judge(&context, &XdpFrame::<FRAGS>(&context))
}

/// The same for devices whose packets have no Ethernet header: tun, WireGuard, PPP, IP tunnels.
#[xdp]
#[inline(always)]
pub(crate) fn gateway_bare(context: XdpContext) -> u32 {
    judge(&context, &XdpFrame::<BARE>(&context))
}

#[inline(always)]
fn judge<const BUILD: u8>(context: &XdpContext, frame: &XdpFrame<'_, BUILD>) -> u32 {
    let Some(cpu) = maps::CPU.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    // SAFETY: a live map value of this CPU alone, looked up once a frame: subprograms are given what they need of it.
    // XDP programs of one CPU do not interrupt each other. It starts zeroed and holds only what was written as its
    // types, for which zeros are valid too.
    let Cpu { clock, state } = unsafe { &mut *cpu };
    let env = KernelEnv::<BUILD>::new(context);
    let verdict = pipeline::handle(frame, &env, clock, CpuDrops, state);
    env.record_verdict(verdict);
    match verdict.action {
        Action::Pass | Action::WouldDrop => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Tx => xdp_action::XDP_TX,
    }
}

/// Never reached: the verifier refuses a program from which it could be.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
