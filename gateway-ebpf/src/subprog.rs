//! Stages that few packets need, as global functions: the verifier checks each by itself and once, whatever their
//! callers know, where it goes through other functions again for every state in which they are called
//! (Documentation/bpf/verifier.rst; since Linux 5.6, commit 51c39bb1d5d1).
//!
//! Such a function can be given the program's context and numbers, so it finds all else again. It takes as many
//! arguments as there can be: of a call the verifier assumes that it reads all registers for arguments, so it remembers
//! what is in those that the caller does not write, and goes through all that comes before the call once for each
//! number that it has seen there.

use core::arch::asm;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use gateway_common::{
    abi::{Active, Settings},
    env::Context,
    for_each_subprog,
    frame::Frame,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    verdict::{Reason, Step},
};

use crate::{
    drop_cache::CpuDrops,
    env::KernelEnv,
    frame::{BARE, FRAGS, PLAIN, XdpFrame},
};

/// What a function answers when the packet goes on; else the reason's number after this one.
const CONTINUE: u32 = 0;

macro_rules! subprogs {
    ($($(#[$doc:meta])* $subprog:ident $symbol:ident)*) => {
        /// The functions of one build.
        macro_rules! functions {
            ($module:ident $build:ident $suffix:literal) => {
                mod $module {
                    use super::*;

                    $(
                        $(#[$doc])*
                        #[unsafe(export_name = concat!(stringify!($symbol), $suffix))]
                        #[inline(never)]
                        pub(super) extern "C" fn $symbol(
                            context: *mut xdp_md,
                            state: *mut PacketState,
                            settings: *const Settings,
                            active: u64,
                            unused: u64,
                        ) -> u32 {
                            run::<$build>(context, state, settings, [active, unused], Subprog::$subprog)
                        }
                    )*
                }
            };
        }

        functions!(plain PLAIN "");
        functions!(frags FRAGS "_frags");
        functions!(bare BARE "_bare");

        /// Runs a subprogram.
        #[inline(always)]
        fn call<const BUILD: u8>(
            subprog: Subprog,
            context: *mut xdp_md,
            state: *mut PacketState,
            settings: *const Settings,
            active: Active,
        ) -> Step {
            let answer = match (subprog, BUILD) {
                $(
                    (Subprog::$subprog, FRAGS) => frags::$symbol(context, state, settings, active.0, 0),
                    (Subprog::$subprog, BARE) => bare::$symbol(context, state, settings, active.0, 0),
                    (Subprog::$subprog, _) => plain::$symbol(context, state, settings, active.0, 0),
                )*
            };
            match Reason::ALL.get((answer as usize).wrapping_sub(1)) {
                Some(&reason) if answer != CONTINUE => Step::Break(reason),
                _ => Step::Continue(()),
            }
        }
    };
}

for_each_subprog!(subprogs!);

#[inline(always)]
fn run<const BUILD: u8>(
    mut context: *mut xdp_md,
    mut state: *mut PacketState,
    mut settings: *const Settings,
    [mut active, unused]: [u64; 2],
    subprog: Subprog,
) -> u32 {
    // LLVM leaves arguments undefined that a function does not use, and the verifier wants all of them.
    // SAFETY: moves of registers onto themselves.
    unsafe {
        asm!(
            "{0} = {0}", "{1} = {1}", "{2} = {2}", "{3} = {3}", "{4} = {4}",
            inout(reg) context, inout(reg) state, inout(reg) settings, inout(reg) active, in(reg) unused,
            options(nomem, nostack)
        );
    };
    // To the verifier either may be none.
    // SAFETY: the caller's, which waits for the answer.
    let (Some(state), Some(settings)) = (unsafe { state.as_mut() }, unsafe { settings.as_ref() }) else {
        return CONTINUE;
    };
    let context = XdpContext::new(context);
    let env = KernelEnv::<BUILD>::new(&context);
    let shared =
        Context { env: &env, settings, active: Active(active), now: state.clock.now(), drops: CpuDrops };
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
        state: &mut PacketState,
    ) -> Step {
        call::<BUILD>(subprog, self.context(), state, context.settings, context.active)
    }
}
