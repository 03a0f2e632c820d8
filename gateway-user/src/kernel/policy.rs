//! Switching policies: each packet sees one of them whole.
//!
//! There are two places for a policy (settings and prefix sets), and one word that says which holds. A new policy is
//! written to the place that does not hold; then the word is switched; then all packets that still read the old place are
//! waited for: the kernel does that after every change of a map of maps (`maybe_wait_bpf_programs`, commit 2f1aaf3ea666).
//! Only then is the old place free for the next policy, and its prefixes are let go.
//!
//! The switch holds for every packet that comes after it, and takes no time; the wait takes some 20 ms in a flood. So they are
//! two steps, and who switches may answer between them: [`Kernel::switch`], then [`Kernel::settle`].
//!
//! Between changes both places have the same prefix sets, so that a policy whose prefixes did not change waits once.

use std::sync::Arc;

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, LpmTrie, MapData, lpm_trie::Key},
};
use gateway_common::abi::{Active, Listing, Live, Settings};
use ipnet::IpNet;
use zerocopy::FromZeros as _;

use super::{
    Kernel, KernelError,
    chunks::{ChunkPlaces, ChunkSet},
    error::on,
    live::{Before, LiveEntries},
    take::take,
    value::Value,
};
use crate::{policy::PolicySet, prefixes::Prefixes};

/// BPF_F_NO_PREALLOC, without which the kernel makes no trie.
const NO_PREALLOC: u32 = 1;

type Trie = LpmTrie<MapData, [u8; 16], Value<Listing>>;

/// The maps of policies and live entries.
pub(super) struct PolicyMaps {
    active: Array<MapData, u64>,
    settings: Array<MapData, Value<[Settings; 2]>>,
    prefixes_v4: ChunkPlaces,
    prefixes_v6: ArrayOfMaps<MapData, Trie>,
    live_v4: LiveEntries<4>,
    live_v6: LiveEntries<16>,
    /// The bits of the active word that say what there is to look up.
    pub(super) flags: u64,
    /// What both places have; nothing before the first policy.
    prefixes: Option<Arc<Prefixes<Listing>>>,
    /// The IPv6 set of both.
    standing_v6: Option<Trie>,
    /// A switch whose old place is not free yet.
    unsettled: Option<Unsettled>,
}

/// What is left to do after a switch.
struct Unsettled {
    old: u32,
    /// Sets that are new.
    v4: Option<ChunkSet>,
    v6: Option<Trie>,
    prefixes: Arc<Prefixes<Listing>>,
}

impl PolicyMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            active: take(ebpf, ".bss.active")?,
            settings: take(ebpf, ".bss.settings")?,
            prefixes_v4: ChunkPlaces::take(ebpf, "PREFIXES_V4")?,
            prefixes_v6: take(ebpf, "PREFIXES_V6")?,
            live_v4: LiveEntries::take(ebpf, "live_v4")?,
            live_v6: LiveEntries::take(ebpf, "live_v6")?,
            flags: 0,
            prefixes: None,
            standing_v6: None,
            unsettled: None,
        })
    }

    /// Puts sets that are new into a place.
    fn place(&mut self, place: u32, v4: Option<&ChunkSet>, v6: Option<&Trie>) -> Result<(), KernelError> {
        v4.map_or(Ok(()), |set| self.prefixes_v4.set(place, set))?;
        v6.map_or(Ok(()), |set| self.prefixes_v6.set(place, set, 0).map_err(on("PREFIXES_V6")))
    }
}

impl Kernel {
    /// Switches to a policy as one change. On return no packet is judged by the old one any more.
    ///
    /// # Errors
    /// When a map cannot be made or written; where that was before the switch, the old policy holds on.
    pub fn apply(&mut self, policy: &PolicySet) -> Result<(), KernelError> {
        self.switch(policy)?;
        self.settle()
    }

    /// Switches to a policy as one change. The packets that come from now on are judged by it; those under way, for as long as
    /// the program takes for one, may be judged by the old.
    ///
    /// # Errors
    /// When a map cannot be made or written; then the old policy holds on.
    pub fn switch(&mut self, policy: &PolicySet) -> Result<(), KernelError> {
        self.settle()?;
        let maps = &mut self.policy;
        let word = maps.active.get(&0, 0)?;
        let (old, new) = (Active(word).slot(), Active(word).slot() ^ 1);
        // Not held any more until all is done: after an error the places may differ.
        let held = maps.prefixes.take();
        let held = held.as_deref();
        let v4 = changed(held.map(|held| &held.v4), &policy.prefixes.v4, ChunkSet::of)?;
        let v6 = changed(held.map(|held| &held.v6), &policy.prefixes.v6, trie)?;
        maps.place(new, v4.as_ref(), v6.as_ref())?;
        // Both places are one value: the one that holds is written over with what it has.
        let mut places = <[Settings; 2]>::new_box_zeroed().expect("memory for two policies");
        places[new as usize].clone_from(&policy.settings);
        if let Some(held) = &self.settings {
            places[old as usize].clone_from(held);
        }
        maps.settings.set(0, Value::of(&*places), 0).map_err(on("settings"))?;
        maps.active.set(0, Active(word ^ 1).changed().0, 0).map_err(on("active"))?;
        maps.unsettled = Some(Unsettled { old, v4, v6, prefixes: Arc::clone(&policy.prefixes) });
        self.settings = Some(policy.settings.clone());
        Ok(())
    }

    /// Whether a switch waits to be settled.
    pub const fn is_unsettled(&self) -> bool {
        self.policy.unsettled.is_some()
    }

    /// Waits until no packet is judged by the policy before the last switch, and frees its place; nothing where that is done.
    ///
    /// # Errors
    /// When a map cannot be written; the next switch makes good for it.
    pub fn settle(&mut self) -> Result<(), KernelError> {
        let maps = &mut self.policy;
        let Some(Unsettled { old, v4, v6, prefixes }) = maps.unsettled.take() else { return Ok(()) };
        let new_v6 = v6.as_ref().or(maps.standing_v6.as_ref());
        // By a change that changes nothing. The kernel would tell what stands there too, but to CAP_SYS_ADMIN alone
        // (BPF_MAP_GET_FD_BY_ID).
        new_v6.map_or(Ok(()), |set| maps.prefixes_v6.set(old ^ 1, set, 0)).map_err(on("PREFIXES_V6"))?;
        maps.place(old, v4.as_ref(), v6.as_ref())?;
        maps.standing_v6 = v6.or(maps.standing_v6.take());
        maps.prefixes = Some(prefixes);
        Ok(())
    }

    /// The settings in force.
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_deref()
    }

    /// Makes the live entries what they are to be: entry by entry, what is not named any more goes last. Counts of entries
    /// that stay go on.
    ///
    /// # Errors
    /// When a map cannot be written: the entries are what they were.
    pub fn set_live(&mut self, live: &Prefixes<Live>) -> Result<(), KernelError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let changed = self.change_live(live, &mut v4, &mut v6);
        if changed.is_err() {
            let maps = &mut self.policy;
            let back = maps.live_v4.put_back(v4).and_then(|()| maps.live_v6.put_back(v6));
            // What the kernel has is known, and the next change makes good for it.
            let told = |error| log::error!("cannot put back what bans and trusted prefixes were: {error}");
            back.unwrap_or_else(told);
        }
        changed
    }

    fn change_live(
        &mut self,
        live: &Prefixes<Live>,
        v4: &mut Before<4>,
        v6: &mut Before<16>,
    ) -> Result<(), KernelError> {
        self.policy.live_v4.update(&live.v4, v4)?;
        self.policy.live_v6.update(&live.v6, v6)?;
        let flag = |empty: bool, flag: u64| if empty { 0 } else { flag };
        let flags = flag(live.v4.is_empty(), Active::LIVE_V4) | flag(live.v6.is_empty(), Active::LIVE_V6);
        self.set_flags(Active::LIVE_V4 | Active::LIVE_V6, flags)
    }

    /// Packets that the ban of a prefix has dropped, if there is a live entry for it.
    pub fn live_drops(&self, network: IpNet) -> Option<u64> {
        let length = network.prefix_len();
        match network {
            IpNet::V4(net) => self.policy.live_v4.drops(net.addr().octets(), length),
            IpNet::V6(net) => self.policy.live_v6.drops(net.addr().octets(), length),
        }
    }

    /// Sets the flags of the active word that are in `mask`, and has drop caches forget what was refused before.
    pub(super) fn set_flags(&mut self, mask: u64, flags: u64) -> Result<(), KernelError> {
        let maps = &mut self.policy;
        let word = Active(maps.active.get(&0, 0)? & !mask | flags).changed().0;
        maps.active.set(0, word, 0).map_err(on("active"))?;
        maps.flags = word;
        Ok(())
    }
}

/// A new set where the prefixes are not those held. Mostly they are the very same, and not looked through.
fn changed<E: PartialEq, S>(
    held: Option<&Vec<E>>,
    entries: &Vec<E>,
    make: impl Fn(&[E]) -> Result<S, KernelError>,
) -> Result<Option<S>, KernelError> {
    let is_held = held.is_some_and(|held| std::ptr::eq(held, entries) || held == entries);
    if is_held { Ok(None) } else { make(entries).map(Some) }
}

fn trie(entries: &[([u8; 16], u8, Listing)]) -> Result<Trie, KernelError> {
    let mut trie =
        Trie::create(entries.len().max(1) as u32, NO_PREALLOC).map_err(on("set of PREFIXES_V6"))?;
    for &(address, length, listing) in entries {
        trie.insert(&Key::new(u32::from(length), address), Value(listing), 0)?;
    }
    Ok(trie)
}
