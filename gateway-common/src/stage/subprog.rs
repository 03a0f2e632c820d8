//! Subprograms: parts of the packet path that the kernel's verifier checks apart from their callers, each once.

use crate::{
    env::{Context, Env},
    frame::Frame,
    stage::packet_state::PacketState,
    verdict::Step,
};

/// Calls a macro with the one list of subprograms: each with its variant of [`Subprog`], and its symbol in the object.
///
/// What each runs is in `pipeline/subprog.rs`.
#[macro_export]
macro_rules! for_each_subprog {
    ($callback:ident!) => {
        $callback! {
            /// Tells the drops of one set of the drop cache: `drop_cache::settle`.
            SettleDrops settle_drops
            /// Adds drops to a bucket or a ban: `drop_cache::tell`.
            TellDrops tell_drops
            /// Inserts an entry into the drop cache: `drop_cache::insert`.
            InsertDrop insert_drop
            /// Decides whether a drop is cached: `budgets::cache`, `lists::cache`.
            CacheDrop cache_drop
            /// Link control and path-MTU messages: `essential::check`.
            Essential essential
            /// How a connection begins, or whether there is one: `handshake::check`.
            Handshake handshake
            /// Asks the host's TCP for a connection: `handshake::ask`.
            AskTcp ask_tcp
            /// Limits of open connections: `connection_limit::check`.
            ConnectionLimit connection_limit
            /// Answers a SYN by a cookie: `handshake::answer`.
            AnswerSyn answer_syn
            /// Answers and ICMP errors that this host did not ask for: `reflection::check`.
            Reflection reflection
            /// Asks the host's sockets for the receiver: `reflection::unasked`.
            AskReceiver ask_receiver
            /// The QUIC gate: `quic::check`.
            Quic quic
            /// Keeps a QUIC flow: `quic::keep`.
            KeepQuicFlow keep_quic_flow
            /// The host's own traffic: `own_traffic::check`.
            OwnTraffic own_traffic
            /// Charges a service's total alone: `budgets::charge_total`.
            ChargeTotal charge_total
            /// Holds a known client to its part of a total: `budgets::reserve`.
            KnownClientsPart known_clients_part
            /// Finds or inserts a bucket: `budgets::seek` for neighbourhoods.
            SeekNeighbours seek_neighbours
            /// Finds or inserts a bucket: `budgets::seek` for sources towards services.
            SeekService seek_service
            /// Finds or inserts a bucket: `budgets::seek` for sources.
            SeekSource seek_source
            /// The TLS gate: `tls::check`.
            Tls tls
            /// A stream that begins with a SYN cookie: `tls::begin`.
            BeginStream begin_stream
            /// The first bytes of a stream: `tls::judge`.
            JudgePrefix judge_prefix
            /// The same in several parts or records: `tls::judge_part`.
            JudgePrefixPart judge_prefix_part
            /// The first message of a connection: `tls::hello::check`.
            Hello hello
            /// Reads what a segment adds to it: `tls::hello::read`.
            ReadHello read_hello
            /// Reads it again from its start: `tls::hello::verify`.
            VerifyHello verify_hello
            /// Multipath TCP falls back to TCP: `mptcp_fallback::check`.
            MptcpFallback mptcp_fallback
            /// Inserts a connection: `conntrack::remember`. A drop where there is no room for it.
            InsertConn insert_conn
            /// Updates a connection: `conntrack::update`.
            UpdateConn update_conn
            /// Inserts a known client: `known_clients::insert`.
            InsertClient insert_client
            /// Has a refused connection reset: `connection_reset::tell`.
            ResetConnection reset_connection
            /// Counts a strike: `strike::count`.
            CountStrike count_strike
            /// Marks a connection as struck: `strike::write_down`.
            MarkStruck mark_struck
            /// Shows user space a drop: `Env::sample`.
            SampleDrop sample_drop
        }
    };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $subprog:ident $symbol:ident)*) => {
        /// A subprogram.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Subprog {
            $($(#[$doc])* $subprog,)*
        }
    };
}

for_each_subprog!(declare!);

/// What stages run in: an [`Env`] that calls subprograms.
pub trait Program: Env + Sized {
    /// Runs a subprogram. A host calls `Subprog::run`.
    ///
    /// The kernel's is a function that the verifier checks apart from its caller, and so once. It is given the packet's
    /// state and the settings, and finds frame and tables again by itself.
    fn call<F: Frame>(
        &self,
        subprog: Subprog,
        frame: &F,
        context: &Context<'_, Self>,
        state: &mut PacketState,
    ) -> Step;
}
