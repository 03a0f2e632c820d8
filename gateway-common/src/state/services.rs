//! What is kept of each service beside its total: the other slots of its set in [`BucketTable::Totals`].

use crate::{abi::HANDSHAKE_SLOT, env::Env, tables::BucketTable, words::Slots};

/// The words of a slot.
pub type SlotOf<E> = <<E as Env>::Buckets as Slots>::Slot;

/// A slot of a service. Service 0 stands for traffic for no service.
#[inline(always)]
pub fn slot<E: Env>(env: &E, service: u32, slot: usize) -> Option<SlotOf<E>> {
    env.buckets(BucketTable::Totals, service).map(|set| set.slot(slot))
}

/// What is kept of how connections to a service begin: the words `HANDSHAKE_…` of [`crate::abi`].
#[inline(always)]
pub fn handshake<E: Env>(env: &E, service: u32) -> Option<SlotOf<E>> {
    slot(env, service, HANDSHAKE_SLOT)
}
