//! The stages that are functions of their own in the kernel, each by its name.

use crate::{
    env::Context,
    frame::Frame,
    stage::{
        budgets, connection_limit, connection_reset, drop_cache, essential, handshake, lists, mptcp_fallback,
        own_traffic,
        packet_state::PacketState,
        quic, reflection, strike,
        subprog::{Program, Subprog},
        tls,
    },
    state::{conntrack, known_clients},
    tables::BucketTable,
    verdict::Step,
};

impl Subprog {
    /// Runs the stage.
    #[inline(always)]
    pub fn run<F: Frame, E: Program>(
        self,
        frame: &F,
        context: &Context<'_, E>,
        state: &mut PacketState,
    ) -> Step {
        match self {
            Self::Settle => drop_cache::settle(frame, context, state),
            Self::Tell => drop_cache::tell(context, state),
            Self::CacheEntry => drop_cache::insert(frame, context, state),
            Self::CacheRefusal if state.budgets.is_refused_by_list() => lists::cache(frame, context, state),
            Self::CacheRefusal => budgets::cache(frame, context, state),
            Self::Essential => essential::check(frame, context, state),
            Self::Handshake => handshake::check(frame, context, state),
            Self::Ask => handshake::ask(context, state),
            Self::Connections => connection_limit::check(context, state),
            Self::Answer => handshake::answer(frame, context, state),
            Self::Reflection => reflection::check(frame, context, state),
            Self::Unasked => reflection::unasked(context, state),
            Self::Quic => quic::check(frame, context, state),
            Self::Keep => quic::keep(context, state),
            Self::Own => own_traffic::check(context, state),
            Self::Total => budgets::charge_total(frame, context, state),
            Self::Reserve => budgets::reserve(context, state),
            Self::SeekNeighbours => budgets::seek(context, state, BucketTable::Neighbours),
            Self::SeekService => budgets::seek(context, state, BucketTable::ServiceSources),
            Self::SeekSource => budgets::seek(context, state, BucketTable::Sources),
            Self::Tls => tls::check(frame, context, state),
            Self::Begin => tls::begin(context, state),
            Self::Prefix => tls::judge(frame, context, state),
            Self::PrefixPart => tls::judge_part(frame, context, state),
            Self::Hello => tls::hello::check(frame, context, state),
            Self::Read => tls::hello::read(frame, state),
            Self::Verify => tls::hello::verify(frame, context, state),
            Self::Fallback => mptcp_fallback::check(frame, context, state),
            Self::Remember => conntrack::remember(context, &state.conn, &mut state.victim),
            Self::Update => conntrack::update(context, &mut state.conn),
            Self::Meet => {
                known_clients::insert(context, &state.packet, &mut state.victim);
                Step::Continue(())
            }
            Self::Refusal => connection_reset::tell(frame, context, state),
            Self::StrikeNote => strike::write_down(frame, context, state),
            Self::Strike => strike::count(frame, context, state),
        }
    }
}
