//! The packet path: from frame to verdict.
//!
//! ```text
//! frame ─┬─ drop cache   the source was refused a moment ago: drops the frame unparsed
//!        ├─ mode         passes the frame while the gateway's mode is "off"
//!        ├─ parse        Ethernet, VLAN, IP: drops malformed headers, passes what is not IP
//!        ├─ lists        drops banned and block-listed sources; a trusted source meets no limit
//!        ├─ parse        TCP, UDP, ICMP: drops malformed headers
//!        ├─ sanity       drops sources that no host has, and TCP flags that no TCP sends
//!        ├─ essential    passes link control and path-MTU messages, within bounds
//!        ├─ service      finds the service and its mode by protocol, port and address; passes in mode "off"
//!        ├─ handshake    limits open connections, plans SYN cookies, drops out-of-state packets
//!        ├─ reflection   drops answers and ICMP errors that this host did not ask for
//!        ├─ quic         drops what is not QUIC, to a service that requires QUIC
//!        ├─ budgets      checks all, then charges all: total, neighbourhood, source; passes own traffic
//!        ├─ handshake    answers the SYN with the planned cookie
//!        ├─ tls          drops what does not start with a ClientHello, to a service that requires TLS
//!        ├─ hello        reads on: PROXY header, TLS version, server name
//!        ├─ fallback     turns Multipath TCP into TCP, to a service that requires TLS
//!        └─ pass         to the kernel and its sockets
//! ```
//!
//! [`handle`] looks the frame up in the drop cache, then reads policy and clock. `recognise` runs the stages from
//! parse to quic, `walk` adds the budgets, `admit` all that follows, and `gate` the part of it that is for TLS.
//! `judge` turns a drop into a pass in monitor mode, shows user space some drops, and may put one into the drop cache.
//!
//! What a stage finds out goes through [`PacketState`]. The kernel keeps that in map memory, whose contents the
//! verifier does not track: so it checks each stage once, and not once for every path through the stages before. Code
//! that few packets run is a subprogram ([`Program::call`]); all other code is inlined, since every call costs a
//! return.

mod subprog;

use core::ops::ControlFlow;

use crate::{
    abi::{mode, policy},
    env::{Clock, Context, Sampled},
    frame::Frame,
    stage::{
        budgets, connection_reset, essential, handshake, lists, mptcp_fallback,
        packet_state::PacketState,
        parse, quic, reflection, sanity, service, strike,
        subprog::{Program, Subprog},
        tls,
    },
    state::drop_cache,
    verdict::{Action, Reason, Step, Verdict, pass},
};

/// Judges a frame, counts it, and says what becomes of it under the mode in force.
///
/// `clock` and `drops` are the CPU's clock and drop cache, and `state` is as the last frame of the same CPU left it.
/// New ones are as good, and forget drops that were not told yet.
#[inline(always)]
pub fn handle<F: Frame, E: Program>(
    frame: &F,
    env: &E,
    clock: &mut impl Clock,
    drops: E::Drops,
    state: &mut PacketState,
) -> Verdict {
    let active = env.active();
    // Before an answer takes the frame's place.
    let length = frame.length();
    if let Some(now) = clock.late()
        && let Some((reason, service)) =
            drop_cache::check(frame, env, active, now, drops, &mut state.cpu.drops)
    {
        env.count_refused(reason, service, length);
        return Verdict { action: Action::Drop, reason };
    }
    env.barrier(state);
    state.role.service = 0;
    let verdict = match env.settings(active) {
        None => Reason::Unconfigured.into(),
        Some(settings) if settings.mode == mode::OFF => Reason::Off.into(),
        Some(settings) => {
            state.begin(settings.mode, clock.read(settings.flags & policy::CLOCK_PER_PACKET == 0));
            judge(frame, &Context { env, settings, active, now: state.clock.now(), drops }, state)
        }
    };
    env.count(verdict.action, verdict.reason, state.role.service, length);
    verdict
}

/// The verdict under a policy that is not off.
#[inline(always)]
fn judge<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Verdict {
    let verdict: Verdict = match walk(frame, context, state) {
        ControlFlow::Break(reason) => reason.into(),
        ControlFlow::Continue(()) => Reason::Ok.into(),
    };
    if !matches!(verdict.action, Action::Drop) {
        return verdict;
    }
    let is_monitored = state.role.mode == mode::MONITOR;
    let verdict = if is_monitored { Verdict { action: Action::WouldDrop, ..verdict } } else { verdict };
    sample(frame, context, state, verdict);
    if !is_monitored && state.clock.late != 0 && state.budgets.is_refused() && state.cpu.drops.has_room() {
        let _ = context.env.call(Subprog::CacheDrop, frame, context, state);
    }
    verdict
}

/// Shows user space a drop, if its reason may be shown again.
#[inline(always)]
fn sample<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
    verdict: Verdict,
) {
    // One path for the verifier whatever the reason.
    let reason = E::barrier_var(verdict.reason as u64);
    if state.cpu.samples.takes(reason as usize, context.now) {
        state.sampled = Sampled {
            at: context.now,
            action: verdict.action as u32,
            reason: reason as u32,
            service: state.role.service,
        };
        let _ = context.env.call(Subprog::SampleDrop, frame, context, state);
    }
}

#[inline(always)]
fn walk<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    // Hidden from the verifier, which would follow all later code for both.
    if E::barrier_var(state.clock.late) == 0 {
        state.cpu.drops.begin_tick();
        if state.cpu.drops.has_to_tell() {
            let _ = context.env.call(Subprog::SettleDrops, frame, context, state);
        }
    }
    recognise(frame, context, state)?;
    context.env.barrier(state);
    let charged = budgets::charge(frame, context, state);
    handshake::explain(charged, state)?;
    admit(frame, context, state)?;
    if state.role.trusted { pass(Reason::AllowListed) } else { Step::Continue(()) }
}

/// What is left to do with a packet that is within its limits.
#[inline(always)]
fn admit<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if state.handshake.is_to_answer() {
        context.env.call(Subprog::AnswerSyn, frame, context, state)?;
        // No cookie: the total is still to be charged.
        context.env.call(Subprog::ChargeTotal, frame, context, state)?;
    }
    let gated = gate(frame, context, state);
    if let ControlFlow::Break(reason) = gated {
        budgets::count_drop(context, state);
        if connection_reset::can_be(reason, state) {
            context.env.call(Subprog::ResetConnection, frame, context, state)?;
        }
        if strike::can_be(reason, state) {
            context.env.call(Subprog::CountStrike, frame, context, state)?;
        }
    }
    gated?;
    if quic::is_to_keep(context, state) {
        context.env.call(Subprog::KeepQuicFlow, frame, context, state)?;
    }
    Step::Continue(())
}

/// Finds out what a packet is, whose, and what it counts in.
#[inline(always)]
fn recognise<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    parse::network(frame, &mut state.network, &mut state.packet)?;
    context.env.barrier(state);
    lists::check(context, state)?;
    context.env.barrier(state);
    parse::transport(frame, &state.network, &mut state.packet)?;
    context.env.barrier(state);
    sanity::check(context.settings.flags, state)?;
    if essential::concerns(&state.packet) {
        context.env.call(Subprog::Essential, frame, context, state)?;
    }
    service::find(context.settings, state);
    context.env.barrier(state);
    if state.role.mode == mode::OFF {
        return pass(Reason::Off);
    }
    if handshake::concerns(state) && !handshake::is_known(context, state) {
        context.env.call(Subprog::Handshake, frame, context, state)?;
    }
    if reflection::concerns(context.settings, state) {
        context.env.call(Subprog::Reflection, frame, context, state)?;
    }
    budgets::cost(state);
    if quic::concerns(context.settings, state) {
        context.env.call(Subprog::Quic, frame, context, state)?;
    }
    budgets::assign_masks(context, state);
    Step::Continue(())
}

#[inline(always)]
fn gate<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if !tls::concerns(context.settings, state) || tls::is_settled(context, state) {
        return Step::Continue(());
    }
    context.env.call(Subprog::Tls, frame, context, state)?;
    if state.gate.must_read() {
        context.env.call(Subprog::Hello, frame, context, state)?;
    }
    if mptcp_fallback::concerns(state) {
        context.env.call(Subprog::MptcpFallback, frame, context, state)?;
    }
    if state.gate.goes_on() {
        context.env.call(Subprog::InsertClient, frame, context, state)?;
    }
    Step::Continue(())
}
