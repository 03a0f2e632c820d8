//! Drops of one source that a CPU has counted for itself.
//!
//! A packet that its source's bucket refuses changes nothing in the source's slot but the count of drops. If each were counted
//! there, the slot's cache line would go to and fro between the CPUs that drop packets of the source. So a CPU whose clock is
//! late, which has much to do, counts the drops of one source here, and adds them to the slot in bulk. Those of other sources
//! it counts in their slots.

use core::mem;

use super::{Bucket, Place, find_in};
use crate::{
    env::{Env, Table},
    pipeline::Context,
    rate::Reading,
    verdict::Step,
};

/// With so many they are added to the slot.
pub const BULK: u32 = 64;

/// What is not yet in the slot. It outlives the packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drops {
    key: u64,
    set: u32,
    /// [`Table::Sources`] or [`Table::ServiceSources`], by its number.
    table: u32,
    count: u32,
}

impl Drops {
    /// Counts a drop of a source; answers how many of its drops are to be added to its slot now.
    #[inline(always)]
    pub fn count(&mut self, clock: Reading, table: Table, place: &Place, key: u64) -> u32 {
        if clock.late == 0 {
            return 1;
        }
        let table = table as u32;
        // One branch, for the verifier.
        let other = u64::from((self.set ^ place.set) | (self.table ^ table)) | (self.key ^ key);
        if other != 0 {
            if self.count != 0 {
                return 1;
            }
            *self = Self { key, set: place.set, table, count: 0 };
        }
        self.count += 1;
        if self.count < BULK { 0 } else { mem::take(&mut self.count) }
    }

    /// Whether they are to be added to the slot before the next packet is judged: with the first reading that is not late, at
    /// the latest that of the next tick.
    #[inline(always)]
    pub const fn are_due(&self, clock: Reading) -> bool {
        clock.late == 0 && self.count != 0
    }

    /// Adds them to the slot. If the source has none any more, they are forgotten with what else was counted there.
    #[inline(always)]
    pub fn settle<E: Env>(&mut self, context: &Context<'_, E>) -> Step {
        let count = mem::take(&mut self.count);
        let is_of_service = self.table == Table::ServiceSources as u32;
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
