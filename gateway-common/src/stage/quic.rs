//! The QUIC gate: to a service that requires QUIC come datagrams whose header a QUIC client can have sent, and of those that
//! do not open a connection only from who has opened one.
//!
//! It stands before the budgets, since what a datagram is for says in what it counts: who opens a connection is held to the
//! service's limit of `initial`, and who sends a short header without having opened one (an address that changed, RFC 9000
//! section 9, or a connection from before the gateway) to that of `migration`.

use crate::{
    abi::{Settings, gate},
    connection,
    env::Env,
    frame::Frame,
    packet::Fragment,
    pipeline::{Context, Scratch},
    rate::Dimension,
    stage::service,
    table::bit,
    tuples::{self, Tuple},
    verdict::{Reason, Step, drop},
    wire::quic::{self, Kind},
};

/// What the gate found out about a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Datagram {
    /// The tuple's fingerprint; 0: no business of this gate.
    identity: u64,
    known: Tuple,
    /// It is more than an Initial.
    goes_on: bool,
}

/// Whether a packet is for a service that requires QUIC; if not, there is nothing to do after it has passed either.
#[inline(always)]
pub fn concerns(settings: &Settings, scratch: &mut Scratch) -> bool {
    scratch.datagram.identity = 0;
    scratch.packet.is_udp() && service::at(settings, scratch.role.service).gate == gate::QUIC
}

/// Judges a datagram to a service that requires QUIC.
#[inline(always)]
pub fn check<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Scratch { packet, datagram, bill, .. } = scratch;
    if !matches!(packet.fragment, Fragment::Whole) {
        return drop(Reason::GatedFragment);
    }
    let identity = connection::identity(context.env, packet);
    let known = tuples::find(context.env, identity);
    let kind = quic::read(frame, packet.payload, packet.payload_length, known.is_known)?;
    let opens = match kind {
        Kind::Initial | Kind::Foreign => bit(Dimension::Initial),
        Kind::Handshake if !known.is_known => return drop(Reason::QuicNoInitial),
        Kind::Short if !known.is_known => bit(Dimension::Migration),
        Kind::Handshake | Kind::Short => 0,
    };
    bill.mask |= opens;
    *datagram = Datagram { identity, known, goes_on: matches!(kind, Kind::Handshake | Kind::Short) };
    Step::Continue(())
}

/// Whether it is to be written down that the datagram has passed.
#[inline(always)]
pub const fn is_to_keep<E: Env>(context: &Context<'_, E>, scratch: &Scratch) -> bool {
    let Datagram { identity, known, goes_on } = scratch.datagram;
    identity != 0 && known.is_worth_keeping(goes_on, context.now)
}

/// Writes it down.
#[inline(always)]
pub fn keep<E: Env>(context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
    let Datagram { identity, known, goes_on } = scratch.datagram;
    tuples::keep(context.env, identity, known, goes_on, context.now, &mut scratch.choice);
    Step::Continue(())
}
