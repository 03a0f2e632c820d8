//! XDP programs that the network lab needs beside the gateway: a traffic generator, baselines to compare with,
//! counters.
//!
//! No part of the product: user space loads them from `target/bpf/lab.bpf.o`.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "core has no atomic operations for BPF but the intrinsics")]
#![feature(asm_experimental_arch, core_intrinsics)]

#[path = "lab/baseline.rs"]
mod baseline;
#[path = "lab/config.rs"]
mod config;
#[path = "lab/contend.rs"]
mod contend;
#[path = "lab/count.rs"]
mod count;
#[path = "lab/flood.rs"]
mod flood;
#[path = "lab/frame.rs"]
mod frame;
#[path = "lab/spray.rs"]
mod spray;

/// Never reached: the verifier refuses a program from which it could be.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
