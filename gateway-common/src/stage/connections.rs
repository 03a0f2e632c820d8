//! Refuses SYNs of sources and neighbourhoods, and to services, that have all the connections open that they may have.
//!
//! User space counts connections, of the host's own sockets: nothing forged is among them. Here it is looked up alone whether there is
//! room; while nobody is at a limit, in one word of a cache line that a SYN needs anyway.

use crate::{
    abi::{HANDSHAKE_FULL, HANDSHAKE_HOLDERS, Holder, Live},
    env::{Env, Words as _},
    pipeline::{Context, Scratch},
    source_key,
    stage::{budgets, handshake, service},
    verdict::{Reason, Step, drop},
};

/// Whether a SYN is held to anything here. Trusted sources are not.
#[inline(always)]
pub const fn concerns<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> bool {
    !scratch.role.trusted && service::at(context.settings, scratch.role.service).connections != 0
}

/// Looks whether a SYN finds room. Neighbours of a class are no sign of an attack.
#[inline(always)]
pub fn check<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> Step {
    let Context { env, settings, now, .. } = context;
    let Some(words) = handshake::words(context, scratch) else { return Step::Continue(()) };
    if Live::holds(words.load(HANDSHAKE_FULL), *now) {
        return drop(Reason::TotalConnections);
    }
    if !Live::holds(words.load(HANDSHAKE_HOLDERS), *now) {
        return Step::Continue(());
    }
    let Scratch { packet, role, .. } = scratch;
    let key = budgets::source(settings, scratch);
    if Live::holds(env.full_until(&Holder { key, service: role.service.into() }), *now) {
        return drop(Reason::LimitConnections);
    }
    let key = source_key::neighbourhood(settings, packet);
    if role.class == 0 && Live::holds(env.full_until(&Holder { key, service: 0 }), *now) {
        return drop(Reason::NeighboursConnections);
    }
    Step::Continue(())
}
