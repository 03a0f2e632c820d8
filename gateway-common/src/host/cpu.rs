//! What a CPU has for itself.

use std::sync::atomic::AtomicU64;

use crate::{
    abi::{DROP_REST_WORDS, DROP_SET_WORDS},
    env::{Context, DropSets, Env},
    stage::{drop_cache, packet_state::PacketState},
};

use super::{HostEnv, Words};

/// Words of a set of the drop cache.
const SET_WORDS: usize = DROP_SET_WORDS + DROP_REST_WORDS;

/// A CPU that judges one frame after the other.
#[derive(Debug, Default)]
pub struct Cpu {
    /// What it knows of the last frame.
    pub state: PacketState,
    pub(super) drops: Vec<AtomicU64>,
}

impl Cpu {
    /// One with a drop cache, as CPUs of the kernel are. The default has none, and judges each frame by itself.
    #[must_use]
    pub fn with_drop_cache(env: &HostEnv) -> Self {
        let words = env.stand.sets.drops as usize * SET_WORDS;
        Self { drops: std::iter::repeat_with(AtomicU64::default).take(words).collect(), ..Self::default() }
    }

    /// Tells all drops that it has counted itself.
    pub fn settle(&mut self, env: &HostEnv) {
        let Self { state, drops } = self;
        let drops = Drops(drops);
        let active = env.active();
        let Some(settings) = env.settings(active) else { return };
        let context = Context { env: &env, settings, active, now: env.time(), drops };
        while state.cpu.drops.has_to_tell() {
            let _ = drop_cache::settle(&&[][..], &context, state);
        }
    }
}

impl From<PacketState> for Cpu {
    /// One without a drop cache, with the state that another has left.
    fn from(state: PacketState) -> Self {
        Self { state, ..Self::default() }
    }
}

/// The drop cache of a CPU, or none: what look-ups read of all sets, then the rest of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drops<'a>(pub(super) &'a [AtomicU64]);

impl<'a> DropSets for Drops<'a> {
    type Set = Words<'a>;
    type Rest = Words<'a>;

    fn index(self, number: u32) -> u32 {
        number
    }

    fn set(self, index: u32) -> Option<Self::Set> {
        let start = index as usize * DROP_SET_WORDS;
        self.0.get(start..start + DROP_SET_WORDS).map(Words::new)
    }

    fn rest(self, index: u32) -> Option<Self::Rest> {
        let start = self.0.len() / SET_WORDS * DROP_SET_WORDS + index as usize * DROP_REST_WORDS;
        self.0.get(start..start + DROP_REST_WORDS).map(Words::new)
    }
}
