//! Holds traffic to its limits: a service's total, the neighbourhood, the source.
//!
//! First every budget is looked at, widest first, so that a flood of forged sources is stopped by the two budgets that
//! cost it nothing to fill and us one hot cache line each, and never reaches the table of sources. Then, when the packet
//! fits all of them, every budget is charged. A packet that is dropped costs nobody's budget anything.

use crate::{
    abi::{CLASSES, Class, Limits, SERVICE_REGIONS, Service},
    env::{Env, Slots, Table, Words},
    packet::Packet,
    pipeline::{Context, Role, Scratch},
    rate::{Dimension, Instant},
    stage::service,
    table::{self, Bill, Bucket, BucketOf, Mask, Place, Refusal},
    verdict::{Reason, Scope, Step, drop},
};

/// The bucket that a packet's source has, for what later stages count.
pub type Source<E> = Option<BucketOf<E>>;

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
#[inline(never)]
pub fn bill(scratch: &mut Scratch) {
    scratch.bill = Bill::of(&scratch.packet);
}

/// Checks and charges all budgets of a packet, and leaves its source's bucket. Trusted sources have none.
#[inline(never)]
pub fn charge<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch, source: &mut Source<E>) -> Step {
    let Scratch { packet, role, bill, places } = scratch;
    if role.trusted {
        return Step::Continue(());
    }
    let (bill, now) = (*bill, context.now);
    let class = &context.settings.classes[role.class as usize & (CLASSES - 1)];
    let service = service::at(context.settings, role.service);

    let total = total(context, role.service, bill);
    total.check(now)?;
    let neighbours = neighbours(context, packet, role, bill, &mut places.neighbours);
    neighbours.check(now)?;
    let key = source_key(context, packet);
    let towards = bill.within(service_mask(class, service));
    let towards_service = towards_service(context, key, service, towards, &mut places.service);
    towards_service.check(now)?;
    // The source's own budget holds in all other dimensions.
    let own = Budget {
        bucket: table::bucket(context, Table::Sources, 0, key, &mut places.source),
        limits: &class.limits,
        bill: bill.within(!towards.mask),
        scope: Scope::Source,
    };
    own.check(now)?;

    own.charge(now)?;
    towards_service.charge(now)?;
    neighbours.charge(now)?;
    total.charge(now)?;
    if let Some(bucket) = own.bucket {
        bucket.count_packet(bill.bytes);
    }
    *source = own.bucket;
    Step::Continue(())
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
fn neighbours<'a, E: Env>(
    context: &Context<'a, E>,
    packet: &Packet,
    role: &Role,
    bill: Bill,
    place: &mut Place,
) -> BudgetOf<'a, E> {
    let settings = context.settings;
    let bill = bill.within(if role.class == 0 { settings.neighbours_own as Mask } else { 0 });
    let bucket = if bill.mask == 0 {
        None
    } else {
        let key = key(packet, settings.neighbour_mask_v4, settings.neighbour_mask_v6);
        table::bucket(context, Table::Neighbours, 0, key, place)
    };
    Budget { bucket, limits: &settings.neighbours, bill, scope: Scope::Neighbours }
}

/// What the source has towards this service, where the service has limits of its own and the source's class has not.
#[inline(always)]
fn towards_service<'a, E: Env>(
    context: &Context<'a, E>,
    key: u64,
    service: &'a Service,
    bill: Bill,
    place: &mut Place,
) -> BudgetOf<'a, E> {
    let bucket = if bill.mask == 0 {
        None
    } else {
        let region = service.region & (SERVICE_REGIONS as u32 - 1);
        table::bucket(context, Table::ServiceSources, region, key, place)
    };
    Budget { bucket, limits: &service.limits, bill, scope: Scope::Source }
}

/// The dimensions in which a service's limits hold for sources of a class.
#[inline(always)]
const fn service_mask(class: &Class, service: &Service) -> Mask {
    service.own & !(class.own as Mask)
}

#[inline(always)]
fn source_key<E: Env>(context: &Context<'_, E>, packet: &Packet) -> u64 {
    key(packet, context.settings.source_mask_v4, context.settings.source_mask_v6)
}

/// What precedes an IPv4 address in a key. As an IPv6 prefix it lies in ::/16, which the sanity stage lets nobody use.
pub const KEY_V4: u64 = 1 << 32;
/// The key of the unspecified IPv6 address, since 0 marks an empty slot.
pub const KEY_UNSPECIFIED: u64 = 2 << 32;

/// The exact source, or neighbourhood, of a packet.
#[inline(always)]
const fn key(packet: &Packet, mask_v4: u64, mask_v6: u64) -> u64 {
    if !packet.ipv6 {
        return KEY_V4 | (packet.source.as_v4() as u64 & mask_v4);
    }
    match packet.source.high & mask_v6 {
        0 => KEY_UNSPECIFIED,
        key => key,
    }
}
