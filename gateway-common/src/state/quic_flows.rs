//! QUIC flows: addresses and ports that have opened QUIC connections.
//!
//! No socket knows a QUIC connection, so this table is all that the gate has. An entry starts with an Initial that
//! passed, or with a short header within the limit of `migration`. A flow that goes on for longer than a second is
//! established, and nobody evicts its entry while it is in use. So a flood of Initials with forged sources evicts flows
//! that have shown no more than an Initial.

use crate::{
    env::Env,
    limit::rate::{Instant, SEEN_SHIFT, units_since},
    state::assoc::{PairSet, Victim},
    tables::{Note, PairTable, Table},
};

/// Units after which an unused entry is free: twice the time that NAT boxes keep UDP at least (RFC 4787 section 4.3),
/// and eight times the idle time of common servers.
const IDLE: u32 = 240;
/// An entry is written again when it was last seen this many units ago.
const TOUCH_AFTER: u32 = 16;
/// Set in an entry's state: the flow is established. The lower half is when it was last seen.
const ESTABLISHED: u64 = 1 << 32;

/// The rank for eviction of an entry whose flow is not established: above idle ones, which rank by age alone.
const UNPROVEN: u64 = 1 << 36;

/// What is known of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// An Initial of it has passed, or a short header within the limit of `migration`.
    pub is_known: bool,
    /// It went on for a while after that.
    is_established: bool,
    /// When it was last written, in units of [`SEEN_SHIFT`].
    seen: u32,
}

impl Flow {
    #[inline(always)]
    const fn from_word(word: u64) -> Self {
        Self { is_known: true, is_established: word & ESTABLISHED != 0, seen: word as u32 }
    }

    #[inline(always)]
    const fn age(self, now: Instant) -> u32 {
        units_since(self.seen as u64, units(now) as u64, u32::MAX as u64) as u32
    }

    /// Whether it goes on for the first time. `goes_on`: the datagram at hand is more than an Initial.
    #[inline(always)]
    const fn has_gone_on(self, goes_on: bool, now: Instant) -> bool {
        self.is_known && goes_on && !self.is_established && self.age(now) > 0
    }

    /// Whether a datagram that has passed shows something new of it.
    #[inline(always)]
    pub const fn is_worth_keeping(self, goes_on: bool, now: Instant) -> bool {
        !self.is_known
            || self.has_gone_on(goes_on, now)
            || (self.is_established && self.age(now) >= TOUCH_AFTER)
    }

    /// The rank of its entry for eviction; 0: it is not evicted.
    #[inline(always)]
    const fn rank(self, now: Instant) -> u64 {
        let age = self.age(now) as u64 + 1;
        if !self.is_established {
            UNPROVEN + age
        } else if age > IDLE as u64 {
            age
        } else {
            0
        }
    }
}

/// A packet to a service that requires QUIC.
#[derive(Clone, Copy, Debug, Default)]
pub struct Datagram {
    /// The fingerprint of its flow; 0: it is no such packet.
    pub identity: u64,
    /// What was known of the flow when it came.
    pub known: Flow,
    /// It is more than an Initial.
    pub goes_on: bool,
}

impl Datagram {
    /// Begins a packet.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.identity = 0;
    }
}

#[inline(always)]
const fn units(now: Instant) -> u32 {
    (now >> SEEN_SHIFT) as u32
}

/// What is known of the flow with this fingerprint.
#[inline(always)]
pub fn find<E: Env>(env: &E, identity: u64) -> Flow {
    let Some(set) = PairSet::of_flow(env, PairTable::QuicFlows, identity) else { return Flow::default() };
    set.get(identity).map_or_else(Flow::default, Flow::from_word)
}

/// Writes down that a datagram has passed whose flow [`Flow::is_worth_keeping`]. If all entries of its set are in use
/// by other established flows, the flow stays unknown; that is counted.
#[inline(always)]
pub fn keep<E: Env>(env: &E, datagram: &Datagram, now: Instant, memory: &mut Victim) {
    let Datagram { identity, known, goes_on } = *datagram;
    let Some(set) = PairSet::of_flow(env, PairTable::QuicFlows, identity) else { return };
    let is_established = known.is_established || known.has_gone_on(goes_on, now);
    let state = u64::from(units(now)) | if is_established { ESTABLISHED } else { 0 };
    if let Some(way) = set.find(identity) {
        set.set_state(way, state);
        return;
    }
    let victim = set.victim::<E>(0, memory, |state| Flow::from_word(state).rank(now));
    if victim.rank() == 0 {
        return env.note(Table::QuicFlows, Note::Full);
    }
    if !set.publish(victim.way(), victim.owner(), identity, state) {
        return;
    }
    env.note(Table::QuicFlows, Note::Inserted);
    if victim.owner() != 0 {
        env.note(Table::QuicFlows, Note::Evicted);
    }
}
