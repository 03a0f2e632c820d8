//! The stages that are functions of their own in the kernel, each by its name.

use super::{Context, Scratch};
use crate::{
    clients, connection, drop_cache,
    env::{Env, Table},
    frame::Frame,
    stage::{
        budgets, connections, essential, fallback, handshake, hello, lists, own, quic, reflection, refusal,
        tls,
    },
    strike,
    verdict::Step,
};

/// The stages that the kernel's verifier checks apart from the others, each once: see [`Env::apart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
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
    /// [`connection::remember`]: the packet's link; a drop where there is no room for it.
    Remember,
    /// [`connection::update`]: the packet's link.
    Update,
    /// [`clients::meet`].
    Meet,
    /// [`refusal::tell`].
    Refusal,
    /// [`strike::count`].
    Strike,
    /// [`strike::write_down`].
    StrikeNote,
}

impl Stage {
    /// Runs the stage.
    #[inline(always)]
    pub fn run<F: Frame, E: Env>(self, frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        match self {
            Self::Settle => drop_cache::settle(frame, context, scratch),
            Self::Tell => drop_cache::tell(context, scratch),
            Self::CacheEntry => drop_cache::insert(frame, context, scratch),
            Self::CacheRefusal if scratch.refused.is_listed() => lists::cache(frame, context, scratch),
            Self::CacheRefusal => budgets::cache(frame, context, scratch),
            Self::Essential => essential::check(frame, context, scratch),
            Self::Handshake => handshake::check(frame, context, scratch),
            Self::Ask => handshake::ask(context, scratch),
            Self::Connections => connections::check(context, scratch),
            Self::Answer => handshake::answer(frame, context, scratch),
            Self::Reflection => reflection::check(frame, context, scratch),
            Self::Unasked => reflection::unasked(context, scratch),
            Self::Quic => quic::check(frame, context, scratch),
            Self::Keep => quic::keep(context, scratch),
            Self::Own => own::check(context, scratch),
            Self::Total => budgets::charge_total(frame, context, scratch),
            Self::Reserve => budgets::reserve(context, scratch),
            Self::SeekNeighbours => budgets::seek(context, scratch, Table::Neighbours),
            Self::SeekService => budgets::seek(context, scratch, Table::ServiceSources),
            Self::SeekSource => budgets::seek(context, scratch, Table::Sources),
            Self::Tls => tls::check(frame, context, scratch),
            Self::Begin => tls::begin(context, scratch),
            Self::Prefix => tls::judge(frame, context, scratch),
            Self::PrefixPart => tls::judge_part(frame, context, scratch),
            Self::Hello => hello::check(frame, context, scratch),
            Self::Read => hello::read(frame, scratch),
            Self::Verify => hello::verify(frame, context, scratch),
            Self::Fallback => fallback::check(frame, context, scratch),
            Self::Remember => connection::remember(context, scratch),
            Self::Update => connection::update(context, scratch),
            Self::Meet => clients::meet(context, scratch),
            Self::Refusal => refusal::tell(frame, context, scratch),
            Self::StrikeNote => strike::write_down(frame, context, scratch),
            Self::Strike => strike::count(frame, context, scratch),
        }
    }
}
