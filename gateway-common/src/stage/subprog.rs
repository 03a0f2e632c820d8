//! The functions of the packet path that the kernel's verifier checks apart from their callers.

use crate::{
    env::{Context, Env},
    frame::Frame,
    stage::packet_state::PacketState,
    verdict::Step,
};

/// The stages that the kernel's verifier checks apart from the others, each once: see [`Program::call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprog {
    /// [`drop_cache::settle`].
    Settle,
    /// [`drop_cache::tell`].
    Tell,
    /// [`drop_cache::insert`].
    CacheEntry,
    /// [`budgets::cache`], or [`lists::cache`].
    CacheRefusal,
    /// [`essential::check`].
    Essential,
    /// [`handshake::check`].
    Handshake,
    /// [`handshake::ask`].
    Ask,
    /// [`connections::check`].
    Connections,
    /// [`handshake::answer`].
    Answer,
    /// [`reflection::check`].
    Reflection,
    /// [`reflection::unasked`].
    Unasked,
    /// [`quic::check`].
    Quic,
    /// [`quic::keep`].
    Keep,
    /// [`own::check`].
    Own,
    /// [`budgets::charge_total`].
    Total,
    /// [`budgets::reserve`].
    Reserve,
    /// [`budgets::seek`] for [`Table::Neighbours`].
    SeekNeighbours,
    /// [`budgets::seek`] for [`Table::ServiceSources`].
    SeekService,
    /// [`budgets::seek`] for [`Table::Sources`].
    SeekSource,
    /// [`tls::check`].
    Tls,
    /// [`tls::begin`].
    Begin,
    /// [`tls::judge`].
    Prefix,
    /// [`tls::judge_part`].
    PrefixPart,
    /// [`hello::check`].
    Hello,
    /// [`hello::read`].
    Read,
    /// [`hello::verify`].
    Verify,
    /// [`fallback::check`].
    Fallback,
    /// [`conntrack::remember`]: the packet's link; a drop where there is no room for it.
    Remember,
    /// [`conntrack::update`]: the packet's link.
    Update,
    /// [`known_clients::insert`].
    Meet,
    /// [`refusal::tell`].
    Refusal,
    /// [`strike::count`].
    Strike,
    /// [`strike::write_down`].
    StrikeNote,
}

/// What stages run in: an [`Env`] that can call those which stand apart.
pub trait Program: Env + Sized {
    /// Runs a stage. The kernel does it in a function that the verifier checks apart from its caller, and so once; it finds
    /// frame, settings and scratch memory again by itself. A host calls [`Subprog::run`].
    fn call<F: Frame>(
        &self,
        stage: Subprog,
        frame: &F,
        context: &Context<'_, Self>,
        state: &mut PacketState,
    ) -> Step;
}
