//! Allow lists, bans, block lists, the class of a source, and whether it shares its bucket with its neighbourhood.
//! Allow wins over ban, and ban over block list. A source that is never to be banned is not. A source in a class, or
//! where sources are finer, shares nothing.

use crate::{
    abi::{Live, listing, policy},
    env::{Context, Env, LiveEntry as _},
    frame::Frame,
    source::finer::Finer,
    stage::{
        budgets::state::Refused,
        packet_state::{CpuState, PacketState},
        subprog::{Program, Subprog},
    },
    state::{
        bans,
        drop_cache::{Entry, LIFE, Ledger},
    },
    verdict::{Reason, Step, drop},
};

/// Looks the source up in configuration and in live entries.
#[inline(always)]
pub fn check<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, role, cpu: CpuState { places, .. }, .. } = state;
    let (mut blocked, mut never) = (false, false);
    let lists = if packet.ipv6 { policy::LISTS_V6 } else { policy::LISTS_V4 };
    if context.settings.flags & lists != 0
        && let Some(found) = context.env.listing(context.active, packet)
    {
        role.trusted = found.flags & listing::ALLOW != 0;
        role.class = found.class;
        blocked = found.flags & listing::BLOCK != 0;
        never = found.flags & listing::NEVER != 0;
        if found.finer != 0 {
            role.bucket = Finer(found.finer).key(packet.source);
        }
    }
    let mut banned = None;
    if context.active.has_live(packet.ipv6)
        && let Some(said) = context.env.live(packet)
    {
        let live = said.read();
        role.trusted |= Live::holds(live.allow_until, context.now);
        banned = Some(said).filter(|_| Live::holds(live.ban_until, context.now));
        if role.class == 0 && role.bucket == 0 && Live::holds(live.shared_until, context.now) {
            role.bucket = live.shared_key;
        }
    }
    if role.trusted {
        return Step::Continue(());
    }
    if let Some(said) = banned
        && !never
    {
        said.count_drop();
        return drop(Reason::Banned);
    }
    if context.active.has_bans(packet.ipv6)
        && !never
        && bans::find(context.env, packet, context.now, &mut places.ban_set)
    {
        bans::count(context.env, places.ban_set, bans::source(packet), 1);
        state.budgets.refused = Refused::listed(Reason::Banned);
        return drop(Reason::Banned);
    }
    if blocked {
        state.budgets.refused = Refused::listed(Reason::BlockListed);
        return drop(Reason::BlockListed);
    }
    Step::Continue(())
}

/// Caches the refusal of a listed or banned source.
#[inline(always)]
pub fn cache<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let reason = state.budgets.refused.reason;
    let is_banned = matches!(reason, Reason::Banned);
    // A ban that ends before the entry would is not cached.
    let later = context.now.wrapping_add(LIFE);
    if is_banned && !bans::find(context.env, &state.packet, later, &mut state.cpu.places.ban_set) {
        return Step::Continue(());
    }
    let ledger = if is_banned { Ledger::Ban } else { Ledger::Nowhere };
    let key = bans::source(&state.packet);
    state.entry = Entry { lasts: LIFE, reason, ledger, key, service: state.role.service, is_of_all: true };
    context.env.call(Subprog::InsertDrop, frame, context, state)
}
