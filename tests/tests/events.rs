//! What is dropped, as events, log and record tell of it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{
    ATTACKER_V4, CLIENT_V4, Flood, FloodReport, Gateway, Lab, Pace, SERVER_V4, Template, alone, await_that,
    require_lab,
};
use serde_json::Value;

const CONFIG: &str = r#"
mode = "enforce"
[[service]]
name = "api"
protocol = "tcp"
ports = [443]
require = "tls"
"#;
/// How long a row may take into the record: the minute has to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// SYNs a second, of one source, and for how long.
const RATE: u64 = 10_000;
const SECONDS: u64 = 3;

fn flood(lab: &Lab) -> Result<FloodReport> {
    let template = Template::syn(ATTACKER_V4.into(), SERVER_V4.into(), (4_000, 443))?;
    let flood = Flood {
        pace: Pace::Bursts(RATE),
        duration: Duration::from_secs(SECONDS),
        random_ports: true,
        ..Flood::new(template)
    };
    lab.flood(&flood)?.wait()
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn events(gateway: &Gateway<'_>, more: &[&str]) -> Result<Vec<Value>> {
    gateway.rows(&[&["events", "--json", "--limit", "100000"], more].concat())
}

fn record(gateway: &Gateway<'_>, kind: &str) -> Result<Vec<Value>> {
    gateway.rows(&["audit", "query", "--json", "--limit", "100000", "--kind", kind])
}

/// Drops by reason, as the record has them: the rows that are exact.
fn recorded(gateway: &Gateway<'_>) -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for row in record(gateway, "drops")? {
        if let (Some(reason), Some(packets)) = (row["reason"].as_str(), row["body"]["packets"].as_u64()) {
            *sums.entry(reason.to_owned()).or_default() += packets;
        }
    }
    Ok(sums)
}

/// The same as the counters have them.
fn counted(gateway: &Gateway<'_>) -> Result<BTreeMap<String, u64>> {
    let status: Value = gateway.document(&["status", "--json"])?;
    let mut sums = BTreeMap::new();
    for row in status["traffic"].as_array().context("no traffic")? {
        let packets = row["packets"].as_u64().unwrap_or(0);
        if packets != 0 && row["verdict"] == "drop" {
            *sums.entry(row["reason"].as_str().unwrap_or_default().to_owned()).or_default() += packets;
        }
    }
    Ok(sums)
}

/// HTTP without TLS, from the client to the gated service.
fn plaintext(lab: &Lab) -> Result<()> {
    let stream = lab.client.enter(|| {
        TcpStream::connect_timeout(&SocketAddr::from((SERVER_V4, 443)), Duration::from_secs(5))
    })??;
    let mut stream = stream;
    stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: api\r\n\r\n")?;
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_flood_and_plaintext_are_seen_and_on_record_to_the_packet() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::without_answers()?;
    let _nginx = lab.nginx()?;
    let mut gateway = Gateway::start(&lab, CONFIG)?;
    plaintext(&lab)?;
    let sent = flood(&lab)?.sent;

    let source = ATTACKER_V4.to_string();
    // As the record has it.
    let prefix = format!("{source}/32");
    await_that("the flood is over", PATIENCE, || {
        Ok(events(&gateway, &["--kind", "flood"])?.iter().any(|event| event["phase"] == "over"))
    })?;
    let floods = events(&gateway, &["--kind", "flood", "--service", "api"])?;
    let told = &floods[floods.len() - 1];
    ensure!(floods[0]["phase"] == "begun" && told["reason"] == "limit_syn", "{floods:#?}");
    ensure!(told["sources"][0]["source"] == source.as_str(), "not from its source: {told}");
    let packets = told["packets"].as_u64().unwrap_or(0);
    let dropped = *counted(&gateway)?.get("limit_syn").context("nothing was dropped")?;
    ensure!(packets == dropped && packets > sent / 2, "{packets} told, {dropped} dropped, {sent} sent");
    ensure!(
        gateway.log().contains("flood of limit_syn at api: begun"),
        "the log does not tell: {}",
        gateway.log()
    );

    let seen = events(&gateway, &["--reason", "plaintext_http"])?;
    let first = seen.first().context("no sample of the plaintext")?;
    ensure!(first["source"] == CLIENT_V4.to_string().as_str() && first["destination_port"] == 443, "{first}");
    ensure!(first["service"] == "api" && first["verdict"] == "drop", "{first}");
    let samples = events(&gateway, &["--reason", "limit_syn", "--kind", "drop"])?.len() as u64;
    ensure!((1..=(SECONDS + 2) * 40 * 4).contains(&samples), "{samples} samples of {packets} drops");

    // The frames, for a tool that reads captures.
    let path = gateway.state("drops.pcapng");
    let name = path.to_str().context("a name")?;
    gateway.done(&["events", "--reason", "plaintext_http", "--pcap", name])?;
    let replayed = gateway.done(&["replay", "--service", "tls:443", "--json", name])?;
    ensure!(replayed.contains("plaintext_http"), "the capture does not show it: {replayed}");

    // What a person reads of it.
    gateway.done(&["block", "add", &source, "--for", "1h", "--reason", "SYN flood"])?;
    gateway.done(&["limit", "set", "service/api", "syn", "50/s", "--for", "2h"])?;
    gateway.write_config(&CONFIG.replace("ports = [443]", "ports = [443, 8443]"))?;
    gateway.done(&["reload"])?;
    let shown = gateway.done(&["events", "--since", "10m", "--limit", "12"])?;
    ensure!(shown.contains("flood of limit_syn at api: over") && shown.contains("SYN flood"), "{shown}");
    println!("{shown}");
    for kind in ["flood", "ban", "change"] {
        let rows = gateway.done(&["audit", "query", "--kind", kind])?;
        ensure!(rows.lines().count() > 1, "no row of {kind}: {rows}");
        println!("{rows}");
    }

    // To the packet, over the death of one daemon and the life of the next.
    gateway.kill()?;
    flood(&lab)?;
    gateway.run()?;
    flood(&lab)?;
    await_that("the record has what the counters have", PATIENCE, || {
        Ok(recorded(&gateway)? == counted(&gateway)?)
    })?;
    let by_source = record(&gateway, "drops")?;
    let of_source = |row: &&Value| row["source"] == prefix.as_str() && row["body"]["of"] == "source";
    ensure!(by_source.iter().any(|row| of_source(&row)), "its source is not named: {by_source:#?}");
    plaintext(&lab)?;
    gateway.done(&["stop", "--keep"])?;
    let flood = record(&gateway, "flood")?;
    ensure!(flood.iter().any(|row| row["source"] == prefix.as_str()), "no flood on record: {flood:#?}");
    let plain = recorded(&gateway)?.get("plaintext_http").copied();
    ensure!(plain.is_some_and(|packets| packets >= 2), "the end does not sum up: {plain:?}");
    ensure!(gateway.done(&["audit", "verify"])?.contains("are as they were written"));
    Ok(())
}

/// Whoever follows is told as it happens, and never more than there is a budget for.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_client_that_follows_sees_changes_and_drops_as_they_come() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let _nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let mut following = gateway.start_cli(&["events", "--follow", "--json"])?;
    thread::sleep(Duration::from_millis(500));
    gateway.done(&["limit", "set", "default", "syn", "50/s"])?;
    plaintext(&lab)?;
    thread::sleep(Duration::from_secs(1));
    following.kill()?;
    let output = following.wait_with_output()?;
    let told = lines(&String::from_utf8(output.stdout)?)?;
    let has = |wanted: &dyn Fn(&Value) -> bool| told.iter().any(wanted);
    ensure!(
        has(&|event| event["change"]["target"] == "default syn" && event["actor"]["by"] == "user"),
        "{told:#?}"
    );
    ensure!(has(&|event| event["event"] == "drop" && event["reason"] == "plaintext_http"), "{told:#?}");
    Ok(())
}
