//! Refuses SYNs of sources and neighbourhoods, and to services, that have all the connections open that they may have.
//!
//! User space counts connections, of the host's own sockets: nothing forged is among them. Here it is looked up alone whether there is
//! room; while nobody is at a limit, in one word of a cache line that a SYN needs anyway.

use crate::{
    abi::{HANDSHAKE_FULL, HANDSHAKE_HOLDERS, HANDSHAKE_SLOT, Holder, Live},
    env::{Context, Env},
    source,
    stage::{budgets, packet_state::PacketState},
    state::services,
    verdict::{Reason, Step, drop},
    words::Words as _,
};

/// Whether a SYN is held to anything here. Trusted sources are not.
#[inline(always)]
pub const fn concerns<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    !state.role.trusted && context.settings.service(state.role.service).connections != 0
}

/// Looks whether a SYN finds room. Neighbours of a class are no sign of an attack.
#[inline(always)]
pub fn check<E: Env>(context: &Context<'_, E>, state: &PacketState) -> Step {
    let Context { env, settings, now, .. } = context;
    let Some(words) = services::slot(*env, state.role.service, HANDSHAKE_SLOT) else {
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
