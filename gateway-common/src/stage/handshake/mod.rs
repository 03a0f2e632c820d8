//! How connections to this host begin: SYN cookies, and packets that belong to no connection.
//!
//! All of it goes by what the host's own TCP says, and holds for addresses and ports of which it is known that their
//! connections end here: a packet to them was found to belong to a connection of this host's. That a socket listens
//! proves nothing: it takes all addresses, and the packets may go on to a container or another host (destination NAT,
//! forwarding), whose connections nobody here knows. What is learnt so holds for two minutes ([`local_endpoints`]);
//! without it packets go the usual way.
//!
//! A SYN that a cookie answers leaves nothing behind. With the cookie comes the connection's first segment, and the TLS
//! gate takes it from there. Who asks twice has two cookies and can use both, one after the other, so of connections
//! that a cookie made nothing is proven to the gate before no other cookie can be good any more: see [`doubt`].

mod answers;
pub mod state;

use core::ops::ControlFlow;

use crate::{
    abi::{
        HANDSHAKE_ANSWERED, HANDSHAKE_OUT_OF_STATE, HANDSHAKE_SURGE, HANDSHAKE_UNTIL, INTERFACES, Live,
        Service, cookies, mode, policy,
    },
    env::{Context, Env, Found, Socket},
    frame::Frame,
    limit::rate::{Dimension, Instant, Limit, SECOND, bit},
    packet::{Fragment, Packet, flags},
    stage::{
        budgets::state::Share,
        connection_limit,
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    state::{conntrack::ConnState, local_endpoints, services},
    verdict::{Reason, Step, drop},
    wire::{
        eth,
        synack::{NO_SCALE, Terms},
    },
    words::Words,
};

/// Out-of-state packets of a service that pass in a second, so that the kernel resets what a peer still believes in:
/// after a restart, or when a path has changed. Each also counts as a SYN of its source.
const OUT_OF_STATE: Limit = Limit { cost: SECOND / 1_000, burst: SECOND };
/// How long cookies go on to answer once SYNs are no more than [`Service::surge`].
const HOLD: Instant = 10 * SECOND;
/// Longer than a SYN cookie is good for: two minutes (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const COOKIE_LIFE: Instant = 128 * SECOND;
/// How often it is written down that a time has moved on.
const COARSE: Instant = SECOND / 4;

/// Whether this stage has to do with a packet: TCP to a service.
#[inline(always)]
pub const fn concerns(state: &PacketState) -> bool {
    let PacketState { packet, role, .. } = state;
    role.service != 0 && packet.is_tcp() && matches!(packet.fragment, Fragment::Whole)
}

/// Whether the gate knows already that a packet's connection has shown a hello, as it does of most packets.
#[inline(always)]
pub fn is_known<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> bool {
    if state.packet.is_syn() || !context.settings.service(state.role.service).requires_tls() {
        return false;
    }
    state.conn.look_up(context.env, &state.packet);
    state.has_conn = true;
    let known = state.conn.known;
    known.is_proven() || known.is_forwarded()
}

/// Finds out whether a TCP packet to a service begins a connection or belongs to one, of which nothing is known yet.
#[inline(always)]
pub fn check<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if state.packet.is_syn() {
        if connection_limit::concerns(context, state) {
            context.env.call(Subprog::ConnectionLimit, frame, context, state)?;
        }
        return plan::<F, E>(context, state);
    }
    belongs(frame, context, state)
}

/// Decides whether a cookie is to answer a SYN. That costs the service's total nothing, so a forged flood does not use
/// up what all honest clients share; the limits of its source and of the neighbourhood hold for answers too, and those
/// have a budget of their own.
#[inline(always)]
fn plan<F: Frame, E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let service = context.settings.service(state.role.service);
    // Where there is no Ethernet header, no answer can be made of a frame.
    let is_on = F::HAS_ETHERNET
        && match service.cookies {
            cookies::AUTO => is_surge(context, state, service),
            cookies::ALWAYS => true,
            _ => false,
        };
    if !is_on && !service.requires_tls() {
        return Step::Continue(());
    }
    let scale = local_endpoints::find(context, &state.packet, state.role.service);
    state.handshake.is_local = scale.is_some();
    state.handshake.scale = scale.unwrap_or(0);
    // In monitor mode nothing is sent.
    if is_on && state.role.mode == mode::ENFORCE && state.handshake.is_local {
        if !answers::is_left(context, state, service) {
            return drop(Reason::SynUnanswered);
        }
        state.handshake.is_to_answer = true;
        state.budgets.share = Share { total: 0, ..Share::default() };
    }
    Step::Continue(())
}

/// Counts a SYN; whether there are more than the service takes without cookies, or were a moment ago.
#[inline(always)]
fn is_surge<E: Env>(context: &Context<'_, E>, state: &PacketState, service: &Service) -> bool {
    let (Some(words), now) = (services::handshake(context.env, state.role.service), context.now) else {
        return false;
    };
    let (tat, until) = (words.load(HANDSHAKE_SURGE), words.load(HANDSHAKE_UNTIL));
    match service.surge.admit(tat, state.clock, service.surge.cost) {
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
fn belongs<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let is_fresh = state.has_conn && state.conn.known.is_fresh(context.now);
    let _ = context.env.call(Subprog::AskTcp, frame, context, state);
    let asked = state.asked;
    match asked.found {
        Found::Waiting | Found::Listener if asked.has_cookie => Step::Continue(()),
        Found::Connection => {
            local_endpoints::insert(context, &state.packet, state.role.service, asked.scale);
            Step::Continue(())
        }
        Found::Waiting => {
            // Nothing is delivered, unless a SYN is on its way that makes a connection of it.
            state.handshake.is_ended = !is_fresh;
            Step::Continue(())
        }
        Found::NotAsked | Found::Request => Step::Continue(()),
        // What came just before may have made a connection, and not have reached the host's TCP yet: the gate judges
        // it.
        Found::Listener | Found::Nothing if is_fresh => Step::Continue(()),
        Found::Listener | Found::Nothing
            if local_endpoints::find(context, &state.packet, state.role.service).is_none() =>
        {
            Step::Continue(())
        }
        Found::Listener | Found::Nothing => out_of_state(context, state),
    }
}

/// A packet of no connection: there is room for a few.
#[inline(always)]
fn out_of_state<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let reason = match of_kind(&state.packet) {
        Reason::OutOfStateAck | Reason::OutOfStateData
            if state.asked.is_refused() && may_be_out(context, state) =>
        {
            Reason::BadCookie
        }
        reason => reason,
    };
    let Some(words) = services::handshake(context.env, state.role.service) else {
        return drop(reason);
    };
    let tat = words.load(HANDSHAKE_OUT_OF_STATE);
    let Some(next) = OUT_OF_STATE.admit(tat, state.clock, OUT_OF_STATE.cost) else { return drop(reason) };
    if !words.replace(HANDSHAKE_OUT_OF_STATE, tat, next) {
        return drop(reason);
    }
    state.handshake.out_of_state = reason;
    state.budgets.share = Share { more: bit(Dimension::Syn), ..Share::default() };
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
pub fn explain(charged: Step, state: &PacketState) -> Step {
    match charged {
        ControlFlow::Break(Reason::LimitSyn) if state.handshake.is_out_of_state() => {
            drop(state.handshake.out_of_state)
        }
        other => other,
    }
}

/// Asks the host's TCP for a packet's connection, if nobody did yet.
#[inline(always)]
pub fn ask<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if matches!(state.asked.found, Found::NotAsked) {
        // A cookie beside an open connection concerns the TLS gate alone.
        let is_gated = context.settings.service(state.role.service).requires_tls();
        context.env.ask(&state.packet, state.network.transport, is_gated, &mut state.asked);
    }
    Step::Continue(())
}

/// What the host's TCP says of a packet's connection.
#[inline(always)]
pub fn socket<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Socket {
    let _ = context.env.call(Subprog::AskTcp, frame, context, state);
    state.asked.socket()
}

/// Answers a SYN by a cookie. Where the host's TCP makes none for it, the SYN goes the usual way.
#[inline(always)]
pub fn answer<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    state.budgets.share = Share { near: 0, ..Share::default() };
    let PacketState { packet, network, handshake, options, .. } = state;
    let scale = handshake.scale;
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
        scale: if scale == 0 { NO_SCALE } else { scale },
    };
    options.read(frame, network.transport + 20, packet.payload);
    context.env.barrier(state);
    let PacketState { packet, options, handshake, .. } = state;
    handshake.answer.write(packet, options, &terms);
    context.env.barrier(state);
    replace(frame, context, state)?;
    context.env.barrier(state);
    if !context.env.reply(at, &state.handshake.answer) {
        return Step::Continue(());
    }
    ControlFlow::Break(Reason::SynCookie)
}

/// The maximum segment size that this host takes by the interface that a SYN came in by; where it is not known, what
/// every host takes (RFC 9293 section 3.7.1).
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
/// addresses and ports must not be taken for the new one's, and while the host's TCP may be about to make that there is
/// no new one.
#[inline(always)]
fn replace<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if let Some(words) = services::handshake(context.env, state.role.service) {
        answers::count(context, state, words);
        touch(words, HANDSHAKE_ANSWERED, words.load(HANDSHAKE_ANSWERED), context.now);
    }
    if !context.settings.service(state.role.service).requires_tls() {
        return Step::Continue(());
    }
    state.conn.look_up(context.env, &state.packet);
    state.has_conn = true;
    let (known, base) = (state.conn.known, state.packet.sequence.wrapping_add(1));
    if known.is_unknown() {
        return Step::Continue(());
    }
    if known.has_begun(context.now) {
        return if known.base == base { Step::Continue(()) } else { drop(Reason::TcpSequence) };
    }
    state.conn.next = known.followed_by(base, context.now);
    let _ = context.env.call(Subprog::InsertConn, frame, context, state);
    Step::Continue(())
}

/// A segment brought back a SYN cookie, be it the gateway's or the host's own: others may be out.
#[inline(always)]
pub fn cookie_came<E: Env>(context: &Context<'_, E>, state: &PacketState) {
    if let Some(words) = services::handshake(context.env, state.role.service) {
        touch(words, HANDSHAKE_ANSWERED, words.load(HANDSHAKE_ANSWERED), context.now);
    }
}

/// Whether cookies may be out for connections to the packet's service.
#[inline(always)]
pub fn may_be_out<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    services::handshake(context.env, state.role.service).is_some_and(|words| {
        let answered = words.load(HANDSHAKE_ANSWERED);
        // Another CPU's clock may be ahead.
        answered != 0 && (context.now.wrapping_sub(answered) as i64) < COOKIE_LIFE as i64
    })
}

/// Whether a cookie may make another connection of the packet's addresses and ports than the one that is known, or that
/// the host's TCP has.
#[inline(always)]
pub fn is_doubted<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    let known = state.conn.known;
    known.is_doubtful(context.now) || (known.is_unknown() && may_be_out(context, state))
}

/// A connection that a cookie may have made, as the TLS gate shall know it.
#[inline(always)]
pub fn doubt<E: Env>(context: &Context<'_, E>, state: &PacketState, link: ConnState) -> ConnState {
    if may_be_out(context, state) { link.in_doubt() } else { link }
}

/// Moves a time on, but not at every packet: other CPUs read the cache line.
#[inline(always)]
fn touch<W: Words>(words: W, word: usize, old: Instant, new: Instant) {
    if old == 0 || new.wrapping_sub(old) > COARSE {
        words.store(word, new | 1);
    }
}
