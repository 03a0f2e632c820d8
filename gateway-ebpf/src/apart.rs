//! Stages that few packets need, as global functions: the verifier checks each by itself and once, whatever their callers
//! know, where it goes through other functions again for every state in which they are called
//! (Documentation/bpf/verifier.rst; since Linux 5.6, commit 51c39bb1d5d1).
//!
//! Such a function can be given the program's context and numbers, so it finds all else again. It takes as many arguments as
//! there can be: of a call the verifier assumes that it reads all registers for arguments, so it remembers what is in those that
//! the caller does not write, and goes through all that comes before the call once for each number that it has seen there.

use core::arch::asm;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use gateway_common::{
    abi::Active,
    env::Env as _,
    pipeline::{Context, Stage},
    verdict::{Reason, Step},
};

use crate::{
    env::{KernelEnv, cpu},
    frame::XdpFrame,
    maps::Cpu,
};

/// What a function answers when the packet goes on; else the reason's number after this one.
const CONTINUE: u32 = 0;

macro_rules! apart {
    ($($stage:ident $single:ident $frags:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $single(context: *mut xdp_md, active: u64, a: u64, b: u64, c: u64) -> u32 {
                run::<false>(context, active, [a, b, c], Stage::$stage)
            }

            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $frags(context: *mut xdp_md, active: u64, a: u64, b: u64, c: u64) -> u32 {
                run::<true>(context, active, [a, b, c], Stage::$stage)
            }
        )*

        /// Runs a stage in its own function.
        #[inline(always)]
        pub(crate) fn call<const FRAGS: bool>(stage: Stage, context: *mut xdp_md, active: Active) -> Step {
            let answer = match (stage, FRAGS) {
                $(
                    (Stage::$stage, false) => $single(context, active.0, 0, 0, 0),
                    (Stage::$stage, true) => $frags(context, active.0, 0, 0, 0),
                )*
            };
            match Reason::ALL.get((answer as usize).wrapping_sub(1)) {
                Some(&reason) if answer != CONTINUE => Step::Break(reason),
                _ => Step::Continue(()),
            }
        }
    };
}

apart! {
    Settle settle settle_frags
    Learn learn learn_frags
    Essential essential essential_frags
    Handshake handshake handshake_frags
    Ask ask ask_frags
    Connections has_room has_room_frags
    Answer answer answer_frags
    Reflection reflection reflection_frags
    Unasked unasked unasked_frags
    Quic quic quic_frags
    Keep keep keep_frags
    Total total total_frags
    Reserve reserve reserve_frags
    SeekNeighbours seek_neighbours seek_neighbours_frags
    SeekService seek_service seek_service_frags
    SeekSource seek_source seek_source_frags
    Tls tls tls_frags
    Begin begin begin_frags
    Prefix prefix prefix_frags
    PrefixPart prefix_part prefix_part_frags
    Hello hello hello_frags
    Read read read_frags
    Verify verify verify_frags
    Fallback fallback fallback_frags
    Remember remember remember_frags
    Update update update_frags
    Meet meet meet_frags
    Refusal refusal refusal_frags
    Strike strike strike_frags
    StrikeNote strike_note strike_note_frags
}

#[inline(always)]
fn run<const FRAGS: bool>(
    mut context: *mut xdp_md,
    mut active: u64,
    [a, b, c]: [u64; 3],
    stage: Stage,
) -> u32 {
    // LLVM leaves arguments undefined that a function does not use, and the verifier wants all of them.
    // SAFETY: moves of registers onto themselves.
    unsafe {
        asm!(
            "{0} = {0}", "{1} = {1}", "{2} = {2}", "{3} = {3}", "{4} = {4}",
            inout(reg) context, inout(reg) active, in(reg) a, in(reg) b, in(reg) c,
            options(nomem, nostack)
        );
    };
    let context = XdpContext::new(context);
    let Some(Cpu { clock, scratch }) = cpu() else { return CONTINUE };
    let env = KernelEnv::<FRAGS>::new(&context, clock);
    let active = Active(active);
    let Some(settings) = env.settings(active) else { return CONTINUE };
    let shared = Context { env: &env, settings, active, now: scratch.clock.now() };
    match stage.run(&XdpFrame::<FRAGS>(&context), &shared, scratch) {
        Step::Continue(()) => CONTINUE,
        Step::Break(reason) => reason as u32 + 1,
    }
}
