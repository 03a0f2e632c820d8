//! The packet's way, from frame to fate.
//!
//! ```text
//! parse ─► lists ─► parse ─► sanity ─► essential ─► service ─► handshake ─► reflection ─► quic ─► budgets ─► handshake ─► tls ─► pass
//! ```
//!
//! What a stage finds out goes through [`Scratch`]: the kernel keeps that in map memory, whose contents the verifier does not
//! follow. So it checks each stage once, instead of once for every way through the stages before. What few packets need is a
//! function of its own in the kernel ([`Env::apart`]); the rest is one function, since every call costs a return.

mod apart;

use core::ops::ControlFlow;

pub use apart::Stage;

use crate::{
    abi::{Active, Settings, mode, policy},
    choice::Choice,
    connection::Link,
    drop_cache,
    env::{Asked, Env, Table},
    frame::Frame,
    packet::Packet,
    rate::{Instant, Reading},
    stage::{
        budgets::{self, Refused},
        essential, fallback, handshake, lists, parse, quic, reflection, refusal, sanity, service, tls,
    },
    strike,
    table::{Bill, Place},
    verdict::{Action, Reason, Step, Verdict, pass},
    wire::{Network, hello::Reader, options::Options, synack::SynAck, tls::Part},
};

/// What the stages find out about one packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scratch {
    /// When it came.
    pub clock: Reading,
    /// What its IP header says.
    pub network: Network,
    /// What it is.
    pub packet: Packet,
    /// Whose it is.
    pub role: Role,
    /// What it is to QUIC.
    pub datagram: quic::Datagram,
    /// What it counts in.
    pub bill: Bill,
    /// And in which budgets.
    pub dues: budgets::Dues,
    /// Where its buckets are.
    pub places: Places,
    /// What the host's TCP says of it.
    pub asked: Asked,
    /// The packet whose socket `reflection` asks for: the one at hand, or one that it quotes, as it would be answered.
    pub asked_about: Packet,
    /// How it begins a connection, or belongs to one.
    pub handshake: handshake::Findings,
    /// Of a SYN to a service that requires TLS, and of no other packet: it is known that connections to its address and port end
    /// here.
    pub is_local: bool,
    /// Of a SYN of which that is known: by how many bits this host scales the windows of such connections; 0: not at all, as far as
    /// is known.
    pub scale: u8,
    /// What it offers, if a cookie is to answer it.
    pub options: Options,
    /// The answer to it.
    pub answer: SynAck,
    /// Its connection, towards a gated service.
    pub gate: Gate,
    /// What it brings of its stream's prefix, if that is in several parts or records.
    pub part: Part,
    /// Length of the first record, if it ends within the prefix; else 0.
    pub short_record: u32,
    /// What is seen of the lengths there.
    pub shown: u32,
    /// Which stream of its connection it belongs to, if it has data for a service that requires TLS.
    pub stream: tls::Stream,
    /// Who reads its connection's first message.
    pub reader: Reader,
    /// Whose place in a table it takes.
    pub choice: Choice,
    /// What is to be kept of its refusal.
    pub entry: drop_cache::Entry,
    /// What of the cache is to be told.
    pub telling: drop_cache::Telling,
    /// By which budget it was refused.
    pub refused: Refused,
    /// What is known of the CPU's drop cache. It outlives the packet.
    pub drops: drop_cache::State,
}

/// What the gate knows of a packet's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// Who it is.
    pub identity: u64,
    /// What was known of it.
    pub known: Link,
    /// What is known of it now.
    pub link: Link,
    /// Its first message must be read.
    pub must_read: bool,
    /// The host's TCP has it open, and it is no earlier one of the same addresses and ports.
    pub is_open: bool,
    /// The host's TCP has taken what there is to judge of it, and more comes.
    pub goes_on: bool,
}

/// A place for each hash table of buckets, and one among bans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// Of the neighbourhood.
    pub neighbours: Place,
    /// Of the source towards the service.
    pub service: Place,
    /// Of the source.
    pub source: Place,
    /// Of its ban.
    pub ban: Place,
}

impl Places {
    /// The place in a table of sources or neighbourhoods.
    #[inline(always)]
    pub const fn of(&self, table: Table) -> &Place {
        match table {
            Table::Neighbours => &self.neighbours,
            Table::ServiceSources => &self.service,
            _ => &self.source,
        }
    }

    /// The same, to write there.
    #[inline(always)]
    pub const fn of_mut(&mut self, table: Table) -> &mut Place {
        match table {
            Table::Neighbours => &mut self.neighbours,
            Table::ServiceSources => &mut self.service,
            _ => &mut self.source,
        }
    }
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct Role {
    /// The source is trusted: no ban, list or limit holds it.
    pub trusted: bool,
    /// Index of the source's class; 0: everybody else.
    pub class: u32,
    /// Index of the service that the packet is for; 0: none.
    pub service: u32,
    /// Which of [`mode`] holds for the packet: the gateway's, until [`service::find`] knows better.
    pub mode: u32,
    /// Key of the source's bucket where that is not its address's: one that it shares with its neighbourhood, or where sources are
    /// finer ([`crate::finer`]); 0: it is.
    pub bucket: u64,
    /// Which of the service's totals hold the packet: [`crate::abi::STRANGERS`] or [`crate::abi::ALL`].
    pub held_as: u32,
}

/// What all stages share for one packet: one policy, one reading of time.
#[derive(Clone, Copy)]
pub struct Context<'a, E: Env> {
    /// Tables and counters.
    pub env: &'a E,
    /// The policy that held when the packet came.
    pub settings: &'a Settings,
    /// Which one that was.
    pub active: Active,
    /// When it came.
    pub now: Instant,
    /// The CPU's drop cache.
    pub drops: E::Drops,
}

/// Judges a frame, counts it, and says what becomes of it under the mode in force. `drops` is the CPU's drop cache, and `scratch` is as the
/// last frame of the same CPU left it. New ones are as good, and forget drops that were not told yet. `finish` is what to do with the verdict.
#[inline(always)]
pub fn handle<F: Frame, E: Env, R>(
    frame: &F,
    env: &E,
    drops: E::Drops,
    scratch: &mut Scratch,
    finish: impl Fn(Verdict) -> R,
) -> R {
    let active = env.active();
    // Before an answer takes the frame's place.
    let length = frame.length();
    if let Some(now) = env.late_now()
        && let Some((reason, service)) = drop_cache::check(frame, env, active, now, drops, &mut scratch.drops)
    {
        env.count_refused(reason, service, length);
        return finish(Verdict { action: Action::Drop, reason });
    }
    env.read_again(scratch);
    scratch.role.service = 0;
    let verdict = match env.settings(active) {
        None => Reason::Unconfigured.into(),
        Some(settings) if settings.mode == mode::OFF => Reason::Off.into(),
        Some(settings) => {
            scratch.role.mode = settings.mode;
            scratch.clock = env.read_clock(settings.flags & policy::CLOCK_PER_PACKET == 0);
            judge(frame, &Context { env, settings, active, now: scratch.clock.now(), drops }, scratch)
        }
    };
    env.count(verdict.action, verdict.reason, scratch.role.service, length);
    finish(verdict)
}

/// The verdict under a policy that is not off.
#[inline(always)]
fn judge<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Verdict {
    scratch.refused = Refused::NONE;
    let verdict: Verdict = match walk(frame, context, scratch) {
        ControlFlow::Break(reason) => reason.into(),
        ControlFlow::Continue(()) => Reason::Ok.into(),
    };
    match verdict.action {
        Action::Drop if scratch.role.mode == mode::MONITOR => {
            Verdict { action: Action::WouldDrop, ..verdict }
        }
        Action::Drop if scratch.clock.late != 0 && scratch.refused.is_some() && scratch.drops.has_room() => {
            let _ = context.env.apart(Stage::CacheRefusal, frame, context, scratch);
            verdict
        }
        _ => verdict,
    }
}

#[inline(always)]
fn walk<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.clock.late == 0 {
        scratch.drops.begin_tick();
        if scratch.drops.has_to_tell() {
            let _ = context.env.apart(Stage::Settle, frame, context, scratch);
        }
    }
    recognise(frame, context, scratch)?;
    context.env.read_again(scratch);
    let charged = budgets::charge(frame, context, scratch);
    handshake::explain(charged, scratch)?;
    admit(frame, context, scratch)?;
    if scratch.role.trusted { pass(Reason::AllowListed) } else { Step::Continue(()) }
}

/// What is left to do with a packet that is within its limits.
#[inline(always)]
fn admit<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.handshake.is_to_answer {
        context.env.apart(Stage::Answer, frame, context, scratch)?;
        // No cookie: the total is still to be charged.
        context.env.apart(Stage::Total, frame, context, scratch)?;
    }
    let gated = gate(frame, context, scratch);
    if let ControlFlow::Break(reason) = gated {
        budgets::count_drop(context, scratch);
        if refusal::can_be(reason, scratch) {
            context.env.apart(Stage::Refusal, frame, context, scratch)?;
        }
        if strike::can_be(reason, scratch) {
            context.env.apart(Stage::Strike, frame, context, scratch)?;
        }
    }
    gated?;
    if quic::is_to_keep(context, scratch) {
        context.env.apart(Stage::Keep, frame, context, scratch)?;
    }
    Step::Continue(())
}

/// Finds out what a packet is, whose, and what it counts in.
#[inline(always)]
fn recognise<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    parse::network(frame, &mut scratch.network, &mut scratch.packet)?;
    context.env.read_again(scratch);
    lists::check(context, scratch)?;
    context.env.read_again(scratch);
    parse::transport(frame, &scratch.network, &mut scratch.packet)?;
    context.env.read_again(scratch);
    sanity::check(context.settings.flags, scratch)?;
    if essential::concerns(&scratch.packet) {
        context.env.apart(Stage::Essential, frame, context, scratch)?;
    }
    service::find(context.settings, scratch);
    context.env.read_again(scratch);
    if scratch.role.mode == mode::OFF {
        return pass(Reason::Off);
    }
    if handshake::concerns(scratch) && !handshake::is_known(context, scratch) {
        context.env.apart(Stage::Handshake, frame, context, scratch)?;
    }
    if reflection::concerns(context.settings, scratch) {
        context.env.apart(Stage::Reflection, frame, context, scratch)?;
    }
    budgets::bill(scratch);
    if quic::concerns(context.settings, scratch) {
        context.env.apart(Stage::Quic, frame, context, scratch)?;
    }
    budgets::owe(context, scratch);
    Step::Continue(())
}

#[inline(always)]
fn gate<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if !tls::concerns(context.settings, scratch) || tls::is_settled(context, scratch) {
        return Step::Continue(());
    }
    context.env.apart(Stage::Tls, frame, context, scratch)?;
    if scratch.gate.must_read {
        context.env.apart(Stage::Hello, frame, context, scratch)?;
    }
    if fallback::concerns(scratch) {
        context.env.apart(Stage::Fallback, frame, context, scratch)?;
    }
    if scratch.gate.goes_on {
        context.env.apart(Stage::Meet, frame, context, scratch)?;
    }
    Step::Continue(())
}
