//! Drops of one source that a CPU has counted for itself.
//!
//! A packet that its source's bucket refuses changes nothing in the source's slot but the count of drops. If each were counted
//! there, the slot's cache line would go to and fro between the CPUs that drop packets of the source. So a CPU whose clock is
//! late, which has much to do, counts the drops of one source here, and adds them to the slot in bulk. Those of other sources
//! it counts in their slots.
//!
//! Nor need it look at the bucket for each. A debt only grows while the clock stands still, so what a bucket refused it
//! refuses again: until the clock is read, SYNs, datagrams or ICMP messages of the same source to the same service as the last that was
//! refused are refused for the same reason.

use core::mem;

use super::{Bucket, Mask, OF_KINDS, Place, bit, find_in};
use crate::{
    abi::Settings,
    env::{Env, Table},
    packet::Address,
    pipeline::{Context, Scratch},
    rate::{Dimension, Reading},
    verdict::Step,
};

/// The dimensions in which a packet that is refused tells of all of its kind.
const OF_ALL_PACKETS: Mask = OF_KINDS | bit(Dimension::Packets);
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
    last: Refusal,
}

/// A packet that the source's bucket refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refusal {
    source: Address,
    service: u32,
    protocol: u8,
    tcp_flags: u8,
    /// By which reading.
    clock: Reading,
    /// By which policy: [`Settings::generation`]; 0: no packet.
    policy: u64,
    dimensions: Mask,
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
            (self.key, self.set, self.table) = (key, place.set, table);
            self.last.policy = 0;
        }
        self.count += 1;
        if self.count < BULK { 0 } else { mem::take(&mut self.count) }
    }

    /// Keeps in mind what was refused and in which dimensions, where every packet of its kind is.
    #[inline(always)]
    pub fn remember(settings: &Settings, scratch: &mut Scratch, refusal: Mask) {
        let Scratch { packet, role, bill, clock, drops, .. } = scratch;
        // Others may have fewer bytes, other QUIC packets open nothing, and other ACKs belong to a connection.
        let dimensions = refusal & OF_ALL_PACKETS;
        if dimensions != 0 && bill.mask & OF_KINDS != 0 {
            drops.last = Refusal {
                source: packet.source,
                service: role.service,
                protocol: packet.protocol,
                tcp_flags: packet.tcp_flags,
                clock: *clock,
                policy: settings.generation,
                dimensions,
            };
        }
    }

    /// In which dimensions a packet is refused because it is like the last that was; none where it is not.
    #[inline(always)]
    pub fn repeat(settings: &Settings, scratch: &Scratch) -> Mask {
        let Scratch { packet, role, clock, drops: Self { last, .. }, .. } = scratch;
        // Mostly there is none by this reading; the rest is one branch, for the verifier.
        if clock.latest != last.clock.latest {
            return 0;
        }
        let other = packet.source.low ^ last.source.low
            | packet.source.high ^ last.source.high
            | clock.late ^ last.clock.late
            | settings.generation ^ last.policy
            | u64::from(role.service ^ last.service)
            | u64::from(packet.protocol ^ last.protocol)
            | u64::from(packet.tcp_flags ^ last.tcp_flags)
            | u64::from(role.trusted);
        if other == 0 { last.dimensions } else { 0 }
    }

    /// Counts one more drop of the same source; whether all are to be added to its slot now.
    #[inline(always)]
    pub fn count_one(&mut self) -> bool {
        self.count += 1;
        self.count >= BULK
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
