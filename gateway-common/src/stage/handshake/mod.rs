//! How connections to this host begin: SYN cookies, and packets that belong to no connection.
//!
//! All of it goes by what the host's own TCP says, and holds for addresses and ports of which it is known that their
//! connections end here: a packet to them was found to belong to a connection of this host's. That a socket listens proves
//! nothing: it takes all addresses, and the packets may go on to a container or another host (destination NAT, forwarding),
//! whose connections nobody here knows. What is learnt so holds for two minutes ([`ends`]); without it packets go the usual way.
//!
//! A SYN that a cookie answers leaves nothing behind. With the cookie comes the connection's first segment, and the TLS gate
//! takes it from there. Who asks twice has two cookies and can use both, one after the other, so of connections that a cookie
//! made nothing is proven to the gate before no other cookie can be good any more: see [`doubt`].

mod answers;
mod ends;

use core::ops::ControlFlow;

use ends::{ends_here, learn};

use crate::{
    abi::{
        HANDSHAKE_ANSWERED, HANDSHAKE_SLOT, HANDSHAKE_STRAYS, HANDSHAKE_SURGE, HANDSHAKE_UNTIL, INTERFACES,
        Live, Service, cookies, mode, policy,
    },
    connection::{self, Link},
    env::{Env, Found, Slots, Socket, Table, Words},
    frame::Frame,
    packet::{Fragment, Packet, flags},
    pipeline::{Context, Scratch, Stage},
    rate::{Dimension, Instant, Limit, SECOND},
    stage::{
        connections,
        service::{self, requires_tls},
    },
    table::{Mask, bit},
    verdict::{Reason, Step, drop},
    wire::{
        eth,
        synack::{NO_SCALE, Terms},
    },
};

/// Out-of-state packets of a service that pass in a second, so that the kernel resets what a peer still believes in: after a
/// restart, or when a path has changed. Each also counts as a SYN of its source.
const STRAYS: Limit = Limit { cost: SECOND / 1_000, burst: SECOND };
/// How long cookies go on to answer once SYNs are no more than [`Service::surge`].
const HOLD: Instant = 10 * SECOND;
/// Longer than a SYN cookie is good for: two minutes (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const COOKIE_LIFE: Instant = 128 * SECOND;
/// How often it is written down that a time has moved on.
const COARSE: Instant = SECOND / 4;

/// What this stage finds out about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Findings {
    /// Which budgets it is held to.
    pub share: Share,
    /// A SYN cookie is to answer it.
    pub is_to_answer: bool,
    /// Its connection is in TIME-WAIT.
    pub is_ended: bool,
    /// [`Scratch::gate`] is filled in.
    pub is_identified: bool,
    /// Why it would be dropped, were there no room for some of its kind; [`Reason::Ok`]: it would not.
    pub stray: Reason,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            share: Share::default(),
            is_to_answer: false,
            is_ended: false,
            is_identified: false,
            stray: Reason::Ok,
        }
    }
}

impl Findings {
    /// Whether the packet belongs to no connection, and passes nevertheless.
    #[inline(always)]
    pub const fn is_stray(&self) -> bool {
        self.stray as u8 != Reason::Ok as u8
    }

    /// Whether no application reads what is in the packet: the host's TCP answers it, with a reset or for an old connection.
    #[inline(always)]
    pub const fn is_unread(&self) -> bool {
        self.is_ended || self.is_stray()
    }
}

/// Which budgets hold a packet, as sets of dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Of the service's total.
    pub total: Mask,
    /// Of the neighbourhood and of the source.
    pub near: Mask,
    /// What it counts in beside what it is, of the source's own.
    pub more: Mask,
}

impl Default for Share {
    fn default() -> Self {
        Self { total: Mask::MAX, near: Mask::MAX, more: 0 }
    }
}

/// Whether this stage has to do with a packet: TCP to a service.
#[inline(always)]
pub fn concerns(scratch: &mut Scratch) -> bool {
    scratch.handshake = Findings::default();
    scratch.asked.found = Found::NotAsked;
    let Scratch { packet, role, .. } = &*scratch;
    role.service != 0 && packet.is_tcp() && matches!(packet.fragment, Fragment::Whole)
}

/// Whether the gate knows already that a packet's connection has shown a hello, as it does of most packets.
#[inline(always)]
pub fn is_known<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> bool {
    if scratch.packet.is_syn() || !requires_tls(service::at(context.settings, scratch.role.service)) {
        return false;
    }
    scratch.gate = connection::gate(context.env, &scratch.packet);
    scratch.handshake.is_identified = true;
    let known = scratch.gate.known;
    known.is_proven() || known.is_forwarded()
}

/// Finds out whether a TCP packet to a service begins a connection or belongs to one, of which nothing is known yet.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if scratch.packet.is_syn() {
        if connections::concerns(context, scratch) {
            context.env.apart(Stage::Connections, frame, context, scratch)?;
        }
        return plan::<F, E>(context, scratch);
    }
    belongs(frame, context, scratch)
}

/// Decides whether a cookie is to answer a SYN. That costs the service's total nothing, so a forged flood does not use up what
/// all honest clients share; the limits of its source and of the neighbourhood hold for answers too, and those have a
/// budget of their own.
#[inline(always)]
fn plan<F: Frame, E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let service = service::at(context.settings, scratch.role.service);
    // Where there is no Ethernet header, no answer can be made of a frame.
    let is_on = F::HAS_ETHERNET
        && match service.cookies {
            cookies::AUTO => is_surge(context, scratch, service),
            cookies::ALWAYS => true,
            _ => false,
        };
    if !is_on && !requires_tls(service) {
        return Step::Continue(());
    }
    let scale = ends_here(context, scratch);
    scratch.is_local = scale.is_some();
    scratch.scale = scale.unwrap_or(0);
    // In monitor mode nothing is sent.
    if is_on && scratch.role.mode == mode::ENFORCE && scratch.is_local {
        if !answers::is_left(context, scratch, service) {
            return drop(Reason::SynUnanswered);
        }
        scratch.handshake.is_to_answer = true;
        scratch.handshake.share = Share { total: 0, ..Share::default() };
    }
    Step::Continue(())
}

/// Counts a SYN; whether there are more than the service takes without cookies, or were a moment ago.
#[inline(always)]
fn is_surge<E: Env>(context: &Context<'_, E>, scratch: &Scratch, service: &Service) -> bool {
    let (Some(words), now) = (words(context, scratch), context.now) else { return false };
    let (tat, until) = (words.load(HANDSHAKE_SURGE), words.load(HANDSHAKE_UNTIL));
    match service.surge.admit(tat, scratch.clock, service.surge.cost) {
        Some(next) => {
            // One that another CPU counted in the same moment is lost; in a flood there are enough.
            words.replace(HANDSHAKE_SURGE, tat, next);
            Live::holds(until, now)
        }
        None => {
            touch(words, HANDSHAKE_UNTIL, until, now.wrapping_add(HOLD));
            true
        }
    }
}

/// Looks whether a packet that is no SYN belongs to a connection.
#[inline(always)]
fn belongs<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let is_fresh = scratch.handshake.is_identified && scratch.gate.known.is_fresh(context.now);
    let _ = context.env.apart(Stage::Ask, frame, context, scratch);
    let asked = scratch.asked;
    match asked.found {
        Found::Waiting | Found::Listener if asked.has_cookie => Step::Continue(()),
        Found::Connection => {
            learn(context, scratch, asked.scale);
            Step::Continue(())
        }
        Found::Waiting => {
            // Nothing is delivered, unless a SYN is on its way that makes a connection of it.
            scratch.handshake.is_ended = !is_fresh;
            Step::Continue(())
        }
        Found::NotAsked | Found::Request => Step::Continue(()),
        // What came just before may have made a connection, and not have reached the host's TCP yet: the gate judges it.
        Found::Listener | Found::Nothing if is_fresh => Step::Continue(()),
        Found::Listener | Found::Nothing if ends_here(context, scratch).is_none() => Step::Continue(()),
        Found::Listener | Found::Nothing => stray(context, scratch),
    }
}

/// A packet of no connection: there is room for a few.
#[inline(always)]
fn stray<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let reason = match of_kind(&scratch.packet) {
        Reason::OutOfStateAck | Reason::OutOfStateData
            if scratch.asked.is_refused() && may_be_out(context, scratch) =>
        {
            Reason::BadCookie
        }
        reason => reason,
    };
    let Some(words) = words(context, scratch) else { return drop(reason) };
    let tat = words.load(HANDSHAKE_STRAYS);
    let Some(next) = STRAYS.admit(tat, scratch.clock, STRAYS.cost) else { return drop(reason) };
    if !words.replace(HANDSHAKE_STRAYS, tat, next) {
        return drop(reason);
    }
    scratch.handshake.stray = reason;
    scratch.handshake.share = Share { more: bit(Dimension::Syn), ..Share::default() };
    Step::Continue(())
}

/// The reason for a packet of no connection that is no SYN.
#[inline(always)]
const fn of_kind(packet: &Packet) -> Reason {
    if packet.tcp_flags & flags::SYN != 0 {
        Reason::OutOfStateSynAck
    } else if packet.tcp_flags & flags::RST != 0 {
        Reason::OutOfStateRst
    } else if packet.tcp_flags & flags::FIN != 0 {
        Reason::OutOfStateFin
    } else if packet.payload_length != 0 {
        Reason::OutOfStateData
    } else {
        Reason::OutOfStateAck
    }
}

/// The answer of the budgets, with the reason of its own for a packet of no connection that found no room.
#[inline(always)]
pub fn explain(charged: Step, scratch: &Scratch) -> Step {
    match charged {
        ControlFlow::Break(Reason::LimitSyn) if scratch.handshake.is_stray() => drop(scratch.handshake.stray),
        other => other,
    }
}

/// Asks the host's TCP for a packet's connection, if nobody did yet.
#[inline(always)]
pub fn ask<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if matches!(scratch.asked.found, Found::NotAsked) {
        context.env.ask(&scratch.packet, scratch.network.transport, &mut scratch.asked);
    }
    Step::Continue(())
}

/// What the host's TCP says of a packet's connection.
#[inline(always)]
pub fn socket<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Socket {
    let _ = context.env.apart(Stage::Ask, frame, context, scratch);
    scratch.asked.socket()
}

/// Answers a SYN by a cookie. Where the host's TCP makes none for it, the SYN goes the usual way.
#[inline(always)]
pub fn answer<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    scratch.handshake.share = Share { near: 0, ..Share::default() };
    let Scratch { packet, network, scale, options, .. } = scratch;
    let Some(cookie) = context.env.syn_cookie(packet, network.transport) else {
        return Step::Continue(());
    };
    let Step::Continue((_, at)) = eth::network(frame) else { return Step::Continue(()) };
    let is_told = |bit| context.settings.flags & bit != 0;
    let terms = Terms {
        cookie,
        mss: segment(context, packet.ipv6),
        clock: context.env.tcp_clock(context.now),
        keeps: is_told(policy::COOKIE_OPTIONS),
        sack: is_told(policy::SACK),
        scale: if *scale == 0 { NO_SCALE } else { *scale },
    };
    options.read(frame, network.transport + 20, packet.payload);
    context.env.read_again(scratch);
    let Scratch { packet, options, answer, .. } = scratch;
    answer.write(packet, options, &terms);
    context.env.read_again(scratch);
    replace(frame, context, scratch)?;
    context.env.read_again(scratch);
    if !context.env.reply(at, &scratch.answer) {
        return Step::Continue(());
    }
    ControlFlow::Break(Reason::SynCookie)
}

/// The maximum segment size that this host takes by the interface that a SYN came in by; where it is not known, what every host takes (RFC
/// 9293 section 3.7.1).
#[inline(always)]
fn segment<E: Env>(context: &Context<'_, E>, ipv6: bool) -> u16 {
    // The mask is for the verifier: rows are below the number of interfaces.
    let [v4, v6] = context.settings.segments[context.env.interface() as usize & (INTERFACES - 1)];
    match (ipv6, v4, v6) {
        (false, 0, _) => 536,
        (true, _, 0) => 1_220,
        (false, v4, _) => v4,
        (true, _, v6) => v6,
    }
}

/// Writes down that a cookie is out. It is no state of a source's; but what is known of an older connection of the same
/// addresses and ports must not be taken for the new one's, and while the host's TCP may be about to make that there is no new one.
#[inline(always)]
fn replace<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    if let Some(words) = words(context, scratch) {
        answers::count(context, scratch, words);
        touch(words, HANDSHAKE_ANSWERED, words.load(HANDSHAKE_ANSWERED), context.now);
    }
    if !requires_tls(service::at(context.settings, scratch.role.service)) {
        return Step::Continue(());
    }
    scratch.gate = connection::gate(context.env, &scratch.packet);
    scratch.handshake.is_identified = true;
    let (known, base) = (scratch.gate.known, scratch.packet.sequence.wrapping_add(1));
    if known.is_unknown() {
        return Step::Continue(());
    }
    if known.has_begun(context.now) {
        return if known.base == base { Step::Continue(()) } else { drop(Reason::TcpSequence) };
    }
    scratch.gate.link = known.followed_by(base, context.now);
    let _ = context.env.apart(Stage::Remember, frame, context, scratch);
    Step::Continue(())
}

/// A segment brought back a SYN cookie, be it the gateway's or the host's own: others may be out.
#[inline(always)]
pub fn cookie_came<E: Env>(context: &Context<'_, E>, scratch: &Scratch) {
    if let Some(words) = words(context, scratch) {
        touch(words, HANDSHAKE_ANSWERED, words.load(HANDSHAKE_ANSWERED), context.now);
    }
}

/// Whether cookies may be out for connections to the packet's service.
#[inline(always)]
pub fn may_be_out<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> bool {
    words(context, scratch).is_some_and(|words| {
        let answered = words.load(HANDSHAKE_ANSWERED);
        // Another CPU's clock may be ahead.
        answered != 0 && (context.now.wrapping_sub(answered) as i64) < COOKIE_LIFE as i64
    })
}

/// Whether a cookie may make another connection of the packet's addresses and ports than the one that is known, or that the host's TCP
/// has.
#[inline(always)]
pub fn is_doubted<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> bool {
    let known = scratch.gate.known;
    known.is_doubtful(context.now) || (known.is_unknown() && may_be_out(context, scratch))
}

/// A connection that a cookie may have made, as the TLS gate shall know it.
#[inline(always)]
pub fn doubt<E: Env>(context: &Context<'_, E>, scratch: &Scratch, link: Link) -> Link {
    if may_be_out(context, scratch) { link.in_doubt() } else { link }
}

type WordsOf<E> = <<E as Env>::Buckets as Slots>::Slot;

/// What the packet's service keeps for this stage.
#[inline(always)]
pub(super) fn words<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> Option<WordsOf<E>> {
    let set = context.env.buckets(Table::Totals, scratch.role.service)?;
    Some(set.slot(HANDSHAKE_SLOT))
}

/// Moves a time on, but not at every packet: other CPUs read the cache line.
#[inline(always)]
fn touch<W: Words>(words: W, word: usize, old: Instant, new: Instant) {
    if old == 0 || new.wrapping_sub(old) > COARSE {
        words.store(word, new | 1);
    }
}
