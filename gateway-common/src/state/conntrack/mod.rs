//! Connection tracking: what the gate remembers of connections.
//!
//! If a connection ends on this host, the host's TCP knows where the stream begins and how much of it has arrived
//! ([`crate::env::Socket`]). Then the table only saves questions: an evicted entry costs one. If a connection passes
//! through to another host, the table is all there is, and the gate goes by the SYN that it saw. Without an entry its
//! data do not pass. So its SYN does not pass without room for one, and data alone never make one.
//!
//! An entry is a keyed 64-bit fingerprint of addresses and ports, and one word of state that changes as a whole. In a
//! set without an empty entry
//!
//! * a SYN without its hello is evicted first: one that is no longer fresh, and a fresh one too if there are `RESERVE`
//!   of them. So SYNs evict other SYNs, and little else. What a SYN cookie has begun stays while it is fresh: the
//!   host's TCP may not have seen it yet;
//! * then a silent connection: silent for `BRIEF` if it ends here, or if it said nothing later than seconds after its
//!   hello; otherwise for `LONG`;
//! * then a fresh SYN that is alone in its set;
//! * then a connection that ends here, of any age: one more question replaces its entry;
//! * a connection that passes through and said something since is never evicted;
//! * a connection that ends here evicts no connection that passes through and has shown a hello: it needs no entry.

mod entry;

pub use entry::{ConnState, Phase};

use entry::{LAG, TOUCH_AFTER, age_of, has_begun, is_proven, is_settled, opening_of};

use crate::{
    abi::PAIR_WAYS,
    env::{Context, Env},
    hash,
    limit::rate::Instant,
    packet::Packet,
    state::assoc::{PairSet, Victim},
    tables::{Note, PairTable, Table},
    verdict::{Reason, Step, drop},
};

/// How long a connection must be silent before another may evict it, in units of about 1.07 s: half a minute, and five
/// minutes. An entry is only written again after [`TOUCH_AFTER`]. So twice that is the shortest age which proves
/// silence, and most connections have ended by then.
const BRIEF: u32 = 2 * TOUCH_AFTER;
const LONG: u32 = 280;
/// How many entries of a set fresh SYNs take from others before they take them from each other. With one alone, the
/// second of two SYNs to one set would cut the first off before its hello comes.
const RESERVE: u64 = 2;
/// More entries than a set has.
const OPENINGS: u64 = 8;

/// The fingerprint of a packet's flow.
#[inline(always)]
pub fn identity<E: Env>(env: &E, packet: &Packet) -> u64 {
    let protocol = u64::from(packet.protocol) << 40;
    let ports = protocol | u64::from(packet.source_port) << 16 | u64::from(packet.destination_port);
    let fingerprint = if packet.ipv6 {
        let (source, destination) = (packet.source, packet.destination);
        hash::fingerprint(env.key(), [source.high, source.low, destination.high, destination.low, ports])
    } else {
        let addresses = u64::from(packet.source.as_v4()) << 32 | u64::from(packet.destination.as_v4());
        hash::fingerprint(env.key(), [addresses, ports | 1 << 32])
    };
    // 0 marks an empty entry.
    fingerprint | 1
}

/// A packet's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conn {
    /// Its fingerprint.
    pub identity: u64,
    /// What was known of it when the packet came.
    pub known: ConnState,
    /// What is to be known of it after the packet.
    pub next: ConnState,
}

impl Conn {
    /// Looks up the connection of a packet. The answer is read back from memory: the verifier would follow all later
    /// code once for each entry of a set.
    #[inline(always)]
    pub fn look_up<E: Env>(&mut self, env: &E, packet: &Packet) {
        let identity = identity(env, packet);
        let known = find(env, identity);
        *self = Self { identity, known, next: known };
    }
}

/// What is known of a connection.
#[inline(always)]
pub fn find<E: Env>(env: &E, identity: u64) -> ConnState {
    let Some(set) = PairSet::of_flow(env, PairTable::Conntrack, identity) else { return ConnState::UNKNOWN };
    match set.get(identity) {
        Some(word) => ConnState::from_word(word, identity),
        // A word of zeros is the unknown state.
        None => ConnState::from_word(0, identity).with_never_evicted(set.room() as u32),
    }
}

/// Writes a connection's state down: in its own entry, else in the one that it evicts. A drop if there is none.
///
/// A concurrent writer of the same set can undo this; then the connection is asked about again.
#[inline(always)]
pub fn remember<E: Env>(context: &Context<'_, E>, conn: &Conn, memory: &mut Victim) -> Step {
    let (env, now) = (context.env, context.now);
    let identity = conn.identity;
    let (newcomer, passes_through) = (conn.next.word(identity), conn.next.passes_through());
    let Some(set) = PairSet::of_flow(env, PairTable::Conntrack, identity) else {
        return drop(Reason::TcpSequence);
    };
    let mut openings = 0;
    for way in 0..PAIR_WAYS {
        if set.key(way) == identity {
            set.set_state(way, newcomer);
            return Step::Continue(());
        }
        openings += opening_of(set.state(way));
    }
    // 1 if fresh SYNs have all that they may take from others.
    let is_crowded = (openings + (OPENINGS - RESERVE)) / OPENINGS;
    let victim = set.victim::<E>(NOT_AT_ALL, memory, |word| {
        kind(word, newcomer, passes_through, is_crowded, now) + age_of(word, now)
    });
    if victim.rank() <= NOT_AT_ALL {
        env.note(Table::Conntrack, Note::Full);
        return drop(Reason::TcpSequence);
    }
    if !set.publish(victim.way(), victim.owner(), identity, newcomer) {
        return drop(Reason::TcpSequence);
    }
    env.note(Table::Conntrack, Note::Inserted);
    if victim.owner() != 0 {
        env.note(Table::Conntrack, Note::Evicted);
    }
    Step::Continue(())
}

/// Writes down what was learnt of a connection, unless another CPU has changed its entry meanwhile: a SYN that came
/// since is not undone.
#[inline(always)]
pub fn update<E: Env>(context: &Context<'_, E>, conn: &mut Conn) -> Step {
    let Conn { identity, known, .. } = *conn;
    let is_heard_again = known.has_shown_hello() && known.is_stale(context.now);
    let before = known.word(identity);
    // Not both states at once: a BPF program has few registers, and a small stack.
    context.env.barrier(conn);
    let next = conn.next;
    let word = if is_heard_again { next.settled() } else { next }.word(identity);
    if let Some(set) = PairSet::of_flow(context.env, PairTable::Conntrack, identity)
        && let Some(way) = set.find(identity)
    {
        set.replace_state(way, before, word);
    }
    Step::Continue(())
}

/// Ranks for eviction: the kind of an entry from this bit up, its age below.
const KIND: u32 = 32;
/// No entry is evicted that ranks no higher: all of an age.
const NOT_AT_ALL: u64 = (1 << KIND) - 1;
/// Has shown no hello, and may never.
const STALE: u64 = 4 << KIND;
/// Has shown a hello, and is silent.
const SILENT: u64 = 3 << KIND;
/// Has shown no hello yet.
const FRESH: u64 = 2 << KIND;
/// Ends here, so that a question replaces its entry.
const PROVEN: u64 = 1 << KIND;

/// The kind of an entry; 0: this newcomer does not evict it.
#[inline(always)]
const fn kind(word: u64, newcomer: u64, passes_through: bool, is_crowded: u64, now: Instant) -> u64 {
    let age = age_of(word, now);
    let is_entry_proven = is_proven(word);
    if opening_of(word) != 0 {
        if age >= LAG as u64 {
            STALE
        } else if has_begun(word) {
            0
        } else {
            FRESH + is_crowded * (STALE - FRESH)
        }
    } else if !passes_through {
        if is_entry_proven && is_proven(newcomer) { PROVEN } else { 0 }
    } else if age >= LONG as u64 || (age >= BRIEF as u64 && (is_entry_proven || !is_settled(word))) {
        SILENT
    } else if is_entry_proven {
        PROVEN
    } else {
        0
    }
}
