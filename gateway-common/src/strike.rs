//! Strikes: drops that are a source's own doing, whoever else sends under its address.
//!
//! A strike is a segment that the gate refused for what it says, of a connection whose handshake the host's TCP has
//! completed, at a sequence number near the stream's start. Who sends it has answered our SYN-ACK from that address, and
//! who has not would have to guess the port and the sequence number. A connection is one strike, however often TCP sends again what was
//! refused: else a page with images of such an address would have its readers banned. Nothing else is one: forged packets can bring about
//! every other drop under anybody's address, drops for a limit too, because they use up the limit of who is honest.
//!
//! So a source has an entry here only once it has proved itself, and forged sources push nobody out.

use crate::{
    abi::{LINK_WAYS, LINK_WORDS, STRIKE_SETS},
    env::{Env, Words},
    frame::Frame,
    hash,
    pipeline::{Context, Gate, Scratch, Stage},
    rate::{Instant, SEEN_SHIFT},
    stage::{budgets, tls::touches},
    verdict::{Reason, Step},
};

/// How far behind the stream's start a strike can lie: longer than any first message.
const SPAN: u32 = 1 << 16;
/// Tries of a compare-and-swap; a strike that is lost is none.
const TRIES: usize = 4;

/// Whether a drop by the gate may be a strike: what the host's TCP must still be asked.
#[inline(always)]
pub const fn can_be(reason: Reason, scratch: &Scratch) -> bool {
    reason.refuses_opening()
        && scratch.gate.is_open
        && !scratch.role.trusted
        && touches(&scratch.packet, scratch.gate.link.base, SPAN)
        && !scratch.gate.known.is_struck(scratch.gate.link.base)
}

/// Counts a strike, if the handshake of the packet's connection is complete.
#[inline(always)]
pub fn count<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    // A ban drops what is for other services, too: what one only tries to drop makes none.
    if scratch.role.mode != context.settings.mode {
        return Step::Continue(());
    }
    let (env, packet) = (context.env, &scratch.packet);
    if env.is_established(packet) {
        add(env, budgets::source(context.settings, scratch), context.now);
        env.apart(Stage::StrikeNote, frame, context, scratch)?;
    }
    Step::Continue(())
}

/// Writes down that a strike was counted for the connection: in what the gate has just written of it, or what it knew before. Of a
/// connection that has no entry any more the next refusal is another strike.
#[inline(always)]
pub fn write_down<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Gate { known, link, .. } = scratch.gate;
    for before in [link, known] {
        scratch.gate.known = before;
        scratch.gate.link = before.struck();
        context.env.apart(Stage::Update, frame, context, scratch)?;
    }
    Step::Continue(())
}

/// Adds a strike: when the last one was takes the upper half of a state, in units of [`SEEN_SHIFT`], their number the lower. Where a set is full, who has been quiet for longest goes; user space has its count by then.
#[inline(always)]
fn add<E: Env>(env: &E, source: u64, now: Instant) {
    let seen = now >> SEEN_SHIFT << u32::BITS;
    let Some(set) = env.strikes(hash::place(env.key(), source) & (STRIKE_SETS - 1)) else { return };
    let (mut oldest, mut way_of_oldest) = (u64::MAX, 0);
    for way in 0..LINK_WAYS {
        let owner = set.load(way * LINK_WORDS);
        if owner == source {
            again(set, way * LINK_WORDS + 1, seen);
            return;
        }
        // An empty entry before all others.
        let state = if owner == 0 { 0 } else { set.load(way * LINK_WORDS + 1) | 1 };
        if state < oldest {
            (oldest, way_of_oldest) = (state, way);
        }
    }
    replace(env, set, way_of_oldest, source, seen | 1);
}

#[inline(always)]
fn again<W: Words>(set: W, word: usize, seen: u64) {
    for _ in 0..TRIES {
        let state = set.load(word);
        let next = seen | u64::from((state as u32).wrapping_add(1));
        if set.replace(word, state, next) {
            return;
        }
    }
}

/// Takes an entry over. Its state first: user space shall not find a newcomer with the number of who was there before.
#[inline(always)]
fn replace<E: Env>(env: &E, set: E::Links, way: usize, source: u64, state: u64) {
    // Every access at an offset that the verifier knows.
    for candidate in 0..LINK_WAYS {
        if candidate == way {
            let owner = set.load(candidate * LINK_WORDS);
            set.store(candidate * LINK_WORDS + 1, state);
            let taken = set.replace(candidate * LINK_WORDS, owner, source);
            if taken
                && owner != 0
                && let Some(counts) = env.strikes(STRIKE_SETS)
            {
                counts.add(0, 1);
            }
        }
    }
}
