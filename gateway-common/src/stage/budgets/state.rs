//! The cost of a packet, and the budgets that pay.

use crate::{
    limit::{bucket::Cost, rate::Mask},
    verdict::{Reason, Scope},
};

/// What the budgets know of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budgets {
    /// Its cost.
    pub(in crate::stage) cost: Cost,
    /// The budgets that hold it.
    pub(in crate::stage) share: Share,
    /// The dimensions in which it counts, by budget.
    pub(super) masks: CostMasks,
    /// The refusal of it, if that may be cached.
    pub(in crate::stage) refused: Refused,
}

impl Budgets {
    /// Begins a packet.
    #[inline(always)]
    pub(in crate::stage) fn begin(&mut self) {
        self.share = Share::default();
        self.refused = Refused::NONE;
    }

    /// Whether it was refused, and packets like it will be.
    #[inline(always)]
    pub const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a list or a ban refused it.
    #[inline(always)]
    pub const fn is_refused_by_list(&self) -> bool {
        self.refused.is_listed()
    }
}

/// A refusal that may be cached: by a list, a ban or a budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    pub(super) scope: Scope,
    /// In which dimensions; 0: there is no such refusal.
    pub(super) mask: Mask,
}

impl Refused {
    /// No refusal.
    pub const NONE: Self = Self { reason: Reason::Ok, scope: Scope::Source, mask: 0 };

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

/// The dimensions in which a packet counts, by budget.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CostMasks {
    /// The service's total.
    pub(super) service: Mask,
    /// The neighbourhood.
    pub(super) neighbours: Mask,
    /// The source towards the service.
    pub(super) source_at_service: Mask,
    /// The source.
    pub(super) source: Mask,
}

/// Which budgets hold a packet, as sets of dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Of the service's total.
    pub total: Mask,
    /// Of the neighbourhood and of the source.
    pub near: Mask,
    /// Dimensions beside its own in which it counts, of the source alone.
    pub more: Mask,
}

impl Default for Share {
    fn default() -> Self {
        Self { total: Mask::MAX, near: Mask::MAX, more: 0 }
    }
}
