//! Drops of one source that a CPU has counted for itself.
//!
//! A packet that its source's bucket refuses, or a ban, changes nothing there but a count of drops. If each were counted
//! there, the cache line would go to and fro between the CPUs that drop packets of the source. So a CPU whose clock is
//! late, which has much to do, counts the drops of one source here, and adds them in bulk. Those of other sources it counts
//! where they belong.

use core::mem;

use super::{Bucket, Place, place::find_in};
use crate::{
    ban,
    drop_cache::DropCache,
    env::{Env, Table},
    pipeline::Context,
    rate::Reading,
    verdict::Step,
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
pub struct DropCounter {
    key: u64,
    set: u32,
    /// A [`Ledger`], by its number.
    ledger: u32,
    count: u32,
}

impl DropCounter {
    /// Counts a drop of a source; answers how many of its drops are to be added to the ledger now. Where it begins to count
    /// for this source, the cache drops no more frames of the one before.
    #[inline(always)]
    pub fn count(
        &mut self,
        cache: &mut DropCache,
        clock: Reading,
        ledger: Ledger,
        place: &Place,
        key: u64,
    ) -> u32 {
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
            cache.forget_counted();
        }
        self.count += 1;
        if self.count < BULK { 0 } else { mem::take(&mut self.count) }
    }

    /// Counts another drop of the same source, or none with a weight of 0; false where that would fill the bulk, which is then added
    /// to the ledger by [`Self::count`].
    #[inline(always)]
    pub const fn count_again(&mut self, weight: u32) -> bool {
        let has_room = self.count + weight < BULK;
        if has_room {
            self.count += weight;
        }
        has_room
    }

    /// Whether they are to be added to the ledger before the next packet is judged: with the first reading that is not late, at
    /// the latest that of the next tick.
    #[inline(always)]
    pub const fn is_due(&self, clock: Reading) -> bool {
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
