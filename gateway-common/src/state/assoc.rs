//! Set-associative tables: how an entry is looked up, which one a newcomer evicts, and in which order one is published.
//!
//! A key hashes to one set, and its entry is in one of the set's ways. All CPUs change a set at once without locks.
//!
//! * **Look-up**: the first way with the key. Keys are compared whole.
//! * **Eviction**: each entry has a rank, and the one that ranks highest is evicted ([`Victim`]). It is computed
//!   without branches and read back from memory: otherwise the kernel's verifier would follow all later code once for
//!   each combination of ranks.
//! * **Publication** ([`PairSet::publish`]): the key becomes [`TAKEN`] by compare-and-swap, then the state is written,
//!   then the new key. If two CPUs choose one entry, one of them gets it. A CPU that finds a key, reads the state and
//!   finds the key again has that key's state, and not that of the entry before or after it ([`PairSet::get`]).
//!
//! Buckets are published in another order ([`crate::state::buckets`]): their key first, so that a CPU that inserts the
//! same source at the same time finds it, and charges the same bucket. Their state needs no such care: compare-and-swap
//! forgives an older debt.

use core::hint::black_box;

use crate::{
    abi::{PAIR_WAYS, PAIR_WORDS, WAYS},
    branchless::zero_sign,
    env::Env,
    hash,
    tables::PairTable,
    words::Words,
};

/// The key of an entry while it changes hands. No source and no flow has it.
pub const TAKEN: u64 = 2;

/// A set of a table of pairs.
#[derive(Clone, Copy, Debug)]
pub struct PairSet<W>(W);

impl<W: Words> PairSet<W> {
    /// A set by its words.
    #[inline(always)]
    pub const fn new(words: W) -> Self {
        Self(words)
    }

    /// The set of a source's key.
    #[inline(always)]
    pub fn of_source<E: Env<Pairs = W>>(env: &E, table: PairTable, source: u64) -> Option<Self> {
        Self::at(env, table, hash::place(env.key(), source))
    }

    /// The set of a flow's fingerprint, which is a hash itself.
    #[inline(always)]
    pub fn of_flow<E: Env<Pairs = W>>(env: &E, table: PairTable, identity: u64) -> Option<Self> {
        Self::at(env, table, (identity >> 32) as u32)
    }

    #[inline(always)]
    fn at<E: Env<Pairs = W>>(env: &E, table: PairTable, hash: u32) -> Option<Self> {
        env.pairs(table, hash & (env.sets(table.table()) - 1)).map(Self)
    }

    /// The key of a way; 0: its entry is empty.
    #[inline(always)]
    pub fn key(self, way: usize) -> u64 {
        self.0.load(way * PAIR_WORDS)
    }

    /// The state of a way.
    #[inline(always)]
    pub fn state(self, way: usize) -> u64 {
        self.0.load(way * PAIR_WORDS + 1)
    }

    /// The way with a key.
    #[inline(always)]
    pub fn find(self, key: u64) -> Option<usize> {
        (0..PAIR_WAYS).find(|way| self.key(*way) == key)
    }

    /// The state of a key. Nothing if it has no entry, or loses it at this moment.
    #[inline(always)]
    pub fn get(self, key: u64) -> Option<u64> {
        // The state is read where the way is a constant: the verifier would follow later code once for each way.
        for way in 0..PAIR_WAYS {
            if self.key(way) == key {
                let state = self.state(way);
                return (self.key(way) == key).then_some(state);
            }
        }
        None
    }

    /// 1 if an entry is empty, else 0.
    #[inline(always)]
    pub fn room(self) -> u64 {
        (0..PAIR_WAYS).fold(0, |room, way| room | zero_sign(self.key(way))) >> (u64::BITS - 1)
    }

    /// Writes the state of a way, whatever it was.
    #[inline(always)]
    pub fn set_state(self, way: usize, state: u64) {
        self.0.store(way * PAIR_WORDS + 1, state);
    }

    /// Writes the state of a way that still is `before`.
    #[inline(always)]
    pub fn replace_state(self, way: usize, before: u64, state: u64) -> bool {
        self.0.replace(way * PAIR_WORDS + 1, before, state)
    }

    /// Adds to the state of a way.
    #[inline(always)]
    pub fn add_to_state(self, way: usize, count: u64) {
        self.0.add(way * PAIR_WORDS + 1, count);
    }

    /// The entry that a newcomer evicts: see [`Victim::of`]. `rank` goes by the state.
    #[inline(always)]
    pub fn victim<E: Env>(self, floor: u64, memory: &mut Victim, rank: impl Fn(u64) -> u64) -> Victim {
        Victim::of::<E>(floor, memory, |way| self.key(way), |way, _| rank(self.state(way)))
    }

    /// Gives the entry of a way, which is `owner`'s, to a key with its state. False if another CPU was earlier.
    #[inline(always)]
    pub fn publish(self, way: usize, owner: u64, key: u64, state: u64) -> bool {
        if !self.0.replace(way * PAIR_WORDS, owner, TAKEN) {
            return false;
        }
        self.set_state(way, state);
        self.0.store(way * PAIR_WORDS, key);
        true
    }
}

/// The rank of an empty entry: above those of entries in use.
pub const EMPTY: u64 = 1 << 59;

/// The lowest bits of a rank name the entry, counted from the last: of two equal ranks the first is chosen.
const WAY_BITS: u32 = 2;
const WAY_MASK: u64 = (1 << WAY_BITS) - 1;

const _: () = assert!(WAYS == PAIR_WAYS && PAIR_WAYS == 1 << WAY_BITS);

/// The entry of a set of four that ranks highest of those considered so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Victim {
    rank: u64,
    owner: u64,
}

impl Victim {
    /// The entry of a set that a newcomer evicts: the first with the highest rank above `floor`. An empty one is
    /// [`EMPTY`], one that changes hands is never chosen, and `rank` ranks all others by way and key.
    #[inline(always)]
    pub fn of<E: Env>(
        floor: u64,
        memory: &mut Self,
        key: impl Fn(usize) -> u64,
        rank: impl Fn(usize, u64) -> u64,
    ) -> Self {
        let mut victim = Self::above(floor);
        for way in 0..PAIR_WAYS {
            let owner = key(way);
            let rank = match owner {
                0 => EMPTY,
                TAKEN => 0,
                _ => rank(way, owner),
            };
            victim.consider::<E>(way, owner, rank);
        }
        victim.chosen(memory)
    }

    /// No entry yet; only one that ranks higher than this is chosen. It is below 2^61, as all ranks.
    #[inline(always)]
    pub const fn above(rank: u64) -> Self {
        Self { rank: rank << WAY_BITS | WAY_MASK, owner: 0 }
    }

    /// Chooses the entry, which is `owner`'s, if it ranks higher.
    #[inline(always)]
    pub fn consider<E: Env>(&mut self, way: usize, owner: u64, rank: u64) {
        let rank = rank << WAY_BITS | (WAY_MASK - way as u64);
        // All ones if it does. Hidden: LLVM would turn such a mask into branches.
        let higher = E::barrier_var((self.rank.wrapping_sub(rank) as i64 >> 63) as u64);
        self.rank ^= (self.rank ^ rank) & higher;
        self.owner ^= (self.owner ^ owner) & higher;
    }

    /// The victim, read back from `memory`.
    #[inline(always)]
    pub fn chosen(self, memory: &mut Self) -> Self {
        *memory = self;
        *black_box(memory)
    }

    /// Which entry was chosen.
    #[inline(always)]
    pub const fn way(self) -> usize {
        (WAY_MASK - (self.rank & WAY_MASK)) as usize
    }

    /// How it ranks.
    #[inline(always)]
    pub const fn rank(self) -> u64 {
        self.rank >> WAY_BITS
    }

    /// The key that it has.
    #[inline(always)]
    pub const fn owner(self) -> u64 {
        self.owner
    }
}
