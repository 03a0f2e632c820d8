//! Multipath TCP falls back to TCP on the way to a service that requires TLS.
//!
//! The gate judges the start of a stream by TCP's sequence numbers. A listener that speaks Multipath TCP too, as
//! servers in Go do by default, has its application read by other numbers. So options that begin such a connection are
//! turned into unknown ones where a connection begins: in a SYN, and in the segment that brings a SYN cookie back,
//! where Linux takes them without having seen one in the SYN (`mptcp_subflow_init_cookie_req` in net/mptcp/subflow.c).

use crate::{
    abi::mode,
    env::{Context, Env, Found},
    frame::Frame,
    stage::packet_state::PacketState,
    verdict::{Reason, Step, drop},
    wire::{multipath::Search, tcp},
};

/// Whether a packet to a service that requires TLS can begin a connection, and has TCP options.
#[inline(always)]
pub fn concerns(state: &PacketState) -> bool {
    let PacketState { packet, network, asked, .. } = state;
    let has_cookie = !matches!(asked.found, Found::NotAsked) && asked.has_cookie;
    (packet.is_syn() || has_cookie) && packet.payload > network.transport + tcp::HEADER_MIN
}

/// Turns the options into unknown ones. No honest client has two of them in one segment.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, network, options, .. } = state;
    let (start, end) = (network.transport + tcp::HEADER_MIN, packet.payload);
    // Most packets need no search.
    if options.read_usual(frame, start, end) {
        return Step::Continue(());
    }
    let mut search = Search::new(start, end);
    let Some(changes) = search.next(frame) else { return Step::Continue(()) };
    if search.next(frame).is_some() {
        return drop(Reason::TcpMalformed);
    }
    if state.role.mode == mode::ENFORCE {
        context.env.change(changes);
    }
    Step::Continue(())
}
