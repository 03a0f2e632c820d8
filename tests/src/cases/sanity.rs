//! Sources, addresses and flags that nobody sends in earnest.

use gateway_common::abi::{listing, policy};
use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{PORT, SERVER, SERVER_V6, ack};
use super::{Case, Draft, one};
use crate::builder::{IpProto, flags, ip};

use flags::{ACK, FIN, PSH, RST, SYN, URG};

pub(super) fn cases() -> Vec<Case> {
    [tcp_flags(), martians(), reserved(), exceptions(), land()].concat()
}

fn tcp_flags() -> Vec<Case> {
    let possible = [
        ("SYN", SYN),
        ("SYN-ACK", SYN | ACK),
        ("SYN with ECN", SYN | 0xc0),
        ("ACK", ACK),
        ("data", ACK | PSH),
        ("urgent data", ACK | PSH | URG),
        ("FIN-ACK", FIN | ACK),
        ("last data", FIN | ACK | PSH),
        ("RST", RST),
        ("RST-ACK", RST | ACK),
    ];
    let impossible = [
        ("no flags", 0),
        ("ECN alone", 0xc0),
        ("FIN alone", FIN),
        ("PSH alone", PSH),
        ("URG alone", URG),
        ("Christmas tree", FIN | PSH | URG),
        ("SYN-FIN", SYN | FIN),
        ("SYN-FIN-ACK", SYN | FIN | ACK),
        ("SYN-RST", SYN | RST),
        ("SYN-RST-ACK", SYN | RST | ACK),
        ("FIN-RST", FIN | RST),
        ("FIN-RST-ACK", FIN | RST | ACK),
        ("all flags", 0xff),
    ];
    let case = |(name, flags), reason| one(&format!("flags: {name}"), ack().flags(flags), reason);
    let possible = possible.map(|flags| case(flags, Reason::Ok));
    let impossible = impossible.map(|flags| case(flags, Reason::TcpFlags));
    [possible.to_vec(), impossible.to_vec()].concat()
}

fn martians() -> Vec<Case> {
    let v4 = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
    ];
    let v6 = ["::", "::1", "::192.0.2.9", "::ffff:192.0.2.9", "0:1::1", "ff02::1", "ff0e::1"];
    let right_v4 =
        ["1.0.0.1", "10.0.0.1", "126.0.0.1", "128.0.0.1", "169.254.0.1", "192.168.0.1", "223.255.255.255"];
    let right_v6 = ["1::1", "64:ff9b::1", "fc00::1", "fe80::1"];
    let case = |source: &str, reason| {
        let server = if source.contains(':') { SERVER_V6 } else { SERVER };
        one(&format!("from {source}"), ip(source, server).tcp(PORT, 443), reason)
    };
    let martians = v4.iter().chain(&v6).map(|source| case(source, Reason::MartianSource));
    let right = right_v4.iter().chain(&right_v6).map(|source| case(source, Reason::Ok));
    martians.chain(right).collect()
}

/// What IPv4 has reserved comes where the policy says so, or from who is trusted; the rest comes from nobody.
fn reserved() -> Vec<Case> {
    let switched = || {
        let mut stand = Stand::new();
        stand.settings.flags |= policy::RESERVED_SOURCES;
        stand
    };
    let trusted = || Stand::new().list("240.0.0.0/4", listing::ALLOW, 0).list("0.0.0.0/8", listing::ALLOW, 0);
    let from = |source: &str| ip(source, SERVER).tcp(PORT, 443);
    let cases = |name: &str, stand: &dyn Fn() -> Stand, passes| {
        let case = |source: &str, reason| {
            Case::under(format!("{name}: from {source}"), stand()).gets(from(source), reason)
        };
        let come = ["240.10.0.1", "255.255.255.254", "0.1.2.3"].map(|source| case(source, passes));
        let martians = ["255.255.255.255", "0.0.0.0", "127.0.0.1", "239.1.1.1"];
        [come.to_vec(), martians.map(|source| case(source, Reason::MartianSource)).to_vec()].concat()
    };
    [cases("reserved sources", &switched, Reason::Ok), cases("trusted", &trusted, Reason::AllowListed)]
        .concat()
}

fn exceptions() -> Vec<Case> {
    let solicitation = |hops| ip("::", "ff02::1:ff00:9").icmp(135, 0, [0; 4]).payload(&[0; 16]).hops(hops);
    let report = ip("::", "ff02::16").extension(IpProto::HopOpt, &[5, 2, 0, 0, 1, 0]).icmp(143, 0, [0; 4]);
    vec![
        one("DHCP from nobody", ip("0.0.0.0", "255.255.255.255").udp(68, 67).payload(&[1; 240]), Reason::Ok),
        one("DNS from nobody", ip("0.0.0.0", "255.255.255.255").udp(68, 53), Reason::MartianSource),
        one("DHCP from next to nobody", ip("0.0.0.1", "255.255.255.255").udp(68, 67), Reason::MartianSource),
        one(
            "an IGMP query from nobody",
            ip("0.0.0.0", "224.0.0.1").protocol(2).payload(&[0x11; 8]),
            Reason::Ok,
        ),
        one("a ping from nobody", ip("0.0.0.0", SERVER).icmp(8, 0, [0; 4]), Reason::MartianSource),
        one("duplicate address detection", solicitation(255), Reason::NeighbourDiscovery),
        one("a multicast listener's report", report.hops(1), Reason::LinkControl),
        one("UDP from ::", ip("::", "ff02::1:2").udp(546, 547), Reason::MartianSource),
        one("DHCPv6 from the link", ip("fe80::9", "ff02::1:2").udp(546, 547), Reason::Ok),
    ]
}

fn land() -> Vec<Case> {
    vec![
        one("land", ip(SERVER, SERVER).tcp(443, 443), Reason::Land),
        one("land with other ports", ip(SERVER, SERVER).udp(1, 2), Reason::Land),
        one("land over IPv6", ip(SERVER_V6, SERVER_V6).tcp(443, 443), Reason::Land),
        one("land in a later fragment", ip(SERVER, SERVER).protocol(17).fragment(64, false), Reason::Land),
        one("a neighbour of the server", ip("198.51.100.2", SERVER).tcp(443, 443), Reason::Ok),
    ]
}
