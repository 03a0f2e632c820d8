//! One of every request, document, row and line.

use crate::control::protocol::{Done, Failure, FailureKind, Line, Request, Row};
use crate::model::document::*;
use crate::model::{Dimension, EventFilter, Fact, LimitScope, Mode, Order, Outcome, Prefix, What};

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(super) fn requests() -> Vec<Request> {
    let place = LimitScope::Class("partners".into());
    let (net, host) = (prefix("198.51.100.0/24"), prefix("2001:db8::7"));
    vec![
        Request::Status {},
        Request::Reload {},
        Request::LimitList {},
        Request::LimitSet {
            place: place.clone(),
            dimension: Dimension::Syn,
            rate: "200/s".into(),
            burst: Some("400".into()),
            for_seconds: Some(600),
        },
        Request::LimitUnset { place, dimension: Dimension::Bytes },
        Request::Mode { mode: Mode::Enforce, scope: None, for_seconds: None },
        Request::BlockAdd {
            prefix: net,
            for_seconds: Some(1),
            reason: Some("scan".parse().unwrap()),
            origin: None,
        },
        Request::BlockDel { prefix: net, origin: None },
        Request::BlockList {},
        Request::BlockMore { after: Some(prefix("192.0.2.7")), origin: Some("strikes".into()), listed: 0 },
        Request::AllowAdd { prefix: host, for_seconds: None },
        Request::AllowDel { prefix: host },
        Request::AllowList {},
        Request::Sources { top: 20, by: Order::Drops },
        Request::Stop { keep: Some(true) },
        Request::Mode { mode: Mode::Off, scope: Some("service/api".parse().unwrap()), for_seconds: Some(9) },
        Request::Events { filter: EventFilter::default(), follow: true, frames: false },
    ]
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::Limit(LimitRow {
            place: LimitScope::Neighbours,
            dimension: Dimension::Packets,
            rate: "200k/s".into(),
            burst: "400k".into(),
            origin: LimitOrigin::Live,
            until_at: Some(1_700_000_600),
        }),
        Row::Prefix(PrefixRow {
            prefix: prefix("192.0.2.7"),
            origin: "operator".into(),
            reason: Some("scan".into()),
            added_at: 1_700_000_000,
            until_at: None,
            packets: Some(u64::MAX),
            level: Some(3),
        }),
        Row::Source(SourceRow {
            source: prefix("2001:db8:1:2::/64"),
            class: "default".into(),
            service: Some("api".into()),
            packets: 12,
            bytes: 3_400,
            drops: 1,
            budgets: vec![Budget { dimension: Dimension::Syn, left_percent: 40 }],
            saturated: false,
        }),
    ]
}

pub(super) fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        abi: 1,
        pid: 4711,
        mode: Mode::Monitor,
        mode_until_at: Some(1_700_000_600),
        modes: vec![ModeRow { of: "service api".into(), mode: Mode::Off, until_at: Some(7) }],
        uptime_seconds: 3_600,
        generation: 3,
        config_path: "/etc/gateway/gateway.toml".into(),
        tls_gate: TlsGate { asks_host: true, forwards: false },
        sockets: Sockets { asked: true, ..Sockets::default() },
        interfaces: vec![InterfaceRow {
            name: "eth0".into(),
            index: 2,
            driver: "native".into(),
            attached: true,
            lost: None,
        }],
        traffic: vec![TrafficRow {
            interface: "eth0".into(),
            verdict: Outcome::WouldDrop,
            reason: "plaintext_http".into(),
            packets: 7,
            bytes: 700,
        }],
        services: vec![ServiceRow {
            name: "api".into(),
            verdict: Outcome::Pass,
            reason: "ok".into(),
            packets: 9,
        }],
        tables: vec![TableRow { table: "sources".into(), entries: 1, capacity: 4_096, full_total: 0 }],
        escalated: Escalated { ipv4: 2, ipv6: 1 },
        refused_reset: vec![ResetRow { service: "api".into(), connections: 1_234 }],
        connections: vec![ConnectionRow {
            service: "api".into(),
            open: 57,
            ended: vec![EndedRow { cause: "limit".into(), connections: 5_123 }],
        }],
        warnings: vec!["generic mode is slow".into()],
    }
}

pub(super) fn lines() -> Vec<Line> {
    let changed = Changed {
        message: "limit set".into(),
        generation: 4,
        until_at: Some(1_700_000_600),
        warnings: vec!["it is low".into()],
        facts: vec![Fact::new(What::Mode, "", Some("monitor".into()), Some("enforce".into()))],
        durable: false,
    };
    let failure =
        Failure { kind: FailureKind::Usage, message: "bad rate".into(), help: Some("write 20k/s".into()) };
    let mut lines = vec![
        Line::Done(Done::Status(Box::new(status()))),
        Line::Done(Done::Changed(changed)),
        Line::Failed(failure),
        Line::End(3),
    ];
    lines.extend(rows().into_iter().map(Line::Row));
    lines
}

#[test]
fn every_request_survives_the_wire() {
    for request in requests() {
        let text = serde_json::to_string(&request).unwrap();
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
    }
}

#[test]
fn every_line_survives_the_wire() {
    for line in lines() {
        let text = serde_json::to_string(&line).unwrap();
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
    }
}

#[test]
fn requests_have_their_documented_text() {
    let text = |index: usize| serde_json::to_string(&requests()[index]).unwrap();
    assert_eq!(text(0), r#"{"request":"status"}"#);
    assert_eq!(text(4), r#"{"request":"limit_unset","place":"class/partners","dimension":"bytes"}"#);
    assert_eq!(text(7), r#"{"request":"block_del","prefix":"198.51.100.0/24"}"#);
}

#[test]
fn unknown_and_wrong_requests_are_errors() {
    for text in [
        r#"{"request":"explode"}"#,
        r#"{"request":"status","verbose":true}"#,
        r#"{"request":"mode","mode":"on"}"#,
        r#"{"request":"mode","mode":"off","for_seconds":-1}"#,
        r#"{"request":"mode","mode":"off","for_seconds":0}"#,
        r#"{"request":"mode","mode":"off","for_seconds":18446744073709551615}"#,
        r#"{"request":"block_add","prefix":"192.0.2.1/24"}"#,
        r#"{"request":"block_add","prefix":"192.0.2.1","reason":"a\nb"}"#,
        r#"{"request":"limit_unset","place":"class/","dimension":"syn"}"#,
        "null",
    ] {
        assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
    }
}

#[test]
fn what_only_looks_is_no_change() {
    let looks: Vec<_> = requests().into_iter().filter(|request| !request.changes()).collect();
    assert_eq!(looks.len(), 7, "{looks:?}");
}
