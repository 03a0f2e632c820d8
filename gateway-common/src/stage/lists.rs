//! Allow lists, bans, block lists, the class of a source, and whether it shares its bucket with its neighbourhood. Allow wins
//! over ban, ban over block list; who is never to be banned is not; who is in a class, or where sources are finer, shares nothing.

use crate::{
    abi::{Live, STRANGERS, listing, policy},
    ban,
    drop_cache::DropCache,
    env::{Env, Said as _},
    finer::Finer,
    frame::Frame,
    image::Extent,
    pipeline::{Context, Scratch},
    table::drops::Ledger,
    verdict::{Reason, Step, drop},
};

/// Looks the source up in what configuration and live commands say.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, role, places, .. } = scratch;
    (role.trusted, role.class, role.bucket, role.held_as) = (false, 0, 0, STRANGERS as u32);
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
        && ban::find(context.env, packet, context.now, &mut places.ban)
    {
        return drop_banned(frame, context, scratch);
    }
    if blocked {
        DropCache::remember(frame, context, scratch, Extent::Source, 0, Reason::BlockListed);
        return drop(Reason::BlockListed);
    }
    Step::Continue(())
}

/// Drops and counts a packet whose source's ban was found.
#[inline(always)]
fn drop_banned<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { clock, packet, places, drop_counter, drop_cache, .. } = scratch;
    let source = ban::source(packet);
    let now = drop_counter.count(drop_cache, *clock, Ledger::Ban, &places.ban, source);
    if now == 0 {
        DropCache::remember(frame, context, scratch, Extent::Source, 1, Reason::Banned);
    } else {
        ban::count(context.env, places.ban.set, source, now);
    }
    drop(Reason::Banned)
}
