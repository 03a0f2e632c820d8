//! Entries of a set-associative table under every interleaving of two CPUs that there can be.

use gateway_common::{
    abi::{PAIR_SET_WORDS, PAIR_WORDS},
    state::assoc::{PairSet, TAKEN},
    words::Words,
};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A set in memory whose interleavings are all tried.
struct Set([AtomicU64; PAIR_SET_WORDS]);

impl Set {
    /// With one entry.
    fn with(key: u64) -> Arc<Self> {
        let set = Self(std::array::from_fn(|_| AtomicU64::new(0)));
        set.0[0].store(key, Ordering::SeqCst);
        set.0[1].store(state_of(key), Ordering::SeqCst);
        Arc::new(set)
    }

    fn pairs(&self) -> PairSet<&Self> {
        PairSet::new(self)
    }
}

impl Words for &Set {
    fn load(self, word: usize) -> u64 {
        self.0[word].load(Ordering::SeqCst)
    }

    fn store(self, word: usize, value: u64) {
        // A swap: loom 0.7 lets a compare-and-swap succeed on a value that another thread's plain store has replaced.
        self.0[word].swap(value, Ordering::SeqCst);
    }

    fn replace(self, word: usize, current: u64, value: u64) -> bool {
        self.0[word].compare_exchange(current, value, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn add(self, word: usize, value: u64) {
        self.0[word].fetch_add(value, Ordering::SeqCst);
    }
}

const OLD: u64 = 5;
const ONE: u64 = 7;
const OTHER: u64 = 9;

/// Tries all interleavings in which a thread is interrupted at most three times: more bring up nothing new, and take minutes.
fn all(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Each key has a state of its own.
const fn state_of(key: u64) -> u64 {
    key * 1_000
}

#[test]
fn a_key_is_never_found_with_the_state_of_another() {
    all(|| {
        let set = Set::with(OLD);
        let writers = [ONE, OTHER].map(|key| {
            let set = Arc::clone(&set);
            thread::spawn(move || set.pairs().publish(0, OLD, key, state_of(key)))
        });
        for key in [OLD, ONE, OTHER] {
            if let Some(state) = set.pairs().get(key) {
                assert_eq!(state, state_of(key), "key {key}");
            }
        }
        let won: Vec<bool> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        // One of two gets the entry, and it is the one that is found afterwards.
        assert_eq!(won.iter().filter(|&&won| won).count(), 1);
        let winner = if won[0] { ONE } else { OTHER };
        assert_eq!(set.pairs().get(winner), Some(state_of(winner)));
        assert_eq!(set.pairs().get(OLD), None);
        assert!((0..PAIR_SET_WORDS / PAIR_WORDS).all(|way| set.pairs().key(way) != TAKEN));
    });
}

#[test]
fn an_update_is_lost_or_whole() {
    all(|| {
        let set = Set::with(OLD);
        let newcomer = {
            let set = Arc::clone(&set);
            thread::spawn(move || set.pairs().publish(0, OLD, ONE, state_of(ONE)))
        };
        // What was learnt of the old entry goes to the old entry, or nowhere: a newcomer's state is never its own and another's.
        let before = state_of(OLD);
        let is_updated = set.pairs().replace_state(0, before, before + 1);
        assert!(newcomer.join().unwrap());
        assert_eq!(set.pairs().get(ONE), Some(state_of(ONE)), "updated: {is_updated}");
    });
}
