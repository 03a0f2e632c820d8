//! Drops of one source that a CPU has counted for itself.
//!
//! A packet that its source's bucket refuses, or a ban, changes nothing there but a count of drops. If each were counted
//! there, the cache line would go to and fro between the CPUs that drop packets of the source. So a CPU whose clock is
//! late, which has much to do, counts the drops of one source here, and adds them in bulk. Those of other sources it counts
//! where they belong.
//!
//! Nor need it judge each. A debt only grows while the clock stands still, so what a bucket refused it refuses again, and who is
//! on a list stays there: until the clock is read, frames like the first that was dropped so are dropped for the same reason,
//! before they are parsed.

use core::mem;

use super::{Bucket, Place, place::find_in};
use crate::{
    abi::Settings,
    ban,
    env::{Env, Table},
    frame::Frame,
    image::{Extent, Image},
    pipeline::{Context, Scratch, Stage},
    rate::Reading,
    stage::essential,
    verdict::{Reason, Step, drop},
};

/// With so many they are added to what the source has.
pub const BULK: u32 = 64;

/// Where drops of a source are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ledger {
    /// Its slot in [`Table::Sources`].
    Source,
    /// Its slot in [`Table::ServiceSources`].
    SourceOfService,
    /// Its ban.
    Ban,
}

/// What is not yet where it belongs. It outlives the packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drops {
    key: u64,
    set: u32,
    /// A [`Ledger`], by its number.
    ledger: u32,
    count: u32,
    last: Last,
}

/// A frame whose like are all dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    image: Image,
    extent: Extent,
    /// By which reading.
    clock: Reading,
    /// By which policy: [`Settings::generation`]; 0: none are.
    policy: u64,
    service: u32,
    /// How many drops of the source one of them counts as: 1 or 0.
    weight: u32,
    reason: Reason,
}

impl Drops {
    /// Counts a drop of a source; answers how many of its drops are to be added to the ledger now.
    #[inline(always)]
    pub fn count(&mut self, clock: Reading, ledger: Ledger, place: &Place, key: u64) -> u32 {
        if clock.late == 0 {
            return 1;
        }
        let ledger = ledger as u32;
        // One branch, for the verifier.
        let other = u64::from((self.set ^ place.set) | (self.ledger ^ ledger)) | (self.key ^ key);
        if other != 0 {
            if self.count != 0 {
                return 1;
            }
            (self.key, self.set, self.ledger) = (key, place.set, ledger);
            if self.last.weight != 0 {
                (self.last.policy, self.last.clock.late) = (0, 0);
            }
        }
        self.count += 1;
        if self.count < BULK { 0 } else { mem::take(&mut self.count) }
    }

    /// Has a frame kept in mind, the first by its reading, whose like are all dropped for this reason. `weight`: 1 where
    /// [`Self::count`] has counted the drop here, 0 where it is to be counted nowhere.
    #[inline(always)]
    pub fn remember<F: Frame, E: Env>(
        frame: &F,
        context: &Context<'_, E>,
        scratch: &mut Scratch,
        extent: Extent,
        weight: u32,
        reason: Reason,
    ) {
        let Scratch { clock, drops: Self { last, .. }, .. } = scratch;
        if clock.late == 0 || *clock == last.clock {
            return;
        }
        (last.extent, last.weight, last.reason, last.clock, last.policy) =
            (extent, weight, reason, *clock, 0);
        let _ = context.env.apart(Stage::Learn, frame, context, scratch);
    }

    /// Completes what is kept in mind of a frame.
    #[inline(always)]
    pub fn learn<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        let Scratch { network, packet, role, drops: Self { last, .. }, .. } = scratch;
        // What must come through may look like what need not.
        if last.extent == Extent::Kind && essential::concerns(packet) {
            return Step::Continue(());
        }
        if let Some(image) = Image::of(frame, network, packet, last.extent) {
            last.image = image;
            last.service = role.service;
            last.policy = context.settings.generation;
        }
        Step::Continue(())
    }

    /// Drops a frame that is like the one in mind.
    #[inline(always)]
    pub fn repeat<F: Frame>(frame: &F, length: u32, settings: &Settings, scratch: &mut Scratch) -> Step {
        let Scratch { clock, role, drops: Self { last, count, .. }, .. } = scratch;
        // Mostly there is none by this reading.
        if clock.latest != last.clock.latest {
            return Step::Continue(());
        }
        let other = (clock.late ^ last.clock.late) | (settings.generation ^ last.policy);
        // The one that makes the bulk full goes the long way, at whose end that is added to the ledger.
        if (other | last.image.difference(frame, length)) != 0 || *count + last.weight >= BULK {
            return Step::Continue(());
        }
        *count += last.weight;
        role.service = last.service;
        drop(last.reason)
    }

    /// Whether they are to be added to the ledger before the next packet is judged: with the first reading that is not late, at
    /// the latest that of the next tick.
    #[inline(always)]
    pub const fn are_due(&self, clock: Reading) -> bool {
        clock.late == 0 && self.count != 0
    }

    /// Adds them to the ledger. If the source is there no more, they are forgotten with what else was counted there.
    #[inline(always)]
    pub fn settle<E: Env>(&mut self, context: &Context<'_, E>) -> Step {
        let count = mem::take(&mut self.count);
        if self.ledger == Ledger::Ban as u32 {
            ban::count(context.env, self.set, self.key, count);
            return Step::Continue(());
        }
        let is_of_service = self.ledger == Ledger::SourceOfService as u32;
        let table = if is_of_service { Table::ServiceSources } else { Table::Sources };
        let mut place = Place::default();
        if let Some(set) = context.env.buckets(table, self.set)
            && find_in(set, self.key, &mut place)
        {
            Bucket::in_set(set, &place).count_drops(count);
        }
        Step::Continue(())
    }
}
