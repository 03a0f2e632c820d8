//! Holds traffic to its limits: a service's total, the neighbourhood, the source.
//!
//! First every budget is looked at, widest first, so that a flood of forged sources is stopped by the two budgets that
//! cost it nothing to fill and us one hot cache line each, and never reaches the table of sources. Then, when the packet
//! fits all of them, every budget is charged. A packet that is dropped costs nobody's budget anything.

use crate::{
    abi::{CLASSES, Class, Limits, SERVICE_REGIONS, Service},
    env::{Env, Slots, Table, Words},
    frame::Frame,
    packet::Packet,
    pipeline::{Context, Scratch, Stage},
    rate::{Dimension, Instant},
    stage::service,
    table::{self, Bill, Bucket, BucketOf, Mask, Refusal},
    verdict::{Reason, Scope, Step, drop},
};

/// One budget that a packet must fit.
#[derive(Clone, Copy)]
struct Budget<'a, W> {
    /// Nothing where the bill is empty, and where other CPUs took every slot that it wanted.
    bucket: Option<Bucket<W>>,
    limits: &'a Limits,
    /// The packet's bill in the dimensions that this budget holds.
    bill: Bill,
    scope: Scope,
}

type BudgetOf<'a, E> = Budget<'a, <<E as Env>::Buckets as Slots>::Slot>;

impl<W: Words> Budget<'_, W> {
    #[inline(always)]
    fn check(&self, now: Instant) -> Step {
        if self.bill.mask == 0 {
            return Step::Continue(());
        }
        let Some(bucket) = self.bucket else { return drop(Reason::Contended) };
        match bucket.over(self.bill, self.limits, now) {
            Some(dimension) => self.refuse(bucket, dimension),
            None => Step::Continue(()),
        }
    }

    #[inline(always)]
    fn charge(&self, now: Instant) -> Step {
        if self.bill.mask == 0 {
            return Step::Continue(());
        }
        let Some(bucket) = self.bucket else { return drop(Reason::Contended) };
        match bucket.charge(self.bill, self.limits, now) {
            Ok(()) => Step::Continue(()),
            Err(Refusal::Over(dimension)) => self.refuse(bucket, dimension),
            Err(Refusal::Contended) => drop(Reason::Contended),
        }
    }

    #[inline(always)]
    fn refuse(&self, bucket: Bucket<W>, dimension: Dimension) -> Step {
        if matches!(self.scope, Scope::Source) {
            bucket.count_drop();
        }
        drop(self.scope.reason(dimension))
    }
}

/// Writes down what a packet counts in.
#[inline(always)]
pub fn bill(scratch: &mut Scratch) {
    scratch.bill = Bill::of(&scratch.packet);
}

/// Checks and charges all budgets of a packet. Trusted sources have none.
#[inline(never)]
pub fn charge<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.role.trusted {
        return Step::Continue(());
    }
    let (bill, share, now) = (scratch.bill, scratch.handshake.share, context.now);
    let bill = Bill { mask: bill.mask | share.more, ..bill };
    let class = &context.settings.classes[scratch.role.class as usize & (CLASSES - 1)];
    let service = service::at(context.settings, scratch.role.service);

    let total = total(context, scratch.role.service, scratch.bill.within(share.total));
    total.check(now)?;
    let neighbours = neighbours(frame, context, scratch)?;
    neighbours.check(now)?;
    let towards_service = towards_service(frame, context, class, service, scratch)?;
    towards_service.check(now)?;
    // The source's own budget holds in all other dimensions.
    if share.near != 0 {
        context.env.apart(Stage::SeekSource, frame, context, scratch)?;
    }
    let own = Budget {
        bucket: bucket(context, scratch, Table::Sources),
        limits: &class.limits,
        bill: bill.within(share.near & !towards_service.bill.mask),
        scope: Scope::Source,
    };
    own.check(now)?;

    own.charge(now)?;
    towards_service.charge(now)?;
    neighbours.charge(now)?;
    total.charge(now)?;
    if share.near != 0
        && let Some(bucket) = own.bucket
    {
        bucket.count_packet(bill.bytes);
    }
    Step::Continue(())
}

/// Counts a packet that a later stage drops.
#[inline(never)]
pub fn count_drop<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) {
    // Its budgets were found before.
    if !scratch.role.trusted
        && let Some(bucket) = bucket(context, scratch, Table::Sources)
    {
        bucket.count_drop();
    }
}

/// Finds a packet's bucket in a table.
#[inline(always)]
pub fn seek<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch, table: Table) -> Step {
    let (region, key) = address(context, scratch, table);
    let place = match table {
        Table::Neighbours => &mut scratch.places.neighbours,
        Table::ServiceSources => &mut scratch.places.service,
        _ => &mut scratch.places.source,
    };
    if table::seek(context, table, region, key, place) { Step::Continue(()) } else { drop(Reason::Contended) }
}

/// The bucket that [`seek`] found.
#[inline(always)]
fn bucket<E: Env>(context: &Context<'_, E>, scratch: &Scratch, table: Table) -> Option<BucketOf<E>> {
    let (region, key) = address(context, scratch, table);
    let place = match table {
        Table::Neighbours => &scratch.places.neighbours,
        Table::ServiceSources => &scratch.places.service,
        _ => &scratch.places.source,
    };
    table::bucket(context.env, table, region, key, place)
}

/// Region and key of a packet in a table.
#[inline(always)]
fn address<E: Env>(context: &Context<'_, E>, scratch: &Scratch, table: Table) -> (u32, u64) {
    let Context { settings, .. } = context;
    match table {
        Table::Neighbours => {
            (0, key(&scratch.packet, settings.neighbour_mask_v4, settings.neighbour_mask_v6))
        }
        _ => {
            let service = service::at(settings, scratch.role.service);
            let is_service = matches!(table, Table::ServiceSources);
            let region = if is_service { service.region & (SERVICE_REGIONS as u32 - 1) } else { 0 };
            (region, key(&scratch.packet, settings.source_mask_v4, settings.source_mask_v6))
        }
    }
}

/// What all sources of the service share.
#[inline(always)]
fn total<'a, E: Env>(context: &Context<'a, E>, index: u32, bill: Bill) -> BudgetOf<'a, E> {
    let service = service::at(context.settings, index);
    let bill = bill.within(service.totals);
    let set = if bill.mask == 0 { None } else { context.env.buckets(Table::Totals, index) };
    Budget { bucket: set.map(Bucket::first_of), limits: &service.total, bill, scope: Scope::Total }
}

/// What the neighbourhood shares. Sources of a class are known, and their neighbours are no sign of an attack.
#[inline(always)]
fn neighbours<'a, F: Frame, E: Env>(
    frame: &F,
    context: &Context<'a, E>,
    scratch: &mut Scratch,
) -> Step<BudgetOf<'a, E>> {
    let settings = context.settings;
    let mask = if scratch.role.class == 0 { settings.neighbours_own as Mask } else { 0 };
    let bill = scratch.bill.within(mask & scratch.handshake.share.near);
    let mut found = None;
    if bill.mask != 0 {
        context.env.apart(Stage::SeekNeighbours, frame, context, scratch)?;
        found = bucket(context, scratch, Table::Neighbours);
    }
    Step::Continue(Budget { bucket: found, limits: &settings.neighbours, bill, scope: Scope::Neighbours })
}

/// What the source has towards this service, where the service has limits of its own and the source's class has not.
#[inline(always)]
fn towards_service<'a, F: Frame, E: Env>(
    frame: &F,
    context: &Context<'a, E>,
    class: &Class,
    service: &'a Service,
    scratch: &mut Scratch,
) -> Step<BudgetOf<'a, E>> {
    let share = scratch.handshake.share;
    let bill = Bill { mask: scratch.bill.mask | share.more, ..scratch.bill };
    let bill = bill.within(share.near & service_mask(class, service));
    let mut found = None;
    if bill.mask != 0 {
        context.env.apart(Stage::SeekService, frame, context, scratch)?;
        found = bucket(context, scratch, Table::ServiceSources);
    }
    Step::Continue(Budget { bucket: found, limits: &service.limits, bill, scope: Scope::Source })
}

/// The dimensions in which a service's limits hold for sources of a class.
#[inline(always)]
const fn service_mask(class: &Class, service: &Service) -> Mask {
    service.own & !(class.own as Mask)
}

/// What precedes an IPv4 address in a key. As an IPv6 prefix it lies in ::/16, which the sanity stage lets nobody use.
pub const KEY_V4: u64 = 1 << 32;
/// The key of the unspecified IPv6 address, since 0 marks an empty slot.
pub const KEY_UNSPECIFIED: u64 = 2 << 32;

/// The exact source, or neighbourhood, of a packet.
#[inline(always)]
pub(crate) const fn key(packet: &Packet, mask_v4: u64, mask_v6: u64) -> u64 {
    if !packet.ipv6 {
        return KEY_V4 | (packet.source.as_v4() as u64 & mask_v4);
    }
    match packet.source.high & mask_v6 {
        0 => KEY_UNSPECIFIED,
        key => key,
    }
}
