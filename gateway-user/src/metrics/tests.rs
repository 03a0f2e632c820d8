//! The page of a made-up snapshot, and the endpoint.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Readiness, Scrape, Snapshot, bind, render, serve};
use crate::model::Outcome;
use crate::model::document::{
    ConnectionRow, EndedRow, Escalated, InterfaceRow, ResetRow, ServiceRow, TableRow, TrafficRow,
};

fn snapshot() -> Snapshot {
    let traffic = |interface: &str, verdict, reason: &str, packets| TrafficRow {
        interface: interface.into(),
        verdict,
        reason: reason.into(),
        packets,
        bytes: packets * 60,
    };
    Snapshot {
        version: "0.1.0".into(),
        abi: 7,
        interfaces: vec![
            InterfaceRow {
                name: "eth0".into(),
                index: 2,
                driver: "native".into(),
                attached: true,
                lost: None,
            },
            InterfaceRow {
                name: "eth1".into(),
                index: 0,
                driver: "generic".into(),
                attached: false,
                lost: Some("gone".into()),
            },
        ],
        traffic: vec![
            traffic("eth0", Outcome::Pass, "ok", 1_000_000),
            traffic("eth0", Outcome::Drop, "plaintext_http", 20),
            traffic("eth0", Outcome::WouldDrop, "plaintext_http", 3),
            traffic("eth1", Outcome::Tx, "syn_cookie", 0),
        ],
        services: vec![ServiceRow {
            name: "api".into(),
            verdict: Outcome::Drop,
            reason: "plaintext_http".into(),
            packets: 20,
        }],
        tables: vec![TableRow { table: "sources".into(), entries: 5, capacity: 4_096, full_total: 1 }],
        bans: vec![("operator".into(), 2), ("strikes".into(), 0)],
        ban_changes: vec![("strikes".into(), "made", 6), ("strikes".into(), "ended", 5)],
        modes: vec![("enforce".into(), true), ("monitor".into(), false), ("off".into(), false)],
        floods: vec![
            ("api".into(), "limit_syn".into(), 2, true),
            (String::new(), "limit_syn".into(), 1, false),
        ],
        record_rows: 4_711,
        record_lag: 3,
        record_lost: 0,
        escalated: Escalated { ipv4: 2, ipv6: 1 },
        refused_reset: vec![ResetRow { service: "api".into(), connections: 1_234 }],
        connections: vec![ConnectionRow {
            service: "api".into(),
            open: 57,
            ended: vec![EndedRow { cause: "limit".into(), connections: 5_123 }],
        }],
        asks_sockets: true,
        events_lost: 4,
        reloads_ok: 3,
        reloads_failed: 1,
        last_reload_at: 1_700_000_000,
    }
}

/// promtool 2.42 does not see it, and Prometheus refuses the page.
#[test]
fn no_series_stands_twice() {
    let page = render(&snapshot()).unwrap();
    let series = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in series {
        assert!(seen.insert(name), "{name} stands twice");
    }
    assert!(seen.len() > 20);
}

/// The value of a series by its exact name and labels.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

#[test]
fn the_page_has_every_family_with_its_labels() {
    let page = render(&snapshot()).unwrap();
    for (series, expected) in [
        (r#"gateway_packets_total{interface="eth0",verdict="pass",reason="ok"}"#, 1e6),
        (r#"gateway_packets_total{interface="eth1",verdict="tx",reason="syn_cookie"}"#, 0.0),
        (r#"gateway_bytes_total{interface="eth0",verdict="would_drop",reason="plaintext_http"}"#, 180.0),
        (r#"gateway_mode{mode="enforce"}"#, 1.0),
        (r#"gateway_floods_total{service="api",reason="limit_syn"}"#, 2.0),
        (r#"gateway_flood_active{service="",reason="limit_syn"}"#, 0.0),
        (r#"gateway_bans_total{origin="strikes",what="made"}"#, 6.0),
        ("gateway_record_rows_total", 4_711.0),
        ("gateway_record_lag_seconds", 3.0),
        (r#"gateway_service_packets_total{service="api",verdict="drop",reason="plaintext_http"}"#, 20.0),
        (r#"gateway_table_entries{table="sources"}"#, 5.0),
        (r#"gateway_table_capacity{table="sources"}"#, 4096.0),
        (r#"gateway_table_full_total{table="sources"}"#, 1.0),
        (r#"gateway_bans{origin="operator"}"#, 2.0),
        (r#"gateway_bans{origin="strikes"}"#, 0.0),
        (r#"gateway_escalated_neighbourhoods{family="ipv4"}"#, 2.0),
        (r#"gateway_escalated_neighbourhoods{family="ipv6"}"#, 1.0),
        ("gateway_sockets_asked", 1.0),
        ("gateway_events_lost_total", 4.0),
        ("gateway_refused_reset_total{service=\"api\"}", 1_234.0),
        ("gateway_connections{service=\"api\"}", 57.0),
        ("gateway_connections_ended_total{service=\"api\",cause=\"limit\"}", 5_123.0),
        (r#"gateway_config_reloads_total{result="ok"}"#, 3.0),
        (r#"gateway_config_reloads_total{result="failed"}"#, 1.0),
        ("gateway_config_last_reload_timestamp_seconds", 1.7e9),
        (r#"gateway_attached{interface="eth0",driver="native"}"#, 1.0),
        (r#"gateway_attached{interface="eth1",driver="generic"}"#, 0.0),
        (r#"gateway_build_info{version="0.1.0",abi="7"}"#, 1.0),
    ] {
        assert_eq!(value(&page, series), expected, "{series}");
    }
}

#[test]
fn the_sum_over_verdicts_is_every_packet() {
    let snapshot = snapshot();
    let page = render(&snapshot).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("gateway_packets_total{"));
    let sum: f64 = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(sum, snapshot.traffic.iter().map(|row| row.packets).sum::<u64>() as f64);
}

#[test]
fn a_label_cannot_break_out_and_an_empty_snapshot_renders() {
    let mut odd = snapshot();
    odd.services[0].name = "a\"} 1\nb\\".into();
    let page = render(&odd).unwrap();
    assert!(page.contains(r#"service="a\"} 1\nb\\""#), "{page}");
    assert!(render(&Snapshot::default()).unwrap().contains("gateway_events_lost_total 0"));
}

#[test]
#[ignore = "needs promtool: `cargo xtask test` runs it"]
fn promtool_has_nothing_to_say() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the package prometheus");
    let page = render(&snapshot()).unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// An endpoint whose daemon is ready, or not for this reason, or does not answer.
async fn endpoint(readiness: Option<Readiness>) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (scrapes, mut asked) = mpsc::channel(4);
    tokio::spawn(serve(listener, scrapes));
    tokio::spawn(async move {
        while let Some(scrape) = asked.recv().await {
            match (scrape, readiness.clone()) {
                (_, None) => return,
                (Scrape::Page(page), _) => page.send(snapshot()).unwrap(),
                (Scrape::Health(health), Some(readiness)) => health.send(readiness).unwrap(),
            }
        }
    });
    address
}

/// Sends a request and reads until the server closes.
async fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset where the server closed with bytes unread is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

#[tokio::test]
async fn the_endpoint_answers_each_path() {
    let address = endpoint(Some(Readiness::Ready)).await;
    let page = get(address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/plain; version=0.0.4\r\n"), "{page}");
    assert!(page.contains("connection: close\r\n") && page.contains("gateway_build_info{"), "{page}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/etc/passwd").await.starts_with("HTTP/1.1 404 "));
    let post = http(
        address,
        "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[tokio::test]
async fn it_answers_for_this_host_alone() {
    let address = endpoint(Some(Readiness::Ready)).await;
    for (host, status) in [
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("192.0.2.1", 200),
        ("rebound.example.org:9464", 421),
        ("localhost.example.org", 421),
        ("", 421),
    ] {
        let answer = http(address, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting() {
    let address = endpoint(Some(Readiness::Ready)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let began = std::time::Instant::now();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    // Nor who says a part.
    for stream in &mut silent {
        let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n").await;
    }
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_not_ready_says_why() {
    let address = endpoint(Some(Readiness::NotReady("eth1 is gone".into()))).await;
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("not ready: eth1 is gone\n"), "{answer}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "), "alive all the same");
}

#[tokio::test]
async fn without_a_daemon_nothing_is_healthy() {
    let address = endpoint(None).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 503 "), "{path}");
    }
}

#[tokio::test]
async fn endless_headers_and_idle_clients_are_cut_off() {
    let address = endpoint(Some(Readiness::Ready)).await;
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert!(!http(address, &long).await.contains("gateway_"), "too long");
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let idle_address = listener.local_addr().unwrap();
    let mut bounded = super::listener::Bounded::new(listener, 1, Duration::from_millis(100));
    let _client = TcpStream::connect(idle_address).await.unwrap();
    let (mut connection, _) = axum::serve::Listener::accept(&mut bounded).await;
    let error = connection.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
