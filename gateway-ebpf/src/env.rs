//! [`Env`] by the kernel's helpers and maps.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_RB_NO_WAKEUP, xdp_md},
    maps::lpm_trie::Key as Prefix,
    programs::XdpContext,
};
use gateway_common::{
    abi::{
        Active, Holder, INTERFACE_PLACES, Listing, OwnPorts, PAIR_SET_WORDS, Refusal, SAMPLE_HEAD, SET_WORDS,
        Sample, Settings, Tunnel,
    },
    env::{Asked, Env, Receiver, Sampled, Socket},
    frame::Frame,
    hash::Key,
    limit::rate::{INSTANT_SHIFT, Instant},
    packet::Packet,
    prefixes::{self, CHUNKS},
    tables::{BucketTable, Note, PairTable, Table},
    verdict::{Action, COLUMNS, Reason, Verdict, column},
    wire::{multipath::Change, options::Options, synack::SynAck},
};

use crate::{
    array::{at, increment},
    atomics::MapWords,
    barrier, constants,
    drop_cache::CpuDrops,
    frame::{BARE, XdpFrame, put8},
    live_entry::MapEntry,
    maps, receiver, reply, socket,
};

/// The kernel around one frame.
pub(crate) struct KernelEnv<'a, const BUILD: u8> {
    context: &'a XdpContext,
}

impl<'a, const BUILD: u8> KernelEnv<'a, BUILD> {
    #[inline(always)]
    pub(crate) const fn new(context: &'a XdpContext) -> Self {
        Self { context }
    }

    /// The program's context.
    #[inline(always)]
    pub(crate) const fn context(&self) -> *mut xdp_md {
        self.context.ctx
    }

    /// Under test: leaves the verdict for the test to read.
    #[inline(always)]
    pub(crate) fn record_verdict(&self, verdict: Verdict) {
        if constants::TESTING.load() != 0
            && let Some(test_hook) = maps::TEST_HOOK.get_ptr_mut(0)
        {
            // SAFETY: a live map value, which nothing else writes during a test run.
            unsafe {
                (*test_hook)[2] = verdict.action as u64;
                (*test_hook)[3] = verdict.reason as u64;
            }
        }
    }
}

impl<const BUILD: u8> Env for KernelEnv<'_, BUILD> {
    type Buckets = MapWords<SET_WORDS>;
    type Pairs = MapWords<PAIR_SET_WORDS>;
    type Drops = CpuDrops;
    type Live = MapEntry;

    #[inline(always)]
    fn key(&self) -> Key {
        Key([constants::KEY_0.load(), constants::KEY_1.load()])
    }

    #[inline(always)]
    fn drop_shift(&self) -> u32 {
        constants::DROP_SHIFT.load()
    }

    #[inline(always)]
    fn active(&self) -> Active {
        // SAFETY: a live map value; user space writes the word at once.
        Active(unsafe { maps::ACTIVE.get().read_volatile() })
    }

    #[inline(always)]
    fn settings(&self, active: Active) -> Option<&Settings> {
        // SAFETY: a live map value, and user space does not change the place that holds.
        let places = unsafe { &*maps::SETTINGS.get() };
        let settings = &places[active.slot() as usize];
        // Generation 0 is the zeroed map of before the first policy.
        (settings.generation != 0).then_some(settings)
    }

    #[inline(always)]
    fn listing(&self, active: Active, packet: &Packet) -> Option<Listing> {
        if packet.ipv6 {
            let key = Prefix::new(128, address_v6(packet));
            maps::PREFIXES_V6.get(active.slot())?.get(&key).copied()
        } else {
            let first = active.slot() * CHUNKS as u32;
            prefixes::find(packet.source.as_v4(), |chunk| maps::PREFIXES_V4.get(first + chunk)?.get(&0_u32))
        }
    }

    #[inline(always)]
    fn live(&self, packet: &Packet) -> Option<MapEntry> {
        let cell = if packet.ipv6 {
            maps::LIVE_V6.get(&Prefix::new(128, address_v6(packet)))
        } else {
            maps::LIVE_V4.get(&Prefix::new(32, packet.source.as_v4().to_be_bytes()))
        };
        cell.map(MapEntry)
    }

    #[inline(always)]
    fn ban_filter(&self, index: u32) -> u64 {
        // SAFETY: a live map value; user space writes the word at once.
        at(&maps::BAN_FILTER, index).map_or(0, |word| unsafe { word.read_volatile() })
    }

    #[inline(always)]
    fn own_ports(&self) -> &OwnPorts {
        // SAFETY: a live map value of numbers; user space writes word by word.
        unsafe { &*maps::OWN_PORTS.get() }
    }

    #[inline(always)]
    fn is_tunnel(&self, tunnel: &Tunnel) -> bool {
        // SAFETY: only whether it is there is looked at.
        unsafe { maps::TUNNELS.get(tunnel) }.is_some()
    }

    #[inline(always)]
    fn is_own_connection(&self, packet: &Packet) -> bool {
        constants::TCP_SOCK_RCV_NXT.load() != 0 && socket::is_own(self.context, packet)
    }

    #[inline(always)]
    fn full_until(&self, holder: &Holder) -> Instant {
        // SAFETY: a live map value; user space writes the word at once.
        unsafe { maps::HOLDERS.get(holder) }.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn is_established(&self, packet: &Packet) -> bool {
        constants::TCP_SOCK_RCV_NXT.load() != 0 && socket::is_established(self.context, packet)
    }

    #[inline(always)]
    fn would_take(&self, packet: &Packet, acknowledgment: u32, options: &Options) -> bool {
        constants::TCP_SOCK_RCV_NXT.load() != 0
            && socket::would_take(self.context, packet, acknowledgment, options)
    }

    #[inline(always)]
    fn tell(&self, refusal: &Refusal) {
        // One that finds no room is one that is not ended.
        let interface = self.context.ingress_ifindex() as u32;
        let told = maps::REFUSALS.output::<Refusal>(Refusal { interface, ..*refusal }, 0);
        if constants::DEBUG_LOG.load() != 0 && told.is_err() {
            aya_log_ebpf::warn!(self.context, "a refused connection stays open: the ring buffer is full");
        }
    }

    #[inline(always)]
    fn sample(&self, sampled: &Sampled) {
        let Some(sample) = at(&maps::SAMPLE, 0) else { return };
        // SAFETY: this CPU's own value, and XDP programs of one CPU do not interrupt each other.
        let sample = unsafe { &mut *sample };
        let frame = XdpFrame::<BUILD>(self.context);
        let length = frame.length();
        let captured = if length > SAMPLE_HEAD as u32 { SAMPLE_HEAD as u32 } else { length };
        sample.at = sampled.at;
        sample.length = length;
        sample.service = sampled.service as u16;
        sample.interface = self.interface() as u16;
        sample.action = sampled.action as u8;
        sample.reason = sampled.reason as u8;
        sample.bare = (BUILD == BARE) as u8;
        sample.captured = if frame.copy_into(0, captured, &mut sample.head) { captured } else { 0 };
        // Read in intervals: a wake-up would cost more than the sample.
        let told = maps::SAMPLES.output::<Sample>(&*sample, BPF_RB_NO_WAKEUP.into());
        if told.is_err() {
            increment(&maps::SAMPLES_LOST, 0);
        }
    }

    #[inline(always)]
    fn barrier_var(value: u64) -> u64 {
        barrier::barrier_var(value)
    }

    #[inline(always)]
    fn sets(&self, table: Table) -> u32 {
        constants::sets(table)
    }

    #[inline(always)]
    fn buckets(&self, table: BucketTable, index: u32) -> Option<Self::Buckets> {
        at(maps::buckets(table), index).and_then(MapWords::new)
    }

    #[inline(always)]
    fn pairs(&self, table: PairTable, index: u32) -> Option<Self::Pairs> {
        at(maps::pairs(table), index).and_then(MapWords::new)
    }

    #[inline(always)]
    fn ask(&self, packet: &Packet, transport: u32, doubts_open: bool, asked: &mut Asked) {
        *asked = Asked::of(Socket::Unknown);
        if constants::TCP_SOCK_RCV_NXT.load() != 0 {
            socket::ask(self.context, packet, transport, doubts_open, asked);
        }
    }

    #[inline(always)]
    fn syn_cookie(&self, packet: &Packet, transport: u32) -> Option<u32> {
        if constants::TCP_SOCK_RCV_NXT.load() == 0 {
            return None;
        }
        let made = socket::cookie(self.context, packet, transport);
        // What is no cookie is a negative error number.
        (made >= 0).then_some(made as u32)
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        let place = self.context.ingress_ifindex() & (INTERFACE_PLACES as usize - 1);
        // SAFETY: a live map value, and the place is in it; user space writes the byte at once.
        unsafe { maps::INTERFACE_ROWS.get().cast::<u8>().add(place).read_volatile() }.into()
    }

    #[inline(always)]
    fn tcp_clock(&self, now: Instant) -> u32 {
        // `tcp_clock_ms` of include/net/tcp.h.
        ((now >> INSTANT_SHIFT).wrapping_add(constants::EPOCH.load()) / 1_000_000) as u32
    }

    #[inline(always)]
    fn reply(&self, at: u32, answer: &SynAck) -> bool {
        reply::write::<BUILD>(self.context, at, answer)
    }

    #[inline(always)]
    fn change(&self, changes: [Change; 2]) {
        let frame = XdpFrame::<BUILD>(self.context);
        for Change { at, byte } in changes {
            if let Some(address) = frame.at(at).and_then(|at| frame.address::<1>(at)) {
                // SAFETY: the byte is there.
                unsafe { put8(address, byte) };
            }
        }
    }

    #[inline(always)]
    fn receiver(&self, packet: &Packet, forwarding: bool) -> Receiver {
        if constants::TCP_SOCK_RCV_NXT.load() == 0 {
            return Receiver::Elsewhere;
        }
        receiver::of(self.context, packet, forwarding)
    }

    #[inline(always)]
    fn barrier<T>(&self, memory: &mut T) {
        // For all that LLVM knows this changes memory. `hint::black_box` would put the pointer on the stack.
        // SAFETY: a move of a register onto itself.
        unsafe { asm!("{0} = {0}", in(reg) memory, options(nostack)) };
    }

    #[inline(always)]
    fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32) {
        // One path for the verifier whatever the verdict.
        self.tally(Self::barrier_var(column(action, reason) as u64) as usize, service, bytes);
    }

    #[inline(always)]
    fn count_refused(&self, reason: Reason, service: u32, bytes: u32) {
        self.tally(column(Action::Drop, reason), service, bytes);
    }

    #[inline(always)]
    fn note(&self, table: Table, note: Note) {
        increment(&maps::NOTES, table as u32 * Note::COUNT as u32 + note as u32);
    }
}

impl<const BUILD: u8> KernelEnv<'_, BUILD> {
    /// Counts a frame in a column of its interface, and of its service.
    #[inline(always)]
    fn tally(&self, column: usize, service: u32, bytes: u32) {
        // A bound that the verifier sees.
        let column = column & (COLUMNS - 1);
        if let Some(row) = at(&maps::COUNTERS, self.interface()) {
            // SAFETY: this CPU's own value, and XDP programs of one CPU do not interrupt each other.
            let tally = unsafe { &mut (*row)[column] };
            tally.packets += 1;
            tally.bytes += u64::from(bytes);
        }
        if service != 0
            && let Some(row) = at(&maps::SERVICE_COUNTERS, service)
        {
            // SAFETY: as above.
            unsafe { (*row)[column] += 1 };
        }
    }
}

#[inline(always)]
fn address_v6(packet: &Packet) -> [u8; 16] {
    (u128::from(packet.source.high) << 64 | u128::from(packet.source.low)).to_be_bytes()
}
