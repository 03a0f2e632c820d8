//! Many sources in a test run, which shows one frame again and again: this writes another source into it each time, and
//! goes on with the program that is measured.

use core::arch::asm;

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;

/// Offset of four bytes of the source address, even. It and the next two are constant while the program is loaded.
#[unsafe(no_mangle)]
static SOURCE_AT: Global<u32> = Global::new(26);
/// What they are of the first source, as a number.
#[unsafe(no_mangle)]
static SOURCE_FIRST: Global<u32> = Global::new(0);
/// How many sources there are; a power of two.
#[unsafe(no_mangle)]
static SOURCE_COUNT: Global<u32> = Global::new(1);

/// The program that is measured.
#[map]
static MEASURED: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// How many frames there were. One thread runs the program, so nobody else writes.
#[map]
static TURN: Array<u32> = Array::with_max_entries(1, 0);

/// The source of a turn: any, as machines that know nothing of each other send. Were it one after the other, a table
/// that is filled in that order would be read in the order in which it lies in memory. (The constants are those of
/// MurmurHash3's last step.)
#[inline(always)]
const fn mixed(mut turn: u32) -> u32 {
    turn = (turn ^ turn >> 16).wrapping_mul(0x85eb_ca6b);
    turn = (turn ^ turn >> 13).wrapping_mul(0xc2b2_ae35);
    turn ^ turn >> 16
}

/// Writes a source, with the four bytes before it as they are: who reads any part of these eight bytes next has it from
/// the one store.
#[inline(always)]
fn put(context: &XdpContext, offset: usize, source: u32) -> Option<()> {
    let at = context.data() + offset - 4;
    if at + 8 > context.data_end() {
        return None;
    }
    let word: u64;
    // SAFETY: the word ends before data_end, as just checked. It is not aligned, which the verifier allows where the
    // machine does.
    unsafe { asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) at, options(readonly, nostack)) };
    let word = word & 0xffff_ffff | u64::from(source.to_be()) << 32;
    // SAFETY: the same.
    unsafe { asm!("*(u64 *)({0} + 0) = {1}", in(reg) at, in(reg) word, options(nostack)) };
    Some(())
}

/// Gives the frame the next source, and judges it.
#[xdp]
pub(crate) fn spray(context: XdpContext) -> u32 {
    let Some(turn) = TURN.get_ptr_mut(0) else { return XDP_ABORTED };
    let (at, first, count) = (SOURCE_AT.load(), SOURCE_FIRST.load(), SOURCE_COUNT.load());
    // SAFETY: the pointer is to the value of an array's entry that exists; the only writer is this thread.
    let turn = unsafe {
        *turn = (*turn).wrapping_add(1);
        *turn
    };
    let source = first.wrapping_add(mixed(turn) & count.wrapping_sub(1));
    if put(&context, (at & 62) as usize, source).is_some() {
        // SAFETY: this program's own context. It comes back only where there is no program.
        let _ = unsafe { MEASURED.tail_call(&context, 0) };
    }
    XDP_ABORTED
}
