//! Verdicts and the one list of reasons: counter index, metric label, event code and the table in the docs.

use core::ops::ControlFlow;

use crate::limit::rate::{Dimension, Mask, has};

/// What becomes of a packet. The discriminant is the counter row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "host", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Action {
    /// On to the kernel's stack.
    Pass,
    /// Not to the kernel's stack.
    Drop,
    /// Answered, out of the interface that it came in by.
    Tx,
    /// What [`Action::Drop`] becomes in monitor mode: counted as such, and passed.
    WouldDrop,
}

impl Action {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All, by discriminant.
    pub const ALL: [Self; Self::COUNT] = [Self::Pass, Self::Drop, Self::Tx, Self::WouldDrop];

    /// The word for it in metrics and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Tx => "tx",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// Counters of one row, as of an interface or of a service: one for every action with every reason.
pub const COLUMNS: usize = Action::COUNT * Reason::SLOTS;

/// The counter of an action with a reason in its row.
#[inline(always)]
pub const fn column(action: Action, reason: Reason) -> usize {
    action as usize * Reason::SLOTS + reason as usize
}

/// An action, and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Pass, drop or answer.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// A stage's answer: go on, with its result, or the reason for the verdict. The reason implies the verdict, and is one
/// byte, which the kernel's functions return in a register.
pub type Step<T = ()> = ControlFlow<Reason, T>;

impl Default for Reason {
    #[inline(always)]
    fn default() -> Self {
        Self::Ok
    }
}

impl From<Reason> for Verdict {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { action: reason.action(), reason }
    }
}

/// Ends the path of a packet with a drop.
#[inline(always)]
pub const fn drop<T>(reason: Reason) -> Step<T> {
    debug_assert!(matches!(reason.action(), Action::Drop));
    ControlFlow::Break(reason)
}

/// Ends the path of a packet with a pass.
#[inline(always)]
pub const fn pass<T>(reason: Reason) -> Step<T> {
    debug_assert!(matches!(reason.action(), Action::Pass));
    ControlFlow::Break(reason)
}

/// A stage of the packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The path itself.
    Pipeline,
    /// Bytes to headers.
    Parse,
    /// Lists, bans, classes.
    Lists,
    /// Packets that no honest host sends.
    Sanity,
    /// Link control and path-MTU messages.
    Essential,
    /// How connections begin.
    Handshake,
    /// Answers that nobody here asked for.
    Reflection,
    /// The QUIC gate.
    Quic,
    /// Limits.
    Budgets,
    /// The host's own traffic.
    Own,
    /// The TLS gate: a stream's first bytes.
    Tls,
    /// The TLS gate: a connection's first message.
    Hello,
}

impl Stage {
    /// The word for it in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Parse => "parse",
            Self::Lists => "lists",
            Self::Sanity => "sanity",
            Self::Essential => "essential",
            Self::Handshake => "handshake",
            Self::Reflection => "reflection",
            Self::Quic => "quic",
            Self::Budgets => "budgets",
            Self::Own => "own",
            Self::Tls => "tls",
            Self::Hello => "hello",
        }
    }

    /// Whether it judges packets whose service may be known.
    pub const fn knows_service(self) -> bool {
        !matches!(self, Self::Parse | Self::Lists | Self::Sanity | Self::Essential | Self::Reflection)
    }
}

/// Facts about a reason: bits of the list's optional column.
mod fact {
    pub(super) const NONE: u8 = 0;
    /// It says that the start of a stream is not what its service asks for, so it may be a strike.
    pub(super) const STRIKE: u8 = 1;
}

/// A reason a line: its name, word, verdict and stage; for limits `{scope and dimension}`; `[facts]`; and its meaning.
macro_rules! reasons {
    ($(
        $variant:ident $name:literal $action:ident $stage:ident $({$scope:ident $dimension:ident})? $([$($fact:ident)*])?
        $text:literal
    )*) => {
        /// Why a packet got its verdict.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// All, by discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it everywhere.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The verdict it comes with.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action),* }
            }

            /// The stage that gives it.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage),* }
            }

            /// What it means, in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            #[inline(always)]
            const fn facts(self) -> u8 {
                match self { $(Self::$variant => fact::NONE $($(| fact::$fact)*)?),* }
            }
        }

        impl Scope {
            /// The reason for a packet that is over this scope's limit in `dimension`.
            #[inline(always)]
            pub const fn reason(self, dimension: Dimension) -> Reason {
                match (self.told_as(), dimension) {
                    $($((Self::$scope, Dimension::$dimension) => Reason::$variant,)?)*
                    // There is no such limit.
                    _ => Reason::Contended,
                }
            }
        }
    };
}

reasons! {
    Ok "ok" Pass Pipeline "Nothing speaks against it."
    AllowListed "allow_listed" Pass Pipeline "The source is on an allow list: no list, ban or limit holds it; sanity and the TLS gate do."
    Off "off" Pass Pipeline "The mode is `off`, the gateway's or that of the service or class: counted, not judged."
    Unconfigured "unconfigured" Pass Pipeline "The program runs without settings; only in the moment of start."
    NonIp "non_ip" Pass Parse "Not IP: ARP, LLDP, LACP and other EtherTypes."
    FrameTruncated "frame_truncated" Drop Parse "The frame ends inside its Ethernet or VLAN header."
    VlanDepth "vlan_depth" Drop Parse "More than two VLAN tags."
    Ipv4Malformed "ipv4_malformed" Drop Parse "IPv4 header cut short, of a wrong version, or with lengths that contradict the frame."
    Ipv6Malformed "ipv6_malformed" Drop Parse "IPv6 header or extension header cut short, of a wrong version, or longer than the frame."
    Ipv6Chain "ipv6_chain" Drop Parse "More IPv6 extension headers, or longer ones, than the gateway walks."
    Ipv6RoutingType0 "ipv6_routing_type0" Drop Parse "IPv6 routing header of type 0, deprecated by RFC 5095."
    TinyFragment "tiny_fragment" Drop Parse "First fragment without its whole transport header (RFC 1858, RFC 7112)."
    FragmentOverlay "fragment_overlay" Drop Parse "Later fragment that would overwrite the transport header (RFC 3128), or ends beyond 65,535 bytes."
    TcpMalformed "tcp_malformed" Drop Parse "TCP header cut short or of an impossible length."
    UdpMalformed "udp_malformed" Drop Parse "UDP header cut short or with a length that contradicts the IP header."
    IcmpMalformed "icmp_malformed" Drop Parse "ICMP or ICMPv6 header cut short."
    Encapsulated "encapsulated" Pass Parse "PPPoE or MPLS: what is inside is not judged here; protect the device on which it comes out (`ppp0`)."
    BlockListed "block_listed" Drop Lists "The source is on the configured block list."
    Banned "banned" Drop Lists "The source is banned."
    MartianSource "martian_source" Drop Sanity "A source address that nobody sends from: loopback, multicast, broadcast or reserved (RFC 6890)."
    Land "land" Drop Sanity "Source and destination are the same address."
    TcpFlags "tcp_flags" Drop Sanity "TCP flags that no TCP sends: none, SYN with FIN or RST, FIN with RST, FIN or data without ACK."
    NeighbourDiscovery "neighbour_discovery" Pass Essential "IPv6 neighbour discovery from the link itself (RFC 4861), within the room that `link_control` describes."
    LinkControl "link_control" Pass Essential "A message without which a host falls off its link: MLD, IGMP, DHCP's answers, VRRP, BFD, OSPF. Each kind has room for 1,000 messages of strangers in a second, and each peer that was seen before has as much for itself."
    LinkFlood "link_flood" Drop Essential "A message of those kinds, or of neighbour discovery, for which there is no room any more."
    PathMtu "path_mtu" Pass Essential "A path-MTU message that quotes a packet of ours (RFC 1191, RFC 8201), one of the first 1,000 in a second."
    TotalPackets "total_packets" Drop Budgets {Service Packets} "The total of packets is used up, the service's or that of what is for none."
    TotalBytes "total_bytes" Drop Budgets {Service Bytes} "The total of bytes is used up, the service's or that of what is for none."
    TotalSyn "total_syn" Drop Budgets {Service Syn} "The total of SYNs is used up, the service's or that of what is for none."
    TotalUdp "total_udp" Drop Budgets {Service Udp} "The total of UDP packets is used up, the service's or that of what is for none."
    TotalIcmp "total_icmp" Drop Budgets {Service Icmp} "The total of ICMP packets is used up, the service's or that of what is for none."
    NeighboursPackets "neighbours_packets" Drop Budgets {Neighbours Packets} "The neighbourhood of the source is over its limit of packets."
    NeighboursBytes "neighbours_bytes" Drop Budgets {Neighbours Bytes} "The neighbourhood of the source is over its limit of bytes."
    NeighboursSyn "neighbours_syn" Drop Budgets {Neighbours Syn} "The neighbourhood of the source is over its limit of SYNs."
    NeighboursUdp "neighbours_udp" Drop Budgets {Neighbours Udp} "The neighbourhood of the source is over its limit of UDP packets."
    NeighboursIcmp "neighbours_icmp" Drop Budgets {Neighbours Icmp} "The neighbourhood of the source is over its limit of ICMP packets."
    LimitPackets "limit_packets" Drop Budgets {Source Packets} "The source is over its limit of packets."
    LimitBytes "limit_bytes" Drop Budgets {Source Bytes} "The source is over its limit of bytes."
    LimitSyn "limit_syn" Drop Budgets {Source Syn} "The source is over its limit of SYNs."
    LimitUdp "limit_udp" Drop Budgets {Source Udp} "The source is over its limit of UDP packets."
    LimitIcmp "limit_icmp" Drop Budgets {Source Icmp} "The source is over its limit of ICMP packets."
    TotalInitial "total_initial" Drop Budgets {Service Initial} "The service's total of QUIC packets that open connections is used up."
    TotalMigration "total_migration" Drop Budgets {Service Migration} "The service's total of QUIC packets of unknown connections is used up."
    LimitInitial "limit_initial" Drop Budgets {Source Initial} "The source is over its limit of QUIC packets that open connections."
    LimitMigration "limit_migration" Drop Budgets {Source Migration} "The source is over its limit of QUIC packets of unknown connections."
    Contended "contended" Drop Budgets "Other CPUs changed the same bucket at every try; dropped so that no limit is passed."
    SynCookie "syn_cookie" Tx Handshake "A SYN that was answered with a SYN cookie (RFC 4987); nothing is kept of it."
    SynUnanswered "syn_unanswered" Drop Handshake "A stranger's SYN above what SYN cookies answer in a second (`syn_answers`); when it comes again, as TCP sends it after a second, it comes before others."
    TotalConnections "total_connections" Drop Handshake "A SYN to a service that has all the connections open that it may have (`total.connections`)."
    NeighboursConnections "neighbours_connections" Drop Handshake "A SYN of a source whose neighbourhood has all the connections open that it may have."
    LimitConnections "limit_connections" Drop Handshake "A SYN of a source that has all the connections open to the service that it may have (`connections`)."
    BadCookie "bad_cookie" Drop Handshake "An ACK or data to a listener that answers with SYN cookies, and the cookie in it is none of its own."
    OutOfStateAck "out_of_state_ack" Drop Handshake "An ACK of no connection of this host."
    OutOfStateData "out_of_state_data" Drop Handshake "Data of no connection of this host."
    OutOfStateFin "out_of_state_fin" Drop Handshake "A FIN of no connection of this host."
    OutOfStateRst "out_of_state_rst" Drop Handshake "A reset of no connection of this host."
    OutOfStateSynAck "out_of_state_syn_ack" Drop Handshake "The answer to a SYN that this host has not sent."
    OwnTraffic "own_traffic" Pass Own "Above a limit, and nevertheless let through: of a TCP connection that this host opened itself, for a UDP socket that waits for this very peer, or from a tunnel's peer; up to 1,000,000 packets in a second."
    GatedFragment "gated_fragment" Drop Tls "A fragment to a service that requires TLS or QUIC: its bytes cannot be judged."
    PlaintextHttp "plaintext_http" Drop Tls [STRIKE] "HTTP without TLS to a service that requires TLS."
    NotTls "not_tls" Drop Tls [STRIKE] "The connection's first bytes are not a TLS handshake record with a ClientHello."
    Ssl2Hello "ssl2_hello" Drop Tls [STRIKE] "A ClientHello of SSL 2.0."
    TlsVersion "tls_version" Drop Tls [STRIKE] "The ClientHello offers no version of TLS that the service takes: SSL 3.0, as HAProxy's `option ssl-hello-chk` sends it, or below `min_tls`."
    TcpUrgent "tcp_urgent" Drop Tls "TCP urgent data to a service that requires TLS: it would take bytes out of what the server reads (RFC 6093)."
    TcpSequence "tcp_sequence" Drop Tls "A segment of a connection that is only opening, with a sequence number that does not fit what is known of it yet; TCP sends it again. Or a SYN into the window of a live connection. Or, of a connection through this host, a SYN for which the table of connections has no room, or data of one that it does not hold."
    ServerName "server_name" Drop Hello [STRIKE] "The ClientHello names no server of the service's `server_names`."
    ProxyHeader "proxy_header" Drop Hello [STRIKE] "The connection does not start with a PROXY protocol header, or with a malformed one."
    HelloMalformed "hello_malformed" Drop Hello [STRIKE] "The ClientHello contradicts itself, or is longer than the gateway reads."
    HelloGap "hello_gap" Drop Hello "Bytes of a first message whose earlier bytes the gateway has not read; TCP sends them again."
    QuicMalformed "quic_malformed" Drop Quic "No QUIC packet that a client sends: its header is cut short or contradicts the datagram (RFC 9000 section 17)."
    QuicVersion "quic_version" Drop Quic "A version of QUIC that only the server could know, in a datagram that it would not answer (RFC 9000 section 5.2.2)."
    QuicInitialSize "quic_initial_size" Drop Quic "An Initial in a datagram below 1,200 bytes (RFC 9000 section 14.1)."
    QuicNoInitial "quic_no_initial" Drop Quic "A Handshake or 0-RTT packet from an address and port that has sent no Initial."
    Reflection "reflection" Drop Reflection "UDP from a port that amplifiers answer from, to a port of this host that has no socket and is no service's: nobody here asked."
    IcmpError "icmp_error" Drop Reflection "An ICMP error that quotes no packet of the host that it is sent to (RFC 792, RFC 4443), or of no connection that this host has (RFC 5927): traceroutes of raw sockets have none."
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Counter columns kept for reasons: room for more without a change of the layout.
    pub const SLOTS: usize = 128;

    /// Whether a packet of a service can get it: the stages before do not know the service.
    pub const fn is_of_service(self) -> bool {
        self.stage().knows_service() && !matches!(self, Self::Unconfigured)
    }

    /// Whether it says that the start of a stream is not what its service asks for.
    #[inline(always)]
    pub const fn refuses_opening(self) -> bool {
        self.facts() & fact::STRIKE != 0
    }

    const _FITS: () = assert!(Self::COUNT <= Self::SLOTS && COLUMNS.is_power_of_two());
}

/// The budgets that a packet counts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// All sources of a service.
    Service,
    /// The neighbourhood. Not for a source in a class: it is known, and its neighbours are no sign of an attack.
    Neighbours,
    /// The source towards the service, where the service has limits of its own and the source's class has not.
    SourceAtService,
    /// The source, in all other dimensions.
    #[default]
    Source,
}

impl Scope {
    /// The scope that reasons name: a source is a source, whatever it sends to.
    const fn told_as(self) -> Self {
        match self {
            Self::SourceAtService => Self::Source,
            other => other,
        }
    }

    /// The reason for a packet that is over this scope's limits in a set of dimensions: that of the first dimension, in
    /// the order of [`Dimension::ALL`].
    #[inline(always)]
    pub fn reason_of(self, refusal: Mask) -> Reason {
        for dimension in Dimension::ALL {
            if has(refusal, dimension) {
                return self.reason(dimension);
            }
        }
        Reason::Contended
    }
}
