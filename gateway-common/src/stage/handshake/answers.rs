//! How many SYNs cookies answer in a second, and whose.
//!
//! An answer costs several times what a drop does. If all SYNs of a flood were answered, the CPU would have no time for
//! the packets of connections. So a service has a budget of answers ([`Service::answers`]). Unknown clients have half
//! of its burst. Once that is used up, an unknown client's SYN is dropped and written down. It may use the rest when it
//! comes again: TCP sends a SYN again after a second (RFC 6298 section 2.1), and a flood from forged addresses would
//! have to send each SYN twice. Known clients are always answered.

use crate::{
    abi::{HANDSHAKE_ANSWERS, Service},
    env::{Context, Env},
    stage::packet_state::PacketState,
    state::{first_syns, known_clients, services},
    words::Words,
};

/// Whether there is an answer left for a SYN. If not, the SYN is written down.
#[inline(always)]
pub(super) fn is_left<E: Env>(context: &Context<'_, E>, state: &PacketState, service: &Service) -> bool {
    let (answers, PacketState { clock, packet, role, .. }) = (&service.answers, state);
    let Some(words) = services::handshake(context.env, role.service) else { return false };
    let tat = words.load(HANDSHAKE_ANSWERS);
    // Half of the burst must remain, unless the burst is a single answer.
    let half = (answers.cost + answers.burst / 2).min(answers.burst);
    answers.is_over(tat, *clock, half) == 0
        || role.trusted
        || (first_syns::contains_or_insert(context, packet)
            && answers.is_over(tat, *clock, answers.cost) == 0)
        || known_clients::contains(context, packet)
}

/// Counts an answer. One that another CPU counts at the same moment is lost; so is one to a known client above the
/// budget.
#[inline(always)]
pub(super) fn count<E: Env, W: Words>(context: &Context<'_, E>, state: &PacketState, words: W) {
    let answers = &context.settings.service(state.role.service).answers;
    let tat = words.load(HANDSHAKE_ANSWERS);
    if let Some(next) = answers.admit(tat, state.clock, answers.cost) {
        words.replace(HANDSHAKE_ANSWERS, tat, next);
    }
}
