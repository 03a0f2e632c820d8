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
    env::{Context, Env as _},
    frame::Frame,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    verdict::{Reason, Step},
};

use crate::{
    drop_cache::CpuDrops,
    env::{KernelEnv, cpu},
    frame::{BARE, FRAGS, PLAIN, XdpFrame},
    maps::Cpu,
};

/// What a function answers when the packet goes on; else the reason's number after this one.
const CONTINUE: u32 = 0;

macro_rules! subprogs {
    ($($subprog:ident $single:ident $frags:ident $bare:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $single(context: *mut xdp_md, active: u64, a: u64, b: u64, c: u64) -> u32 {
                run::<PLAIN>(context, active, [a, b, c], Subprog::$subprog)
            }

            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $frags(context: *mut xdp_md, active: u64, a: u64, b: u64, c: u64) -> u32 {
                run::<FRAGS>(context, active, [a, b, c], Subprog::$subprog)
            }

            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $bare(context: *mut xdp_md, active: u64, a: u64, b: u64, c: u64) -> u32 {
                run::<BARE>(context, active, [a, b, c], Subprog::$subprog)
            }
        )*

        /// Runs a stage in its own function.
        #[inline(always)]
        pub(crate) fn call<const BUILD: u8>(subprog: Subprog, context: *mut xdp_md, active: Active) -> Step {
            let answer = match (subprog, BUILD) {
                $(
                    (Subprog::$subprog, FRAGS) => $frags(context, active.0, 0, 0, 0),
                    (Subprog::$subprog, BARE) => $bare(context, active.0, 0, 0, 0),
                    (Subprog::$subprog, _) => $single(context, active.0, 0, 0, 0),
                )*
            };
            match Reason::ALL.get((answer as usize).wrapping_sub(1)) {
                Some(&reason) if answer != CONTINUE => Step::Break(reason),
                _ => Step::Continue(()),
            }
        }
    };
}

subprogs! {
    Settle settle settle_frags settle_bare
    Tell tell tell_frags tell_bare
    CacheEntry cache_entry cache_entry_frags cache_entry_bare
    CacheRefusal cache_refusal cache_refusal_frags cache_refusal_bare
    Essential essential essential_frags essential_bare
    Handshake handshake handshake_frags handshake_bare
    Ask ask ask_frags ask_bare
    Connections has_room has_room_frags has_room_bare
    Answer answer answer_frags answer_bare
    Reflection reflection reflection_frags reflection_bare
    Unasked unasked unasked_frags unasked_bare
    Quic quic quic_frags quic_bare
    Keep keep keep_frags keep_bare
    Own own own_frags own_bare
    Total total total_frags total_bare
    Reserve reserve reserve_frags reserve_bare
    SeekNeighbours seek_neighbours seek_neighbours_frags seek_neighbours_bare
    SeekService seek_service seek_service_frags seek_service_bare
    SeekSource seek_source seek_source_frags seek_source_bare
    Tls tls tls_frags tls_bare
    Begin begin begin_frags begin_bare
    Prefix prefix prefix_frags prefix_bare
    PrefixPart prefix_part prefix_part_frags prefix_part_bare
    Hello hello hello_frags hello_bare
    Read read read_frags read_bare
    Verify verify verify_frags verify_bare
    Fallback fallback fallback_frags fallback_bare
    Remember remember remember_frags remember_bare
    Update update update_frags update_bare
    Meet meet meet_frags meet_bare
    Refusal refusal refusal_frags refusal_bare
    Strike strike strike_frags strike_bare
    StrikeNote strike_note strike_note_frags strike_note_bare
}

#[inline(always)]
fn run<const BUILD: u8>(
    mut context: *mut xdp_md,
    mut active: u64,
    [a, b, c]: [u64; 3],
    subprog: Subprog,
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
    let Some(Cpu { clock, state }) = cpu() else { return CONTINUE };
    let env = KernelEnv::<BUILD>::new(&context, clock);
    let active = Active(active);
    let Some(settings) = env.settings(active) else { return CONTINUE };
    let shared = Context { env: &env, settings, active, now: state.clock.now(), drops: CpuDrops };
    match subprog.run(&XdpFrame::<BUILD>(&context), &shared, state) {
        Step::Continue(()) => CONTINUE,
        Step::Break(reason) => reason as u32 + 1,
    }
}

impl<const BUILD: u8> Program for KernelEnv<'_, BUILD> {
    #[inline(always)]
    fn call<F: Frame>(
        &self,
        subprog: Subprog,
        _: &F,
        context: &Context<'_, Self>,
        _: &mut PacketState,
    ) -> Step {
        call::<BUILD>(subprog, self.context(), context.active)
    }
}
