//! Allow lists, bans, block lists, and the class of a source. Allow wins over ban, ban over block list.

use crate::{
    abi::{Live, listing, policy},
    env::Env,
    pipeline::{Context, Scratch},
    verdict::{Reason, Step, drop},
};

/// Looks the source up in what configuration and live commands say.
#[inline(never)]
pub fn check<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, role, .. } = scratch;
    let mut blocked = false;
    let lists = if packet.ipv6 { policy::LISTS_V6 } else { policy::LISTS_V4 };
    if context.settings.flags & lists != 0
        && let Some(found) = context.env.listing(context.active, packet)
    {
        role.trusted = found.flags & listing::ALLOW != 0;
        role.class = found.class;
        blocked = found.flags & listing::BLOCK != 0;
    }
    let mut banned = false;
    if context.active.has_live(packet.ipv6)
        && let Some(live) = context.env.live(packet)
    {
        role.trusted |= Live::holds(live.allow_until, context.now);
        banned = Live::holds(live.ban_until, context.now);
    }
    match (role.trusted, banned, blocked) {
        (false, true, _) => drop(Reason::Banned),
        (false, false, true) => drop(Reason::BlockListed),
        _ => Step::Continue(()),
    }
}
