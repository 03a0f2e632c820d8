//! Holds traffic to its limits: a service's total, the neighbourhood, the source.
//!
//! First every budget is looked at, widest first, so that a flood of forged sources is stopped by the two budgets that
//! cost it nothing to fill and us one hot cache line each, and never reaches the table of sources. Then, when the packet
//! fits all of them, every budget is charged. A packet that is dropped costs nobody's budget anything.

use core::ops::ControlFlow;

use crate::{
    abi::{ALL, Class, Limits, STRANGERS, Settings},
    clients,
    drop_cache::{self, Entry, Ledger},
    env::{Env, Table},
    finer::is_finer,
    frame::Frame,
    pipeline::{Context, Scratch, Stage},
    source_key,
    stage::{essential, own, reflection, service},
    table::{self, Bill, Bucket, BucketOf, Mask},
    verdict::{Reason, Scope, Step, drop},
};

/// Who shares a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Whose {
    /// All sources of a service.
    Service,
    /// The neighbourhood. Sources of a class are known, and their neighbours are no sign of an attack.
    Neighbourhood,
    /// The source towards this service, where the service has limits of its own and the source's class has not.
    SourceOfService,
    /// The source, in all other dimensions.
    #[default]
    Source,
}

/// A refusal that may be cached: by a list, or by whose budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    whose: Whose,
    /// In which dimensions; 0: there is no such refusal.
    mask: Mask,
}

impl Refused {
    /// No refusal.
    pub const NONE: Self = Self { reason: Reason::Ok, whose: Whose::Source, mask: 0 };

    /// By a list or a ban.
    #[inline(always)]
    pub const fn listed(reason: Reason) -> Self {
        Self { reason, mask: Mask::MAX, ..Self::NONE }
    }

    /// Whether there is one.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.mask != 0
    }

    /// Whether it is by a list or a ban.
    #[inline(always)]
    pub const fn is_listed(&self) -> bool {
        self.mask == Mask::MAX
    }
}

impl Whose {
    const fn scope(self) -> Scope {
        match self {
            Self::Service => Scope::Total,
            Self::Neighbourhood => Scope::Neighbours,
            Self::SourceOfService | Self::Source => Scope::Source,
        }
    }

    /// Which hash table has the bucket, and which stage makes it there.
    const fn table(self) -> Option<(Table, Stage)> {
        match self {
            Self::Service => None,
            Self::Neighbourhood => Some((Table::Neighbours, Stage::SeekNeighbours)),
            Self::SourceOfService => Some((Table::ServiceSources, Stage::SeekService)),
            Self::Source => Some((Table::Sources, Stage::SeekSource)),
        }
    }

    /// What the packet counts in, by [`owe`].
    #[inline(always)]
    const fn bill(self, scratch: &Scratch) -> Bill {
        let Scratch { bill, dues, .. } = scratch;
        let mask = match self {
            Self::Service => dues.service,
            // Said again for the verifier, which then has no way to go where there are none.
            Self::Neighbourhood => dues.neighbourhood & table::OF_SOURCES,
            Self::SourceOfService => dues.source_of_service,
            Self::Source => dues.source & table::OF_SOURCES,
        };
        Bill { mask, ..*bill }
    }

    #[inline(always)]
    fn limits<'a, E: Env>(self, context: &Context<'a, E>, scratch: &Scratch) -> &'a Limits {
        let service = service::at(context.settings, scratch.role.service);
        match self {
            Self::Service => &service.total[scratch.role.held_as as usize & 1],
            Self::Neighbourhood => &context.settings.neighbours,
            Self::SourceOfService => &service.limits,
            Self::Source => &class(context, scratch).limits,
        }
    }

    /// The bucket, which was found before.
    #[inline(always)]
    fn bucket<E: Env>(self, context: &Context<'_, E>, scratch: &Scratch) -> Option<BucketOf<E>> {
        match self.table() {
            None => context.env.buckets(Table::Totals, scratch.role.service).map(Bucket::first_of),
            Some((table, _)) => table::bucket(context.env, table, scratch.places.of(table)),
        }
    }

    /// Finds the bucket, or has it made.
    #[inline(always)]
    fn find<F: Frame, E: Env>(
        self,
        frame: &F,
        context: &Context<'_, E>,
        scratch: &mut Scratch,
    ) -> Step<Option<BucketOf<E>>> {
        let Some((table, otherwise)) = self.table() else {
            return Step::Continue(self.bucket(context, scratch));
        };
        let (region, key) = address(context, scratch, table);
        let mut set = table::find(context.env, table, region, key, scratch.places.of_mut(table));
        if set.is_none() {
            context.env.apart(otherwise, frame, context, scratch)?;
            set = table::set(context.env, table, scratch.places.of(table));
        }
        context.env.read_again(scratch);
        Step::Continue(set.map(|set| Bucket::in_set(set, scratch.places.of(table))))
    }

    /// Holds the packet to the budget; changes nothing.
    #[inline(always)]
    fn check<F: Frame, E: Env>(self, frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        // The packets of a source are counted, whether or not there is a limit on them.
        let is_counted = self == Self::Source && scratch.handshake.share.near != 0;
        if self.bill(scratch).mask == 0 && !is_counted {
            return Step::Continue(());
        }
        let Some(bucket) = self.find(frame, context, scratch)? else { return drop(Reason::Contended) };
        let (bill, limits) = (self.bill(scratch), self.limits(context, scratch));
        let refusal = bucket.over(bill, limits, scratch.clock);
        // The host's own traffic is for no service.
        let may_be_own = self != Self::SourceOfService;
        if refusal != 0 && may_be_own && own::concerns(context.env.own_ports(), scratch) {
            context.env.apart(Stage::Own, frame, context, scratch)?;
        }
        if self == Self::Service
            && refusal != 0
            && service::at(context.settings, scratch.role.service).reserves != 0
        {
            return context.env.apart(Stage::Reserve, frame, context, scratch);
        }
        let answer = self.answer(refusal);
        if let ControlFlow::Break(reason) = answer {
            if self.ledger() != Ledger::Nowhere {
                bucket.count_drops(1);
            }
            // A known client is held to more of a total.
            if self != Self::Service {
                scratch.refused = Refused { reason, whose: self, mask: refusal };
            }
        }
        answer
    }

    /// Charges the budget.
    #[inline(always)]
    fn charge<E: Env>(self, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        let bill = self.bill(scratch);
        if bill.mask == 0 {
            return Step::Continue(());
        }
        let Some(bucket) = self.bucket(context, scratch) else { return drop(Reason::Contended) };
        let refusal = bucket.charge(bill, self.limits(context, scratch), scratch.clock);
        // Another CPU's packet was a moment earlier.
        if refusal & !table::CONTENDED != 0 && matches!(self.scope(), Scope::Source) {
            bucket.count_drops(1);
        }
        self.answer(refusal)
    }

    /// Where drops of the source are counted.
    const fn ledger(self) -> Ledger {
        match self {
            Self::Service | Self::Neighbourhood => Ledger::Nowhere,
            Self::SourceOfService => Ledger::SourceOfService,
            Self::Source => Ledger::Source,
        }
    }

    #[inline(always)]
    fn answer(self, refusal: Mask) -> Step {
        if refusal == 0 {
            return Step::Continue(());
        }
        if refusal == table::CONTENDED {
            return drop(Reason::Contended);
        }
        drop(self.scope().reason_of(refusal))
    }
}

/// The dimensions in which a packet counts, by budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dues {
    /// The service's total.
    pub service: Mask,
    /// The neighbourhood.
    pub neighbourhood: Mask,
    /// The source towards the service.
    pub source_of_service: Mask,
    /// The source.
    pub source: Mask,
}

/// Writes down what a packet counts in.
#[inline(always)]
pub fn bill(scratch: &mut Scratch) {
    scratch.bill = Bill::of(&scratch.packet);
}

/// Writes down in which budgets it does.
#[inline(always)]
pub fn owe<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) {
    let Scratch { bill: Bill { mask, .. }, handshake, role, .. } = *scratch;
    let (settings, share) = (context.settings, handshake.share);
    let service = service::at(settings, role.service);
    let near = mask & share.near;
    let of_source = (mask | share.more) & share.near;
    let class = class(context, scratch);
    let of_service = service.own & !class.own;
    scratch.dues = Dues {
        service: mask & share.total & service.totals,
        neighbourhood: if role.class == 0 { near & settings.neighbours_own as Mask } else { 0 },
        source_of_service: of_source & of_service,
        source: of_source & !of_service & class.held,
    };
}

/// Checks and charges all budgets of a packet. Trusted sources have none.
#[inline(always)]
pub fn charge<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.role.trusted {
        return Step::Continue(());
    }
    Whose::Service.check(frame, context, scratch)?;
    Whose::Neighbourhood.check(frame, context, scratch)?;
    Whose::SourceOfService.check(frame, context, scratch)?;
    Whose::Source.check(frame, context, scratch)?;

    Whose::Source.charge(context, scratch)?;
    Whose::SourceOfService.charge(context, scratch)?;
    Whose::Neighbourhood.charge(context, scratch)?;
    if let ControlFlow::Break(reason) = Whose::Service.charge(context, scratch) {
        if service::at(context.settings, scratch.role.service).reserves == 0 {
            return drop(reason);
        }
        // Another CPU had the last of what strangers may have. Known clients may have more.
        context.env.apart(Stage::Total, frame, context, scratch)?;
    }
    if scratch.handshake.share.near != 0
        && let Some(bucket) = Whose::Source.bucket(context, scratch)
    {
        bucket.count_packet(scratch.bill.bytes);
    }
    Step::Continue(())
}

/// Keeps a refusal in the drop cache, if all of the packet's kind is refused for some time.
#[inline(always)]
pub fn cache<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Refused { reason, whose, mask } = scratch.refused;
    // Others may be no QUIC packets that open something.
    let mask = mask & table::OF_SOURCES;
    let packet = &scratch.packet;
    // What must come through may look like what need not; and an error counts for the host that it quotes a packet to.
    let is_told_apart = essential::concerns(packet)
        || own::concerns(context.env.own_ports(), scratch)
        || (packet.is_icmp() && reflection::is_error(packet));
    if mask == 0 || is_told_apart {
        return Step::Continue(());
    }
    let Some(bucket) = whose.bucket(context, scratch) else { return Step::Continue(()) };
    let shortest = Bill { bytes: drop_cache::FRAME_MIN, mask };
    let lasts = bucket.refused_for(shortest, whose.limits(context, scratch), context.now);
    let key = whose.table().map_or(0, |(table, _)| scratch.places.of(table).key());
    if lasts == 0 {
        return Step::Continue(());
    }
    scratch.entry = Entry { lasts, reason, ledger: whose.ledger(), key, is_of_all: false };
    context.env.apart(Stage::CacheEntry, frame, context, scratch)
}

/// Holds a packet that a total has no more for strangers for to what it has, if it comes from a known client: in a flood of
/// strangers, known clients get through first.
#[inline(always)]
pub fn reserve<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if clients::knows(context, &scratch.packet) {
        scratch.role.held_as = ALL as u32;
    }
    let Some(bucket) = Whose::Service.bucket(context, scratch) else { return drop(Reason::Contended) };
    let (bill, limits) = (Whose::Service.bill(scratch), Whose::Service.limits(context, scratch));
    Whose::Service.answer(bucket.over(bill, limits, scratch.clock))
}

/// Checks and charges the service's total alone.
#[inline(always)]
pub fn charge_total<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    scratch.role.held_as = STRANGERS as u32;
    owe(context, scratch);
    Whose::Service.check(frame, context, scratch)?;
    Whose::Service.charge(context, scratch)
}

/// Counts a packet that a later stage drops.
#[inline(never)]
pub fn count_drop<E: Env>(context: &Context<'_, E>, scratch: &Scratch) {
    // Its bucket was found before.
    if !scratch.role.trusted
        && let Some(bucket) = Whose::Source.bucket(context, scratch)
    {
        bucket.count_drops(1);
    }
}

/// Finds a packet's bucket in a table, or makes it.
#[inline(always)]
pub fn seek<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch, table: Table) -> Step {
    let (region, key) = address(context, scratch, table);
    let is_there = table::seek(context, table, region, key, scratch.places.of_mut(table));
    if is_there { Step::Continue(()) } else { drop(Reason::Contended) }
}

/// Region and key of a packet in a table.
#[inline(always)]
fn address<E: Env>(context: &Context<'_, E>, scratch: &Scratch, table: Table) -> (u32, u64) {
    let Context { settings, .. } = context;
    match table {
        Table::Neighbours => (0, source_key::neighbourhood(settings, &scratch.packet)),
        _ => {
            let service = service::at(settings, scratch.role.service);
            let is_service = matches!(table, Table::ServiceSources);
            let region = if is_service { service::region(service) } else { 0 };
            let own = source_key::of_address(settings, &scratch.packet);
            (region, if scratch.role.bucket == 0 { own } else { scratch.role.bucket })
        }
    }
}

/// The class of a packet's source.
#[inline(always)]
fn class<'a, E: Env>(context: &Context<'a, E>, scratch: &Scratch) -> &'a Class {
    service::class_at(context.settings, scratch.role.class)
}

/// The source of a packet, as limits have it. That it shares a bucket makes no other of it.
#[inline(always)]
pub(crate) const fn source(settings: &Settings, scratch: &Scratch) -> u64 {
    let bucket = scratch.role.bucket;
    if is_finer(bucket) { bucket } else { source_key::of_address(settings, &scratch.packet) }
}
