//! A cache of refused sources, one for each CPU: their packets are dropped before they are parsed.
//!
//! A token bucket that refuses a packet refuses all of its price until a time that is known then
//! ([`Limit::refused_for`](crate::limit::rate::Limit::refused_for)): its debt only grows meanwhile. So a busy CPU keeps
//! the source, the kind of packet and that time in a set-associative table of its own. Until then it neither parses
//! such packets nor reads a table that other CPUs write. Banned and block-listed sources are kept, too.
//!
//! * **Hit**: source and kind are equal, the time is not over, and no policy, list, ban or trust has changed since (the
//!   tag of an entry has a part of [`Active`]). No stage looks at the packet, whatever else is wrong with its headers.
//! * **Drops** by hits are counted in the entry, and told to the source's slot or ban in bulk: when the entry is full
//!   or evicted, and with the first packets of each tick, one set with each.
//! * **Eviction**: hits keep an entry warm. A newcomer that finds no free place makes the coldest entry colder.
//! * **Bound**: an entry lasts for [`LIFE`] at most. If the source's slot is evicted meanwhile, the source has a full
//!   bucket again, and the cache refuses it for that long at most.
//!
//! Only CPUs whose clock is late look frames up: others have time to judge every packet.

mod meta;
mod probe;

use meta::Meta;
use probe::Probe;

use crate::{
    abi::{Active, DROP_WAYS},
    branchless::is_zero,
    env::{Context, DropSets, Env},
    frame::Frame,
    limit::{bucket::Bucket, rate::Instant},
    state::{
        assoc::Victim,
        bans,
        buckets::{self, Place},
    },
    tables::BucketTable,
    verdict::Reason,
    words::Words,
};

/// How long an entry lasts at most, about 1.07 s.
pub const LIFE: Instant = 1 << 38;
/// Drops that an entry has room for.
pub const BULK: u64 = 255;
/// The shortest frame that is looked up, in bytes: Ethernet, IPv4, and what is looked at behind them.
pub const FRAME_MIN: u32 = 14 + probe::V4 as u32;

/// Words of the part of a set that each look-up reads, one cache line: for each way a tag, and [`Meta`].
const TAG: usize = 0;
const META: usize = DROP_WAYS;
/// Words of the other part: for each way the upper half of an IPv6 source, and the key of the slot or ban that its
/// drops are told to.
const HIGH: usize = 0;
const KEY: usize = DROP_WAYS;
/// The next set with drops to tell: its number plus 1, or [`LAST`]; 0: this set has none.
const NEXT: usize = 2 * DROP_WAYS;
const LAST: u64 = u64::MAX;

/// Entries that a CPU makes in a tick at most, and entries that it makes colder for others: if more sources come than
/// there is room for, they would evict each other for nothing.
const ENTRIES_A_TICK: u32 = 4_096;
const EVICTIONS_A_TICK: u32 = 32;

/// What a CPU knows of its cache. It outlives the packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// No entry lasts longer than this.
    until: Instant,
    /// The first set with drops to tell, its number plus 1; 0: there is none.
    to_tell: u32,
    /// Entries that were made in this tick, and entries that were made colder for others.
    made: u32,
    colder: u32,
    /// For the frame at hand, if it was looked up, there is a place without an entry or with a stale one.
    has_place: bool,
}

impl State {
    /// Whether there are drops to tell.
    #[inline(always)]
    pub const fn has_to_tell(&self) -> bool {
        self.to_tell != 0
    }

    /// Whether an entry of the frame at hand may be made.
    #[inline(always)]
    pub const fn has_room(&self) -> bool {
        self.made < ENTRIES_A_TICK && (self.has_place || self.colder < EVICTIONS_A_TICK)
    }

    /// Another tick begins.
    #[inline(always)]
    pub const fn begin_tick(&mut self) {
        (self.made, self.colder) = (0, 0);
    }
}

/// Where drops are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Ledger {
    /// Nowhere: lists and neighbourhoods count none.
    #[default]
    Nowhere,
    /// The source's slot in [`BucketTable::Sources`].
    Source,
    /// Its slot in [`BucketTable::ServiceSources`].
    SourceAtService,
    /// Its ban.
    Ban,
}

/// A refusal to be cached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// How long it lasts.
    pub lasts: Instant,
    /// Why.
    pub reason: Reason,
    /// Where its drops are told.
    pub ledger: Ledger,
    /// The key there.
    pub key: u64,
    /// The service that its drops count for.
    pub service: u32,
    /// Whether it holds for all that the source sends, or for the packet's kind.
    pub is_of_all: bool,
}

/// The cached refusal of a frame's source: its reason, and the service that it counts for. `now`: the last reading of a
/// clock that is late.
#[inline(always)]
pub fn check<F: Frame, E: Env>(
    frame: &F,
    env: &E,
    active: Active,
    now: Instant,
    sets: E::Drops,
    state: &mut State,
) -> Option<(Reason, u32)> {
    // Mostly there is no entry.
    if state.until.wrapping_sub(now) as i64 <= 0 {
        state.has_place = true;
        return None;
    }
    let probe = Probe::of(frame, env, active)?;
    let index = sets.index(probe.set);
    let set = sets.set(index)?;
    let of = |wanted| (0..DROP_WAYS).find(|way| set.load(TAG + way) == wanted);
    let Some(way) = of(probe.tag).or_else(|| of(probe.any)) else {
        let over = (0..DROP_WAYS).fold(0, |over, way| over | Meta(set.load(META + way)).left(now));
        state.has_place = over >= LIFE;
        return None;
    };
    let meta = Meta(set.load(META + way));
    // With a full entry the packet takes the long path, at whose end `insert` has its drops told.
    if meta.left(now) >= LIFE || meta.drops() == BULK {
        state.has_place = true;
        return None;
    }
    if let Some(high) = probe.high
        && sets.rest(index)?.load(HIGH + way) != high
    {
        return None;
    }
    set.store(META + way, meta.0 + 1);
    if meta.drops() == 0 {
        let rest = sets.rest(index)?;
        if rest.load(NEXT) == 0 {
            rest.store(NEXT, if state.to_tell == 0 { LAST } else { state.to_tell.into() });
            state.to_tell = probe.set + 1;
        }
    }
    Some((meta.reason(), meta.service()))
}

/// Caches a refusal of a frame's source, if there is room. True if an entry was evicted whose
/// drops are to be told: they are left in `evicted`.
#[inline(always)]
pub fn insert<F: Frame, E: Env>(
    frame: &F,
    context: &Context<'_, E>,
    entry: &Entry,
    state: &mut State,
    memory: &mut Victim,
    evicted: &mut Telling,
) -> bool {
    state.made += 1;
    let end = context.now.wrapping_add(if entry.lasts < LIFE { entry.lasts } else { LIFE });
    if Meta(end).left(context.now) >= LIFE {
        return false;
    }
    let Some(probe) = Probe::of(frame, context.env, context.active) else { return false };
    let tag = if entry.is_of_all { probe.any } else { probe.tag };
    if tag == probe.any && !entry.is_of_all {
        return false;
    }
    let index = context.drops.index(probe.set);
    let (Some(set), Some(rest)) = (context.drops.set(index), context.drops.rest(index)) else {
        return false;
    };
    let mut coldest = Victim::above(0);
    for way in 0..DROP_WAYS {
        let meta = Meta(set.load(META + way));
        let is_same = is_zero(set.load(TAG + way) ^ tag);
        let is_over = is_zero(meta.left(context.now) >> LIFE.trailing_zeros()) ^ 1;
        coldest.consider::<E>(way, 0, is_same * SAME + is_over * OVER + WARMEST - meta.heat() - meta.drops());
    }
    let coldest = coldest.chosen(memory);
    let way = coldest.way() & (DROP_WAYS - 1);
    let meta = Meta(set.load(META + way));
    if coldest.rank() < OVER && meta.heat() + meta.drops() != 0 {
        // Drops that are not told yet warm it later.
        if meta.heat() != 0 {
            set.store(META + way, meta.0 - (1 << Meta::HEAT_SHIFT));
        }
        state.colder += 1;
        return false;
    }
    *evicted = Telling { meta, key: rest.load(KEY + way) };
    let heat = if coldest.rank() < SAME { 1 } else { meta.told().heat() | 1 };
    rest.store(HIGH + way, probe.high.unwrap_or(0));
    rest.store(KEY + way, entry.key);
    set.store(TAG + way, tag);
    set.store(META + way, Meta::new(entry, heat, end).0);
    if end.wrapping_sub(state.until) as i64 > 0 {
        state.until = end;
    }
    meta.drops() != 0
}

/// Ranks for eviction: the entry of the same source and kind first, then a stale one, then the coldest.
const WARMEST: u64 = 1_023;
const OVER: u64 = 2_048;
const SAME: u64 = 4_096;

/// Takes the first set off the list of sets with drops to tell: its two parts.
#[inline(always)]
pub fn take_set<D: DropSets>(drops: D, state: &mut State) -> Option<(D::Set, D::Rest)> {
    let index = drops.index(state.to_tell.wrapping_sub(1));
    state.to_tell = 0;
    let (set, rest) = (drops.set(index)?, drops.rest(index)?);
    let next = rest.load(NEXT);
    rest.store(NEXT, 0);
    state.to_tell = if next == LAST { 0 } else { next as u32 };
    Some((set, rest))
}

/// Takes the drops of an entry of such a set; whether it has any.
#[inline(always)]
pub fn take_drops<S: Words, R: Words>(set: S, rest: R, way: usize, telling: &mut Telling) -> bool {
    let meta = Meta(set.load(META + way));
    if meta.drops() == 0 {
        return false;
    }
    set.store(META + way, meta.told().0);
    *telling = Telling { meta, key: rest.load(KEY + way) };
    true
}

/// Drops of an entry that are to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telling {
    meta: Meta,
    key: u64,
}

/// Adds drops to the source's slot or ban. If that was evicted, they are forgotten with its other counts.
#[inline(always)]
pub fn tell<E: Env>(context: &Context<'_, E>, telling: &Telling) {
    let Telling { meta, key } = *telling;
    let drops = meta.drops() as u32;
    if meta.is_told(Ledger::Nowhere) {
        return;
    }
    if meta.is_told(Ledger::Ban) {
        for set in bans::Places::of(context.env.key(), key).sets {
            bans::count(context.env, set, key, drops);
        }
        return;
    }
    let (table, region) = if meta.is_told(Ledger::SourceAtService) {
        (BucketTable::ServiceSources, context.settings.service(meta.service()).region())
    } else {
        (BucketTable::Sources, 0)
    };
    let mut place = Place::default();
    if let Some(set) = buckets::find(context.env, table, region, key, &mut place) {
        Bucket::in_set(set, place.way).count_drops(drops);
    }
}
