//! Strikes: drops that are a source's own doing, whoever else sends under its address.
//!
//! A strike is a segment that the gate refused for what it says, of a connection whose handshake the host's TCP has
//! completed, at a sequence number near the stream's start. Who sends it has answered our SYN-ACK from that address, and
//! who has not would have to guess the port and the sequence number. A connection is one strike, however often TCP sends again what was
//! refused: else a page with images of such an address would have its readers banned. Nothing else is one: forged packets can bring about
//! every other drop under anybody's address, drops for a limit too, because they use up the limit of who is honest.
//!
//! So a source has an entry in the table only once it has proved itself, and forged sources push nobody out.

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
/// Whether a drop by the gate may be a strike: what the host's TCP must still be asked.
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
    // A ban drops what is for other services, too: what one only tries to drop makes none.
    if state.role.mode != context.settings.mode {
        return Step::Continue(());
    }
    let env = context.env;
    if env.is_established(&state.packet) {
        let source = budgets::source(context.settings, state);
        strikes::add(env, source, context.now, &mut state.victim);
        env.call(Subprog::StrikeNote, frame, context, state)?;
    }
    Step::Continue(())
}

/// Writes down that a strike was counted for the connection: in what the gate has just written of it, or what it knew before. Of a
/// connection that has no entry any more the next refusal is another strike.
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
        context.env.call(Subprog::Update, frame, context, state)?;
    }
    Step::Continue(())
}
