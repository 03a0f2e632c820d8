//! The set-up before the first packet.

use std::collections::HashSet;

use crate::{
    abi::{Active, Holder, Listing, OwnPorts, Settings, Tunnel, mode},
    hash::Key,
    limit::rate::Instant,
};
use zerocopy::FromZeros as _;

use super::{LiveEntry, Prefixes, Sets};

/// One policy, live entries, and the shape of the tables.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The policy but for its prefixes. [`Settings::flags`] must say which prefix sets have entries.
    pub settings: Box<Settings>,
    /// The policy's prefixes.
    pub listings: Prefixes<Listing>,
    /// Live entries.
    pub live: Prefixes<LiveEntry>,
    /// Banned sources, as keys of [`crate::state::bans`], and until when. Later ones are [`super::HostEnv::ban`]'s.
    pub bans: Vec<(u64, Instant)>,
    /// Sources and neighbourhoods at their limit of connections.
    pub holders: HashSet<Holder>,
    /// Services at their limit of connections, by index.
    pub full: HashSet<u8>,
    /// Until when both are.
    pub held_until: Instant,
    /// Local ports that may have traffic of the host's own.
    pub own_ports: Box<OwnPorts>,
    /// Tunnels' peers.
    pub tunnels: HashSet<Tunnel>,
    /// The key of the tables.
    pub key: Key,
    /// Sizes of the tables.
    pub sets: Sets,
}

impl Stand {
    /// The first policy, in enforce mode, that limits nothing: sources are /32 and /64, neighbourhoods /24 and /48.
    #[must_use]
    pub fn new() -> Self {
        let mut settings = zeroed_settings();
        settings.generation = 1;
        settings.mode = mode::ENFORCE;
        settings.source_mask_v4 = 0xffff_ffff;
        settings.source_mask_v6 = u64::MAX;
        settings.neighbour_mask_v4 = 0xffff_ff00;
        settings.neighbour_mask_v6 = u64::MAX << 16;
        Self {
            settings,
            listings: Prefixes::default(),
            live: Prefixes::default(),
            bans: Vec::new(),
            holders: HashSet::new(),
            full: HashSet::new(),
            held_until: 0,
            own_ports: Box::new(OwnPorts::NONE),
            tunnels: HashSet::new(),
            key: Key::default(),
            sets: Sets::default(),
        }
    }

    /// The word that switches to this policy, without the bits for [`Self::bans`].
    #[must_use]
    pub fn active(&self) -> Active {
        // Every policy is a change.
        let mut word = u64::from((self.settings.generation as u32).wrapping_mul(Active::CHANGE));
        if self.live.has_v4() {
            word |= Active::LIVE_V4;
        }
        if self.live.has_v6() {
            word |= Active::LIVE_V6;
        }
        Active(word)
    }
}

impl Default for Stand {
    fn default() -> Self {
        Self::new()
    }
}

/// All-zero settings, made on the heap: they are too large for a stack.
///
/// # Panics
/// Where there is no memory for them.
#[must_use]
pub fn zeroed_settings() -> Box<Settings> {
    Settings::new_box_zeroed().expect("memory for one policy")
}
