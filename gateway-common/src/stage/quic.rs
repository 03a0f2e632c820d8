//! The QUIC gate: a datagram to a service that requires QUIC must have a header that a QUIC client can have sent. The
//! flow of a Handshake or 0-RTT packet must be known.
//!
//! It stands before the budgets, since it says in what a datagram counts. One that opens a connection counts for the
//! service's limit of `initial`. A short header of an unknown flow (an address that changed, RFC 9000 section 9, or a
//! connection from before the gateway) counts for that of `migration`.

use crate::{
    abi::{Settings, gate},
    env::{Context, Env},
    frame::Frame,
    limit::rate::{Dimension, bit},
    packet::Fragment,
    stage::packet_state::PacketState,
    state::{
        conntrack,
        quic_flows::{self, Datagram},
    },
    verdict::{Reason, Step, drop},
    wire::quic::{self, Kind},
};

/// Whether a packet is for a service that requires QUIC. If not, there is nothing to do after it has passed either.
#[inline(always)]
pub fn concerns(settings: &Settings, state: &PacketState) -> bool {
    state.packet.is_udp() && settings.service(state.role.service).gate == gate::QUIC
}

/// Judges a datagram to a service that requires QUIC.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, datagram, budgets, .. } = state;
    if !matches!(packet.fragment, Fragment::Whole) {
        return drop(Reason::GatedFragment);
    }
    let identity = conntrack::identity(context.env, packet);
    let known = quic_flows::find(context.env, identity);
    let kind = quic::read(frame, packet.payload, packet.payload_length, known.is_known)?;
    let opens = match kind {
        Kind::Initial | Kind::Foreign => bit(Dimension::Initial),
        Kind::Handshake if !known.is_known => return drop(Reason::QuicNoInitial),
        Kind::Short if !known.is_known => bit(Dimension::Migration),
        Kind::Handshake | Kind::Short => 0,
    };
    budgets.cost.mask |= opens;
    *datagram = Datagram { identity, known, goes_on: matches!(kind, Kind::Handshake | Kind::Short) };
    Step::Continue(())
}

/// Whether it must be written down that the datagram has passed.
#[inline(always)]
pub const fn is_to_keep<E: Env>(context: &Context<'_, E>, state: &PacketState) -> bool {
    let Datagram { identity, known, goes_on } = state.datagram;
    identity != 0 && known.is_worth_keeping(goes_on, context.now)
}

/// Writes it down.
#[inline(always)]
pub fn keep<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    quic_flows::keep(context.env, &state.datagram, context.now, &mut state.victim);
    Step::Continue(())
}
