//! Puts refusals into the CPU's drop cache, and tells their drops. The look-up is [`drop_cache::check`].

use crate::{
    abi::DROP_WAYS,
    env::{Context, Env},
    frame::Frame,
    stage::{
        packet_state::{CpuState, PacketState},
        subprog::{Program, Subprog},
    },
    state::drop_cache,
    verdict::Step,
};

/// Caches the refusal in [`PacketState::entry`].
#[inline(always)]
pub fn insert<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { entry, victim, telling, cpu: CpuState { drops, .. }, .. } = &mut *state;
    if drop_cache::insert(frame, context, entry, drops, victim, telling) {
        let _ = context.env.call(Subprog::TellDrops, frame, context, state);
    }
    Step::Continue(())
}

/// Tells the drops of one set of entries.
#[inline(always)]
pub fn settle<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let Some((set, rest)) = drop_cache::take_set(context.drops, &mut state.cpu.drops) else {
        return Step::Continue(());
    };
    for way in 0..DROP_WAYS {
        if drop_cache::take_drops(set, rest, way, &mut state.telling) {
            let _ = context.env.call(Subprog::TellDrops, frame, context, state);
        }
    }
    Step::Continue(())
}

/// Tells the drops in [`PacketState::telling`].
#[inline(always)]
pub fn tell<E: Env>(context: &Context<'_, E>, state: &PacketState) -> Step {
    drop_cache::tell(context, &state.telling);
    Step::Continue(())
}
