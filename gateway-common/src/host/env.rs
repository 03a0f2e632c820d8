//! [`Env`] by memory.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::{
    abi::{Active, Holder, Listing, OwnPorts, Refusal, Settings, Tunnel},
    env::{Asked, Clock, Context, Env, Found, Receiver, Sampled},
    frame::Frame,
    hash::Key,
    limit::rate::{Instant, Reading, SECOND},
    packet::Packet,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    tables::{BucketTable, Note, PairTable, Table},
    verdict::{Action, Reason, Step},
    wire::{multipath::Change, options::Options, synack::SynAck},
};

use super::{Drops, HostEnv, LiveEntry, Words};

/// By how many bits the host scales its windows.
const SCALE: u8 = 7;

impl<'a> Env for &'a HostEnv {
    type Buckets = Words<'a>;
    type Pairs = Words<'a>;
    type Drops = Drops<'a>;
    type Live = &'a LiveEntry;

    fn key(&self) -> Key {
        self.stand.key
    }

    fn drop_shift(&self) -> u32 {
        u64::BITS - self.stand.sets.drops.ilog2()
    }

    fn active(&self) -> Active {
        Active(self.stand.active().0 | self.bans.flags())
    }

    fn settings(&self, _: Active) -> Option<&Settings> {
        // Generation 0 is the zeroed map from before the first policy.
        Some(&*self.stand.settings).filter(|settings| settings.generation != 0)
    }

    fn listing(&self, _: Active, packet: &Packet) -> Option<Listing> {
        self.stand.listings.longest(packet.ipv6, packet.source).copied()
    }

    fn live(&self, packet: &Packet) -> Option<&'a LiveEntry> {
        self.stand.live.longest(packet.ipv6, packet.source)
    }

    fn barrier_var(value: u64) -> u64 {
        value
    }

    fn sets(&self, table: Table) -> u32 {
        self.stand.sets.of(table)
    }

    fn buckets(&self, table: BucketTable, index: u32) -> Option<Self::Buckets> {
        self.tables.set(table.table(), index)
    }

    fn pairs(&self, table: PairTable, index: u32) -> Option<Self::Pairs> {
        match table {
            PairTable::Bans => self.bans.set_words(index).map(Words::new),
            _ => self.tables.set(table.table(), index),
        }
    }

    fn ban_filter(&self, index: u32) -> u64 {
        self.bans.filter_at(index)
    }

    fn ask(&self, packet: &Packet, _: u32, _: bool, asked: &mut Asked) {
        *asked = Asked::of((self.sockets)(packet));
        asked.scale = SCALE;
        asked.has_cookie = asked.found == Found::Listener && self.has_cookies;
    }

    fn syn_cookie(&self, packet: &Packet, transport: u32) -> Option<u32> {
        let mut asked = Asked::default();
        self.ask(packet, transport, false, &mut asked);
        // Any number does.
        (asked.found == Found::Listener && self.has_cookies).then(|| packet.sequence.rotate_left(16))
    }

    fn interface(&self) -> u32 {
        0
    }

    fn tcp_clock(&self, now: Instant) -> u32 {
        (now / (SECOND / 1_000)) as u32
    }

    fn reply(&self, _: u32, _: &SynAck) -> bool {
        true
    }

    fn change(&self, _: [Change; 2]) {}

    fn would_take(&self, packet: &Packet, acknowledgment: u32, options: &Options) -> bool {
        (self.takers)(packet, acknowledgment, options)
    }

    fn tell(&self, refusal: &Refusal) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(*refusal);
    }

    fn sample(&self, _: &Sampled) {}

    fn full_until(&self, holder: &Holder) -> Instant {
        if self.stand.holders.contains(holder) { self.stand.held_until } else { 0 }
    }

    fn own_ports(&self) -> &OwnPorts {
        &self.stand.own_ports
    }

    fn is_tunnel(&self, tunnel: &Tunnel) -> bool {
        self.stand.tunnels.contains(tunnel)
    }

    fn is_own_connection(&self, packet: &Packet) -> bool {
        (self.own_connections)(packet)
    }

    fn is_established(&self, packet: &Packet) -> bool {
        (self.established)(packet)
    }

    fn receiver(&self, packet: &Packet, forwarding: bool) -> Receiver {
        (self.receivers)(packet, forwarding)
    }

    fn barrier<T>(&self, _: &mut T) {}

    fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32) {
        self.counters.count(action, reason, service, bytes);
    }

    fn note(&self, table: Table, note: Note) {
        self.counters.note(table, note);
    }
}

impl Program for &HostEnv {
    // One function for all callers: inlined in each of them it would take a minute to compile.
    #[inline(never)]
    fn call<F: Frame>(
        &self,
        subprog: Subprog,
        frame: &F,
        context: &Context<'_, Self>,
        state: &mut PacketState,
    ) -> Step {
        subprog.run(frame, context, state)
    }
}

impl Clock for &HostEnv {
    fn read(&mut self, may_be_late: bool) -> Reading {
        let late = if may_be_late { self.late.load(Ordering::SeqCst) } else { 0 };
        Reading { latest: self.time().wrapping_add(late), late }
    }

    fn late(&self) -> Option<Instant> {
        (self.late.load(Ordering::SeqCst) != 0).then(|| self.time())
    }
}
