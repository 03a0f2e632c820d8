//! The record: how fast rows go in, and how fast a year of an attacked host is asked and verified.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_user::record::{Entry, Facts, Filter, Kind, Options, Record, Sources, query, status, verify};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

/// Rows of a year of an attacked host, and of a quick run.
const YEAR: u32 = 20_000_000;
const QUICK: u32 = 1_000_000;
const MONTHS: u32 = 12;
const BATCH: u32 = 1_000;
/// The first of January 2026, and a month, in Unix milliseconds.
const START: u64 = 1_767_225_600_000;
const MONTH: u64 = 31 * 86_400_000;
/// What is promised: rows a second, the longest query, the longest verification of a year, and its bytes.
const ROWS_A_SECOND: f64 = 50_000.0;
const QUERY: Duration = Duration::from_millis(200);
const VERIFY: Duration = Duration::from_secs(60);
const BYTES: u64 = 4 << 30;

const REASONS: [&str; 4] = ["limit_syn", "not_tls", "plaintext_http", "banned"];

/// A row like those that the daemon writes each minute, told from others by its number.
fn entry(number: u32, at: u64) -> Entry {
    let address = Ipv4Addr::from_bits((10 << 24) | (number.wrapping_mul(2_654_435_761) >> 8));
    let body = json!({ "packets": number % 9_973, "from": at - 60_000, "of": "source", "n": number });
    let facts = Facts {
        source: Ipv4Net::new(address, 32).ok().map(IpNet::V4),
        reason: Some(REASONS[number as usize % REASONS.len()].to_owned()),
        service: Some("api".to_owned()),
        actor: number.is_multiple_of(1_000).then(|| "root".to_owned()),
        body: body.as_object().cloned().unwrap_or_default(),
    };
    Entry { at, kind: if number.is_multiple_of(1_000) { Kind::Change } else { Kind::Drops }, facts }
}

/// Writes it, and gives how long that took without making the rows, and the last checkpoint with the key.
fn write(place: &Path, rows: u32) -> Result<(Duration, String, String)> {
    let options = Options { origin: "gateway/record".to_owned(), sources: Sources::Full };
    let (mut record, warnings) = Record::open(place, &options, START)?;
    ensure!(warnings.is_empty(), "{warnings:?}");
    let a_month = rows / MONTHS;
    let mut took = Duration::ZERO;
    for first in (0..rows).step_by(BATCH as usize) {
        let at = |number: u32| {
            let month = u64::from(number / a_month);
            START + month * MONTH + u64::from(number % a_month) * (MONTH / u64::from(a_month))
        };
        let entries: Vec<Entry> = (first..first + BATCH).map(|number| entry(number, at(number))).collect();
        let began = Instant::now();
        record.append(&entries)?;
        took += began.elapsed();
    }
    let kept = record.checkpoint(START + 13 * MONTH)?;
    Ok((took, kept, record.vkey()))
}

/// Measures it.
pub(crate) fn measure(quick: bool) -> Result<Value> {
    let rows = if quick { QUICK } else { YEAR };
    let place = tempfile::tempdir_in("/var/tmp").context("no place for it")?;
    let (took, kept, vkey) = write(place.path(), rows)?;
    let rate = f64::from(rows) / took.as_secs_f64();
    let status = status(place.path())?;
    let a_row = status.bytes / u64::from(rows);
    println!("record: {rows} rows at {rate:.0} a second; {} MiB, {a_row} bytes a row", status.bytes >> 20);
    let source = entry(rows / 2, START).facts.source;
    let day = START + 3 * MONTH;
    let by = |name, filter| (name, filter);
    let mut slowest = Duration::ZERO;
    let mut queries = Vec::new();
    for (name, filter) in [
        by("the newest", Filter::default()),
        by("a source", Filter { source, ..Filter::default() }),
        by("a /20", Filter { source: "10.1.16.0/20".parse().ok(), ..Filter::default() }),
        by("a kind", Filter { kind: Some(Kind::Change), ..Filter::default() }),
        by("a kind without rows", Filter { kind: Some(Kind::Tls), ..Filter::default() }),
        by("an actor", Filter { actor: Some("root".to_owned()), ..Filter::default() }),
        by("a reason", Filter { reason: Some(REASONS[1].to_owned()), ..Filter::default() }),
        by("a minute", Filter { since: Some(day), until: Some(day + 60_000), ..Filter::default() }),
        by(
            "a /9 on a day",
            Filter {
                since: Some(day),
                until: Some(day + 86_400_000),
                source: "10.0.0.0/9".parse().ok(),
                ..Filter::default()
            },
        ),
    ] {
        let began = Instant::now();
        let found = query(place.path(), &filter, 200)?;
        let took = began.elapsed();
        slowest = slowest.max(took);
        println!("record: {name}: {took:.1?}, {} rows", found.rows.len());
        queries.push(json!({ "query": name, "ms": took.as_secs_f64() * 1e3 }));
    }
    let began = Instant::now();
    let report = verify(place.path(), &vkey, &[kept], START + 13 * MONTH)?;
    let verified = began.elapsed();
    ensure!(report.is_intact(), "{report:?}");
    println!("record: verified in {verified:.1?}");
    for (what, is_met) in [
        ("rows a second", rate >= ROWS_A_SECOND),
        ("queries", slowest < QUERY),
        ("verification", verified < VERIFY),
        ("bytes", status.bytes < BYTES),
    ] {
        println!("record: {what}: {}", if is_met { "as promised" } else { "NOT as promised" });
    }
    Ok(json!({
        "rows": rows, "rows_a_second": rate, "bytes": status.bytes, "queries": queries,
        "verify_s": verified.as_secs_f64(),
    }))
}
