//! How many SYNs cookies answer in a second, and whose.
//!
//! An answer costs several times what a drop does, and a flood of SYNs that all are answered takes the CPU from the packets of
//! connections. So a service has a budget of answers ([`Service::answers`]). Strangers have half of its burst. Once that is used
//! up, a stranger's SYN is dropped and written down, and it has the rest when it comes again, as it does from everybody who means
//! it: TCP sends a SYN again after a second (RFC 6298 section 2.1). Who floods from forged addresses would have to send each SYN twice.
//! Known clients are answered always.

use crate::{
    abi::{HANDSHAKE_ANSWERS, HANDSHAKE_SLOT, Service},
    env::{Context, Env},
    stage::packet_state::PacketState,
    state::{first_syns, known_clients, services},
    words::Words,
};

/// Whether there is an answer left for a SYN. Where there is none, the SYN is written down.
#[inline(always)]
pub(super) fn is_left<E: Env>(context: &Context<'_, E>, state: &PacketState, service: &Service) -> bool {
    let (answers, PacketState { clock, packet, role, .. }) = (&service.answers, state);
    let Some(words) = services::slot(context.env, role.service, HANDSHAKE_SLOT) else { return false };
    let tat = words.load(HANDSHAKE_ANSWERS);
    // Half of the burst is room enough, but for a burst of one.
    let half = (answers.cost + answers.burst / 2).min(answers.burst);
    answers.is_over(tat, *clock, half) == 0
        || role.trusted
        || (first_syns::contains_or_insert(context, packet)
            && answers.is_over(tat, *clock, answers.cost) == 0)
        || known_clients::contains(context, packet)
}

/// Counts an answer. One that another CPU counts in the same moment is lost; so is one to a known client above the budget.
#[inline(always)]
pub(super) fn count<E: Env, W: Words>(context: &Context<'_, E>, state: &PacketState, words: W) {
    let answers = &context.settings.service(state.role.service).answers;
    let tat = words.load(HANDSHAKE_ANSWERS);
    if let Some(next) = answers.admit(tat, state.clock, answers.cost) {
        words.replace(HANDSHAKE_ANSWERS, tat, next);
    }
}
