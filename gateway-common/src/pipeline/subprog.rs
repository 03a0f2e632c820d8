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
            Self::SettleDrops => drop_cache::settle(frame, context, state),
            Self::TellDrops => drop_cache::tell(context, state),
            Self::InsertDrop => drop_cache::insert(frame, context, state),
            Self::CacheDrop if state.budgets.is_refused_by_list() => lists::cache(frame, context, state),
            Self::CacheDrop => budgets::cache(frame, context, state),
            Self::Essential => essential::check(frame, context, state),
            Self::Handshake => handshake::check(frame, context, state),
            Self::AskTcp => handshake::ask(context, state),
            Self::ConnectionLimit => connection_limit::check(context, state),
            Self::AnswerSyn => handshake::answer(frame, context, state),
            Self::Reflection => reflection::check(frame, context, state),
            Self::AskReceiver => reflection::unasked(context, state),
            Self::Quic => quic::check(frame, context, state),
            Self::KeepQuicFlow => quic::keep(context, state),
            Self::OwnTraffic => own_traffic::check(context, state),
            Self::ChargeTotal => budgets::charge_total(frame, context, state),
            Self::KnownClientsPart => budgets::reserve(context, state),
            Self::SeekNeighbours => budgets::seek(context, state, BucketTable::Neighbours),
            Self::SeekService => budgets::seek(context, state, BucketTable::ServiceSources),
            Self::SeekSource => budgets::seek(context, state, BucketTable::Sources),
            Self::Tls => tls::check(frame, context, state),
            Self::BeginStream => tls::begin(context, state),
            Self::JudgePrefix => tls::judge(frame, context, state),
            Self::JudgePrefixPart => tls::judge_part(frame, context, state),
            Self::Hello => tls::hello::check(frame, context, state),
            Self::ReadHello => tls::hello::read(frame, state),
            Self::VerifyHello => tls::hello::verify(frame, context, state),
            Self::MptcpFallback => mptcp_fallback::check(frame, context, state),
            Self::InsertConn => conntrack::remember(context, &state.conn, &mut state.victim),
            Self::UpdateConn => conntrack::update(context, &mut state.conn),
            Self::InsertClient => {
                known_clients::insert(context, &state.packet, &mut state.victim);
                Step::Continue(())
            }
            Self::ResetConnection => connection_reset::tell(frame, context, state),
            Self::MarkStruck => strike::write_down(frame, context, state),
            Self::CountStrike => strike::count(frame, context, state),
            Self::SampleDrop => {
                context.env.sample(&state.sampled);
                Step::Continue(())
            }
        }
    }
}
