//! Holds traffic to its limits: a service's total, the neighbourhood, the source.
//!
//! First all budgets are checked, widest first. So a flood of forged sources ends at the two budgets that it fills for
//! nothing and that cost us one hot cache line each, and never reaches the table of sources. If the packet fits in all
//! of them, all are charged. A dropped packet costs nobody's budget anything.

pub mod state;

use core::ops::ControlFlow;

use state::{Budgets, CostMasks, Refused};

use crate::{
    abi::{ALL, Class, Limits, STRANGERS, Settings},
    env::{Context, Env},
    frame::Frame,
    limit::{
        bucket::{self, Bucket, Cost},
        rate::Mask,
    },
    source::{self, finer::is_finer},
    stage::{
        essential, own_traffic,
        packet_state::PacketState,
        reflection,
        subprog::{Program, Subprog},
    },
    state::{
        buckets::{self, BucketOf},
        drop_cache::{self, Entry, Ledger},
        known_clients,
    },
    tables::BucketTable,
    verdict::{Reason, Scope, Step, drop},
};

impl Scope {
    /// The hash table of the bucket, and the subprogram that inserts it there.
    const fn table(self) -> Option<(BucketTable, Subprog)> {
        match self {
            Self::Service => None,
            Self::Neighbours => Some((BucketTable::Neighbours, Subprog::SeekNeighbours)),
            Self::SourceAtService => Some((BucketTable::ServiceSources, Subprog::SeekService)),
            Self::Source => Some((BucketTable::Sources, Subprog::SeekSource)),
        }
    }

    /// What the packet costs here, by [`assign_masks`].
    #[inline(always)]
    const fn cost(self, state: &PacketState) -> Cost {
        let Budgets { cost, masks, .. } = &state.budgets;
        let mask = match self {
            Self::Service => masks.service,
            // Repeated for the verifier, which then follows no path for other dimensions.
            Self::Neighbours => masks.neighbours & bucket::OF_SOURCES,
            Self::SourceAtService => masks.source_at_service,
            Self::Source => masks.source & bucket::OF_SOURCES,
        };
        Cost { mask, ..*cost }
    }

    #[inline(always)]
    fn limits<'a, E: Env>(self, context: &Context<'a, E>, state: &PacketState) -> &'a Limits {
        let service = context.settings.service(state.role.service);
        match self {
            Self::Service => &service.total[state.role.held_as as usize & 1],
            Self::Neighbours => &context.settings.neighbours,
            Self::SourceAtService => &service.limits,
            Self::Source => &class(context, state).limits,
        }
    }

    /// The bucket, which was found before.
    #[inline(always)]
    fn bucket<E: Env>(self, context: &Context<'_, E>, state: &PacketState) -> Option<BucketOf<E>> {
        match self.table() {
            None => {
                context.env.buckets(BucketTable::Totals, state.role.service).map(|set| Bucket::in_set(set, 0))
            }
            Some((table, _)) => buckets::bucket(context.env, table, state.cpu.places.of(table)),
        }
    }

    /// Looks the bucket up, or has it inserted.
    #[inline(always)]
    fn find<F: Frame, E: Program>(
        self,
        frame: &F,
        context: &Context<'_, E>,
        state: &mut PacketState,
    ) -> Step<Option<BucketOf<E>>> {
        let Some((table, otherwise)) = self.table() else {
            return Step::Continue(self.bucket(context, state));
        };
        let (region, key) = address(context, state, table);
        let mut set = buckets::find(context.env, table, region, key, state.cpu.places.of_mut(table));
        if set.is_none() {
            context.env.call(otherwise, frame, context, state)?;
            set = buckets::set(context.env, table, state.cpu.places.of(table));
        }
        context.env.barrier(state);
        Step::Continue(set.map(|set| Bucket::in_set(set, state.cpu.places.of(table).way)))
    }

    /// Holds the packet to the budget; charges nothing.
    #[inline(always)]
    fn check<F: Frame, E: Program>(
        self,
        frame: &F,
        context: &Context<'_, E>,
        state: &mut PacketState,
    ) -> Step {
        // The packets of a source are counted, whether or not there is a limit on them.
        let is_counted = self == Self::Source && state.budgets.share.near != 0;
        if self.cost(state).mask == 0 && !is_counted {
            return Step::Continue(());
        }
        let Some(bucket) = self.find(frame, context, state)? else { return drop(Reason::Contended) };
        let (cost, limits) = (self.cost(state), self.limits(context, state));
        let refusal = bucket.over(cost, limits, state.clock);
        // The host's own traffic is for no service.
        let may_be_own = self != Self::SourceAtService;
        if refusal != 0 && may_be_own && own_traffic::concerns(context.env.own_ports(), state) {
            context.env.call(Subprog::OwnTraffic, frame, context, state)?;
        }
        if self == Self::Service && refusal != 0 && context.settings.service(state.role.service).reserves != 0
        {
            return context.env.call(Subprog::KnownClientsPart, frame, context, state);
        }
        let answer = self.answer(refusal);
        if let ControlFlow::Break(reason) = answer {
            if self.ledger() != Ledger::Nowhere {
                bucket.count_drops(1);
            }
            // Not by a total: a known client may use more of it.
            if self != Self::Service {
                state.budgets.refused = Refused { reason, scope: self, mask: refusal };
            }
        }
        answer
    }

    /// Charges the budget.
    #[inline(always)]
    fn charge<E: Env>(self, context: &Context<'_, E>, state: &mut PacketState) -> Step {
        let cost = self.cost(state);
        if cost.mask == 0 {
            return Step::Continue(());
        }
        let Some(bucket) = self.bucket(context, state) else { return drop(Reason::Contended) };
        let refusal = bucket.charge(cost, self.limits(context, state), state.clock);
        // Another CPU's packet was a moment earlier.
        if refusal & !bucket::CONTENDED != 0 && matches!(self, Self::SourceAtService | Self::Source) {
            bucket.count_drops(1);
        }
        self.answer(refusal)
    }

    /// Where drops of the source are counted.
    const fn ledger(self) -> Ledger {
        match self {
            Self::Service | Self::Neighbours => Ledger::Nowhere,
            Self::SourceAtService => Ledger::SourceAtService,
            Self::Source => Ledger::Source,
        }
    }

    #[inline(always)]
    fn answer(self, refusal: Mask) -> Step {
        if refusal == 0 {
            return Step::Continue(());
        }
        if refusal == bucket::CONTENDED {
            return drop(Reason::Contended);
        }
        drop(self.reason_of(refusal))
    }
}

/// Writes down the cost of a packet.
#[inline(always)]
pub fn cost(state: &mut PacketState) {
    state.budgets.cost = Cost::of(&state.packet);
}

/// Writes down which dimensions of it count in which budget.
#[inline(always)]
pub fn assign_masks<E: Env>(context: &Context<'_, E>, state: &mut PacketState) {
    let PacketState { budgets: Budgets { cost: Cost { mask, .. }, share, .. }, role, .. } = *state;
    let settings = context.settings;
    let service = settings.service(role.service);
    let near = mask & share.near;
    let of_source = (mask | share.more) & share.near;
    let class = class(context, state);
    let of_service = service.own & !class.own;
    state.budgets.masks = CostMasks {
        service: mask & share.total & service.totals,
        neighbours: if role.class == 0 { near & settings.neighbours_own as Mask } else { 0 },
        source_at_service: of_source & of_service,
        source: of_source & !of_service & class.held,
    };
}

/// Checks and charges all budgets of a packet. Trusted sources have none.
#[inline(always)]
pub fn charge<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if state.role.trusted {
        return Step::Continue(());
    }
    Scope::Service.check(frame, context, state)?;
    Scope::Neighbours.check(frame, context, state)?;
    Scope::SourceAtService.check(frame, context, state)?;
    Scope::Source.check(frame, context, state)?;

    Scope::Source.charge(context, state)?;
    Scope::SourceAtService.charge(context, state)?;
    Scope::Neighbours.charge(context, state)?;
    if let ControlFlow::Break(reason) = Scope::Service.charge(context, state) {
        if context.settings.service(state.role.service).reserves == 0 {
            return drop(reason);
        }
        // Another CPU used up what unknown clients may have. Known clients may have more.
        context.env.call(Subprog::ChargeTotal, frame, context, state)?;
    }
    if state.budgets.share.near != 0
        && let Some(bucket) = Scope::Source.bucket(context, state)
    {
        bucket.count_packet(state.budgets.cost.bytes);
    }
    Step::Continue(())
}

/// Caches a refusal, if all packets of this kind are refused for some time.
#[inline(always)]
pub fn cache<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let Refused { reason, scope, mask } = state.budgets.refused;
    // Other datagrams of this kind may not count as QUIC packets do.
    let mask = mask & bucket::OF_SOURCES;
    let packet = &state.packet;
    // A packet that must pass may be of the same kind. And an ICMP error counts for the peer of the packet that it
    // quotes.
    let is_told_apart = essential::concerns(packet)
        || own_traffic::concerns(context.env.own_ports(), state)
        || (packet.is_icmp() && reflection::is_error(packet));
    if mask == 0 || is_told_apart {
        return Step::Continue(());
    }
    let Some(bucket) = scope.bucket(context, state) else { return Step::Continue(()) };
    let shortest = Cost { bytes: drop_cache::FRAME_MIN, mask };
    let lasts = bucket.refused_for(shortest, scope.limits(context, state), context.now);
    let key = scope.table().map_or(0, |(table, _)| state.cpu.places.of(table).key());
    if lasts == 0 {
        return Step::Continue(());
    }
    state.entry =
        Entry { lasts, reason, ledger: scope.ledger(), key, service: state.role.service, is_of_all: false };
    context.env.call(Subprog::InsertDrop, frame, context, state)
}

/// Checks the total again for a packet that was above the part of unknown clients: if it comes from a known client,
/// against all of the total. So in a flood known clients get through first.
#[inline(always)]
pub fn reserve<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if known_clients::contains(context, &state.packet) {
        state.role.held_as = ALL as u32;
    }
    let Some(bucket) = Scope::Service.bucket(context, state) else { return drop(Reason::Contended) };
    let (cost, limits) = (Scope::Service.cost(state), Scope::Service.limits(context, state));
    Scope::Service.answer(bucket.over(cost, limits, state.clock))
}

/// Checks and charges the service's total alone.
#[inline(always)]
pub fn charge_total<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
) -> Step {
    state.role.held_as = STRANGERS as u32;
    assign_masks(context, state);
    Scope::Service.check(frame, context, state)?;
    Scope::Service.charge(context, state)
}

/// Counts a packet that a later stage drops.
#[inline(never)]
pub fn count_drop<E: Env>(context: &Context<'_, E>, state: &PacketState) {
    // Its bucket was found before.
    if !state.role.trusted
        && let Some(bucket) = Scope::Source.bucket(context, state)
    {
        bucket.count_drops(1);
    }
}

/// Looks up a packet's bucket in a table, or inserts it.
#[inline(always)]
pub fn seek<E: Env>(context: &Context<'_, E>, state: &mut PacketState, table: BucketTable) -> Step {
    let (region, key) = address(context, state, table);
    let is_there = buckets::seek(context, table, region, key, state.cpu.places.of_mut(table));
    if is_there { Step::Continue(()) } else { drop(Reason::Contended) }
}

/// Region and key of a packet in a table.
#[inline(always)]
fn address<E: Env>(context: &Context<'_, E>, state: &PacketState, table: BucketTable) -> (u32, u64) {
    let Context { settings, .. } = context;
    match table {
        BucketTable::Neighbours => (0, source::neighbourhood(settings, &state.packet)),
        _ => {
            let service = settings.service(state.role.service);
            let is_service = matches!(table, BucketTable::ServiceSources);
            let region = if is_service { service.region() } else { 0 };
            let own = source::of_address(settings, &state.packet);
            (region, if state.role.bucket == 0 { own } else { state.role.bucket })
        }
    }
}

/// The class of a packet's source.
#[inline(always)]
fn class<'a, E: Env>(context: &Context<'a, E>, state: &PacketState) -> &'a Class {
    context.settings.class(state.role.class)
}

/// The key of a packet's source, as limits take it. A shared bucket does not change it.
#[inline(always)]
pub(crate) const fn source(settings: &Settings, state: &PacketState) -> u64 {
    let bucket = state.role.bucket;
    if is_finer(bucket) { bucket } else { source::of_address(settings, &state.packet) }
}
