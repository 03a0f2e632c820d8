//! First messages that are read in part: where the reader of each stands.
//!
//! A slot is a connection's fingerprint, the reader as words, and where the stream begins. It is needed from a hello's
//! first segment to its last. A slot that was not touched for `GIVE_UP` is free. Before that, only a connection that
//! the host's TCP knows may take it: from one that TCP does not know, or once a whole message has waited for TCP for
//! `LAG`. Without a slot the segment is dropped, and TCP sends it again.

use crate::{
    abi::{HELLO_KEY, HELLO_READER, HELLO_SEEN, WAYS},
    env::Env,
    limit::rate::{Instant, SEEN_SHIFT, units_since},
    state::{
        assoc::{EMPTY, TAKEN, Victim},
        conntrack::{Conn, ConnState},
    },
    tables::{BucketTable, Note, Table},
    wire::hello::{self, Outcome, Reader},
    words::{Slots, Words},
};

const SEEN_MASK: u32 = 0x3fff_ffff;
/// Units after which the rest of a hello is given up; TCP's retransmissions span more only on dead paths.
const GIVE_UP: u32 = 30;
/// The host's TCP knows the connection, so its source is not forged.
const PROVEN: u32 = 1 << 31;
/// The message was read whole, and the slot waits for the host's TCP to have it.
const DONE: u32 = 1 << 30;
/// Units after which such a slot may be taken by a connection that the host's TCP knows: TCP has had time to take the
/// message.
const LAG: u32 = 3;
/// The rank of a connection's own slot for eviction: above an empty one. All others rank by age.
const OWN: u64 = 2 * EMPTY;

/// Finds a connection's reader for the stream that starts at `base`, and resumes it.
#[inline(always)]
pub fn resume<E: Env>(env: &E, identity: u64, base: u32, reader: &mut Reader) -> bool {
    let Some(set) = slots(env, identity) else { return false };
    let is_its = |way: &usize| {
        let slot = set.slot(*way);
        slot.load(HELLO_KEY) == identity && slot.load(HELLO_SEEN) as u32 == base
    };
    let Some(way) = (0..WAYS).find(is_its) else { return false };
    // Hidden from the verifier, which would follow later code once for each way.
    let slot = set.slot(E::barrier_var(way as u64) as usize);
    let mut words = [0; hello::WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = slot.load(HELLO_READER + index);
    }
    reader.resume(words);
    reader.seen = (slot.load(HELLO_SEEN) >> 32) as u32;
    // Another connection may have taken the slot meanwhile.
    slot.load(HELLO_KEY) == identity
}

/// Keeps a connection's reader, if there is a slot for it. `proven`: the host's TCP has the connection.
#[inline(always)]
pub fn keep<E: Env>(
    env: &E,
    conn: &Conn,
    proven: bool,
    reader: &Reader,
    now: Instant,
    memory: &mut Victim,
) -> bool {
    let Conn { identity, next: ConnState { base, .. }, .. } = *conn;
    let Some(set) = slots(env, identity) else { return false };
    let key = |way| set.slot(way).load(HELLO_KEY);
    let victim = Victim::of::<E>(0, memory, key, |way, owner| {
        if owner == identity { OWN } else { rank((set.slot(way).load(HELLO_SEEN) >> 32) as u32, proven, now) }
    });
    if victim.rank() == 0 {
        env.note(Table::PartialHellos, Note::Full);
        return false;
    }
    let slot = set.slot(victim.way());
    let owner = slot.load(HELLO_KEY);
    // The order of `assoc`.
    if !slot.replace(HELLO_KEY, owner, TAKEN) {
        return false;
    }
    let is_complete = matches!(reader.outcome, Outcome::Complete);
    let is_done = is_complete || reader.done != 0;
    let words = if is_complete { reader.anchored() } else { reader.to_words() };
    for (index, word) in words.into_iter().enumerate() {
        slot.store(HELLO_READER + index, word);
    }
    let seen = (now >> SEEN_SHIFT) as u32 & SEEN_MASK;
    let seen = seen | if proven { PROVEN } else { 0 } | if is_done { DONE } else { 0 };
    slot.store(HELLO_SEEN, u64::from(base) | u64::from(seen) << 32);
    slot.store(HELLO_KEY, identity);
    if owner != identity {
        env.note(Table::PartialHellos, Note::Inserted);
    }
    true
}

/// Whether the host's TCP has seen by now all that a resumed reader has let through.
#[inline(always)]
pub const fn is_over(reader: &Reader, now: Instant) -> bool {
    age(reader.seen, now) > LAG
}

/// Forgets a connection's reader.
#[inline(always)]
pub fn forget<E: Env>(env: &E, identity: u64) {
    let Some(set) = slots(env, identity) else { return };
    for way in 0..WAYS {
        let _ = set.slot(way).replace(HELLO_KEY, identity, 0);
    }
}

/// The rank of a slot for eviction; 0: it is not evicted.
#[inline(always)]
const fn rank(seen: u32, proven: bool, now: Instant) -> u64 {
    let age = age(seen, now);
    if age > GIVE_UP || (proven && (seen & PROVEN == 0 || (seen & DONE != 0 && age > LAG))) {
        age as u64 + 1
    } else {
        0
    }
}

#[inline(always)]
const fn age(seen: u32, now: Instant) -> u32 {
    units_since(seen as u64, now >> SEEN_SHIFT, SEEN_MASK as u64) as u32
}

#[inline(always)]
fn slots<E: Env>(env: &E, identity: u64) -> Option<E::Buckets> {
    env.buckets(BucketTable::PartialHellos, (identity >> 32) as u32 & (env.sets(Table::PartialHellos) - 1))
}
