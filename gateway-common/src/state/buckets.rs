//! Tables of buckets: the bucket of a source is looked up, or inserted.
//!
//! Look-ups ([`find`], [`seek`]) take the first slot with their key. If two CPUs insert one source at the same moment,
//! no look-up finds the later slot: its debt runs out, and at most the packet that it was made for goes uncounted.

use crate::{
    abi::{SLOT_BYTES, SLOT_COUNTS, SLOT_KEY, WAYS},
    env::{Context, Env},
    hash,
    limit::{bucket::Bucket, rate::Instant},
    tables::{BucketTable, Note},
    words::{Slots, Words as _},
};

/// Where a bucket is in its set. In memory, so that the verifier follows one bucket and not each of four.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The key that was looked up last.
    key: u64,
    /// And its region.
    region: u32,
    /// The set's index.
    pub set: u32,
    /// The slot in it.
    pub way: u32,
    /// The debt of the slot at `way`, while a slot is looked for.
    owed: Instant,
}

impl Place {
    /// The key of the bucket.
    #[inline(always)]
    pub const fn key(&self) -> u64 {
        self.key
    }
}

/// Looks up the bucket of a source, and leaves its place. Nothing if there is none.
#[inline(always)]
pub fn find<E: Env>(
    env: &E,
    table: BucketTable,
    region: u32,
    key: u64,
    place: &mut Place,
) -> Option<E::Buckets> {
    set_of(env, table, region, key, place).filter(|&set| find_in(set, key, place))
}

/// Looks up the bucket of a source, or inserts one, and leaves its place. False if other CPUs took every slot that this
/// one wanted.
#[inline(always)]
pub fn seek<E: Env>(
    context: &Context<'_, E>,
    table: BucketTable,
    region: u32,
    key: u64,
    place: &mut Place,
) -> bool {
    set_of(context.env, table, region, key, place)
        .is_some_and(|set| find_or_take(context, table, set, key, place))
}

/// The bucket that [`find`] or [`seek`] found.
#[inline(always)]
pub fn bucket<E: Env>(env: &E, table: BucketTable, place: &Place) -> Option<BucketOf<E>> {
    set(env, table, place).map(|set| Bucket::in_set(set, place.way))
}

/// The set that it is in.
#[inline(always)]
pub fn set<E: Env>(env: &E, table: BucketTable, place: &Place) -> Option<E::Buckets> {
    env.buckets(table, place.set)
}

/// The set of a source; leaves its index.
#[inline(always)]
fn set_of<E: Env>(
    env: &E,
    table: BucketTable,
    region: u32,
    key: u64,
    place: &mut Place,
) -> Option<E::Buckets> {
    if (place.key ^ key) | u64::from(place.region ^ region) != 0 {
        let sets = env.sets(table.table());
        (place.key, place.region) = (key, region);
        place.set = region * sets + (hash::place(env.key(), key) & (sets - 1));
    }
    env.buckets(table, place.set)
}

/// A bucket of an environment's tables.
pub type BucketOf<E> = Bucket<<<E as Env>::Buckets as Slots>::Slot>;

#[inline(never)]
fn find_or_take<E: Env>(
    context: &Context<'_, E>,
    table: BucketTable,
    set: E::Buckets,
    key: u64,
    place: &mut Place,
) -> bool {
    for _ in 0..2 {
        if find_in(set, key, place) {
            return true;
        }
        least_debt(set, context.now, place, E::barrier_var(0));
        let slot = set.slot(place.way as usize);
        let owner = slot.load(SLOT_KEY);
        if slot.replace(SLOT_KEY, owner, key) {
            if place.owed != 0 {
                Bucket::of(slot).reset(context.now);
                context.env.note(table.table(), Note::Evicted);
            }
            slot.store(SLOT_COUNTS, 0);
            slot.store(SLOT_BYTES, 0);
            context.env.note(table.table(), Note::Inserted);
        }
    }
    // The second round found what the first inserted, or lost the slot to another CPU again.
    let found = find_in(set, key, place);
    if !found {
        context.env.note(table.table(), Note::Full);
    }
    found
}

#[inline(always)]
fn find_in<S: Slots>(set: S, key: u64, place: &mut Place) -> bool {
    for way in 0..WAYS {
        if set.slot(way).load(SLOT_KEY) == key {
            place.way = way as u32;
            return true;
        }
    }
    false
}

/// Leaves the slot with the least debt in `place`; the first of equals, so that CPUs that insert the same source at
/// once choose the same slot.
#[inline(always)]
fn least_debt<S: Slots>(set: S, now: Instant, place: &mut Place, nothing: u64) {
    place.way = 0;
    place.owed = Bucket::in_set(set, 0).debt(now, nothing);
    for way in 1..WAYS {
        let owed = Bucket::in_set(set, way as u32).debt(now, nothing);
        if owed < place.owed {
            (place.way, place.owed) = (way as u32, owed);
        }
    }
}
