//! Refuses SYNs of sources and neighbourhoods, and to services, that are at their limit of connections.
//!
//! User space counts connections, by the host's own sockets: nothing forged is among them. This stage only looks up
//! whether there is room. While nobody is at a limit, that is one word of a cache line that a SYN needs anyway.

use crate::{
    abi::{HANDSHAKE_FULL, HANDSHAKE_HOLDERS, Holder, Live},
    env::{Context, Env},
    source,
    stage::{budgets, packet_state::PacketState},
    state::services,
    verdict::{Reason, Step, drop},
    words::Words as _,
};

/// Whether a SYN may meet a limit here. Trusted sources have none.
#[inline(always)]
pub const fn concerns<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    !state.role.trusted && context.settings.service(state.role.service).connections != 0
}

/// Looks whether there is room for a SYN. A source in a class has no neighbourhood: its neighbours are no sign of an
/// attack.
#[inline(always)]
pub fn check<E: Env>(context: &Context<'_, E>, state: &PacketState) -> Step {
    let Context { env, settings, now, .. } = context;
    let Some(words) = services::handshake(*env, state.role.service) else {
        return Step::Continue(());
    };
    if Live::holds(words.load(HANDSHAKE_FULL), *now) {
        return drop(Reason::TotalConnections);
    }
    if !Live::holds(words.load(HANDSHAKE_HOLDERS), *now) {
        return Step::Continue(());
    }
    let PacketState { packet, role, .. } = state;
    let key = budgets::source(settings, state);
    if Live::holds(env.full_until(&Holder { key, service: role.service.into() }), *now) {
        return drop(Reason::LimitConnections);
    }
    let key = source::neighbourhood(settings, packet);
    if role.class == 0 && Live::holds(env.full_until(&Holder { key, service: 0 }), *now) {
        return drop(Reason::NeighboursConnections);
    }
    Step::Continue(())
}
