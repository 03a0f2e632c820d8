//! Pages as they look.

use super::{Style, changed, limits, prefixes, sources, status};
use crate::model::document::*;
use crate::model::{Dimension, LimitScope, Mode, Outcome};

const NOW: u64 = 1_700_000_000;
const PLAIN: Style = Style { colour: false };

fn traffic(interface: &str, verdict: Outcome, reason: &str, packets: u64) -> TrafficRow {
    TrafficRow { interface: interface.into(), verdict, reason: reason.into(), packets, bytes: packets * 100 }
}

fn document() -> Status {
    let interface = |name: &str, index, driver: &str, attached| InterfaceRow {
        name: name.into(),
        index,
        driver: driver.into(),
        attached,
        lost: (!attached).then(|| "there is no interface of this name".into()),
    };
    let service = |name: &str, verdict, reason: &str, packets| ServiceRow {
        name: name.into(),
        verdict,
        reason: reason.into(),
        packets,
    };
    Status {
        version: "0.1.0".into(),
        abi: 1,
        pid: 4711,
        mode: Mode::Monitor,
        mode_until_at: Some(NOW + 600),
        modes: vec![ModeRow { of: "class partners".into(), mode: Mode::Off, until_at: None }],
        uptime_seconds: 93_784,
        generation: 3,
        config_path: "/etc/gateway/gateway.toml".into(),
        tls_gate: TlsGate { asks_host: true, forwards: false },
        sockets: Sockets { asked: true, ..Sockets::default() },
        interfaces: vec![interface("eth0", 2, "native", true), interface("eth1", 0, "generic", false)],
        traffic: vec![
            traffic("eth0", Outcome::Pass, "ok", 1_234_567),
            traffic("eth0", Outcome::WouldDrop, "plaintext_http", 20),
            traffic("eth0", Outcome::WouldDrop, "rate_syn", 0),
            traffic("eth1", Outcome::Pass, "ok", 1_000_000),
            traffic("eth1", Outcome::WouldDrop, "rate_udp", 4_321),
        ],
        services: vec![
            service("api", Outcome::Pass, "ok", 1_000),
            service("api", Outcome::WouldDrop, "plaintext_http", 20),
            service("http3", Outcome::Pass, "ok", 0),
        ],
        tables: vec![TableRow { table: "sources".into(), entries: 41, capacity: 1_048_576, full_total: 0 }],
        escalated: Escalated { ipv4: 2, ipv6: 1 },
        refused_reset: vec![ResetRow { service: "api".into(), connections: 1_234 }],
        connections: vec![ConnectionRow {
            service: "api".into(),
            open: 57,
            ended: vec![EndedRow { cause: "limit".into(), connections: 5_123 }],
        }],
        warnings: vec!["eth1 is down\u{1b}[2J".into(), "generic mode is slow".into()],
    }
}

#[test]
fn a_status() {
    let expected = "\
Mode     monitor: deciding and counting, dropping nothing
         reverts in 10m, at 2023-11-14T22:23:20Z
         class partners: off
Policy   /etc/gateway/gateway.toml, change 3
TLS gate asks this host's TCP
Escalated 2 networks of IPv4 and 1 of IPv6: the sources of each share one limit
Reset    1,234 connections to api that were refused
Gateway  0.1.0, process 4711, up 1day 2h

INTERFACE  DRIVER   STATE
eth0       native   attached
eth1       generic  NOT ATTACHED
eth1 is not protected: there is no interface of this name

TRAFFIC       PACKETS     BYTES   SHARE
passed      2,234,567  223.4 MB  99.8 %
dropped             0       0 B   0.0 %
would drop      4,341  434.1 kB   0.1 %

REASON          VERDICT       PACKETS     BYTES
ok              passed      2,234,567  223.4 MB
rate_udp        would drop      4,321  432.1 kB
plaintext_http  would drop         20    2.0 kB

SERVICE  REASON          VERDICT     PACKETS
api      ok              passed        1,000
api      plaintext_http  would drop       20

SERVICE  CONNECTIONS  ENDED: LIMIT  HELLO TIMEOUT  IDLE TIMEOUT
api               57         5,123              0             0

TABLE    ENTRIES   CAPACITY    FILL  FOUND FULL
sources       41  1,048,576  <0.1 %           0

warning: eth1 is down\u{fffd}[2J
warning: generic mode is slow
";
    assert_eq!(status(&document(), PLAIN, NOW), expected);
}

#[test]
fn what_is_off_stands_in_the_head() {
    let off = Off { feature: "strikes".into(), instead: "nobody is banned for them".into() };
    let sockets = Sockets { asked: false, why: Some("no types".into()), off: vec![off] };
    let text = status(&Status { sockets, ..document() }, PLAIN, NOW);
    let expected = "\
Off      sockets of this host are not asked: no types
         strikes       nobody is banned for them
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn lists() {
    let limit = LimitRow {
        place: LimitScope::Class("partners".into()),
        dimension: Dimension::Packets,
        rate: "200k/s".into(),
        burst: "400k".into(),
        origin: LimitOrigin::Live,
        until_at: Some(NOW + 90),
    };
    let own = LimitRow {
        place: LimitScope::Default,
        dimension: Dimension::Syn,
        rate: "200/s".into(),
        burst: "400".into(),
        origin: LimitOrigin::Configuration,
        until_at: None,
    };
    let prefix = PrefixRow {
        prefix: "198.51.100.0/24".parse().unwrap(),
        origin: "operator".into(),
        reason: Some("login flood".into()),
        added_at: NOW - 60,
        until_at: Some(NOW + 3_600),
        packets: Some(12_345),
        level: None,
    };
    let source = SourceRow {
        source: "2001:db8:1:2::/64".parse().unwrap(),
        class: "default".into(),
        service: None,
        packets: 12_345,
        bytes: 1_234_500,
        drops: 17,
        budgets: vec![
            Budget { dimension: Dimension::Packets, left_percent: 98 },
            Budget { dimension: Dimension::Syn, left_percent: 0 },
            Budget { dimension: Dimension::Udp, left_percent: 100 },
        ],
        saturated: false,
    };
    let text =
        [limits(&[limit, own], PLAIN, NOW), prefixes(&[prefix], PLAIN, NOW), sources(&[source], PLAIN, NOW)];
    let expected = "\
WHERE           COUNTS     RATE  BURST  ORIGIN         REVERTS
class/partners  packets  200k/s   400k  live           in 1m 30s
default         syn       200/s    400  configuration  never

PREFIX           ORIGIN    SINCE                 ENDS   PACKETS  REASON
198.51.100.0/24  operator  2023-11-14T22:12:20Z  in 1h   12,345  login flood

SOURCE             CLASS    SERVICE  PACKETS   BYTES  DROPS  BUDGET LEFT
2001:db8:1:2::/64  default  -         12,345  1.2 MB     17  syn 0 %, packets 98 %
";
    assert_eq!(text.join("\n"), expected);
}

#[test]
fn a_change_tells_when_it_reverts() {
    let mut change = Changed { message: "mode is enforce".into(), ..Changed::default() };
    assert_eq!(changed(&change, NOW), "mode is enforce\n");
    change.until_at = Some(NOW + 600);
    assert_eq!(changed(&change, NOW), "mode is enforce; reverts in 10m, at 2023-11-14T22:23:20Z\n");
}

#[test]
fn an_idle_gateway_has_words_for_it() {
    let idle = Status { interfaces: vec![], traffic: vec![], services: vec![], tables: vec![], ..document() };
    let text = status(&idle, PLAIN, NOW);
    assert!(text.contains("nothing is protected") && text.contains("No traffic yet."), "{text}");
    for text in [limits(&[], PLAIN, NOW), prefixes(&[], PLAIN, NOW), sources(&[], PLAIN, NOW)] {
        assert!(text.starts_with("No"), "{text}");
    }
}

#[test]
fn colour_is_there_when_asked_for_alone() {
    assert!(!status(&document(), PLAIN, NOW).contains('\u{1b}'));
    let coloured = status(&document(), Style { colour: true }, NOW);
    assert!(coloured.contains("\u{1b}[") && !coloured.contains("\u{1b}[2J"), "{coloured:?}");
}
