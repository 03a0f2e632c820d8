//! Strikes: drops that are a source's own doing, even if others forge its address.
//!
//! A strike is a segment that the gate refused for its content, of a connection whose handshake the host's TCP has
//! completed, at a sequence number near the stream's start. Its sender has answered our SYN-ACK from that address, or
//! would have to guess the port and the sequence number. A connection is one strike, however often TCP repeats the
//! refused bytes: otherwise a page with images from such an address would have its readers banned. Nothing else is a
//! strike. Forged packets can cause every other drop under anybody's address, drops for a limit too: they use up the
//! limit of an honest source.
//!
//! So a source has an entry in the table only once it has proved itself, and forged sources evict nobody.

use crate::{
    env::Context,
    frame::Frame,
    stage::{
        budgets,
        packet_state::PacketState,
        subprog::{Program, Subprog},
        tls::touches,
    },
    state::{conntrack::Conn, strikes},
    verdict::{Reason, Step},
};

/// How far behind the stream's start a strike can lie: longer than any first message.
const SPAN: u32 = 1 << 16;
/// Whether a drop by the gate may be a strike, as far as it is known without the host's TCP.
#[inline(always)]
pub const fn can_be(reason: Reason, state: &PacketState) -> bool {
    reason.refuses_opening()
        && state.gate.is_open()
        && !state.role.trusted
        && touches(&state.packet, state.conn.next.base, SPAN)
        && !state.conn.known.is_struck(state.conn.next.base)
}

/// Counts a strike, if the handshake of the packet's connection is complete.
#[inline(always)]
pub fn count<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    // A ban also drops packets for other services, so a service or class that is only tried in monitor mode makes no
    // strike.
    if state.role.mode != context.settings.mode {
        return Step::Continue(());
    }
    let env = context.env;
    if env.is_established(&state.packet) {
        let source = budgets::source(context.settings, state);
        strikes::add(env, source, context.now, &mut state.victim);
        env.call(Subprog::MarkStruck, frame, context, state)?;
    }
    Step::Continue(())
}

/// Writes down that a strike was counted for the connection: in the state that the gate has just written, or in the one
/// before. If the connection has no entry any more, its next refusal is another strike.
#[inline(always)]
pub fn write_down<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
) -> Step {
    let Conn { known, next, .. } = state.conn;
    for before in [next, known] {
        state.conn.known = before;
        state.conn.next = before.struck();
        context.env.call(Subprog::UpdateConn, frame, context, state)?;
    }
    Step::Continue(())
}
