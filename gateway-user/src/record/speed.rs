//! How fast the record is: `cargo test --release -p gateway-user --lib record_speed -- --ignored --nocapture`. Nothing is asserted of
//! time; GATEWAY_RECORD_ROWS and GATEWAY_RECORD_MONTHS say how much is written.

use std::{
    env,
    hint::black_box,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    Filter, Format, Kind, Order, each, export, query, status,
    testing::{DAY, NOVEMBER, REASONS, entry, open},
    verify,
};

const BATCH: u32 = 1000;

fn number(name: &str, or: u32) -> u32 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn rate(rows: u32, took: Duration) -> f64 {
    f64::from(rows) / took.as_secs_f64()
}

#[test]
#[ignore = "it measures, for minutes"]
fn record_speed() {
    let (rows, months) = (number("GATEWAY_RECORD_ROWS", 2_000_000), number("GATEWAY_RECORD_MONTHS", 4));
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let (mut making, begin) = (Duration::ZERO, Instant::now());
    for batch in 0..rows / BATCH {
        let made = Instant::now();
        let month = u64::from(batch * BATCH / (rows / months));
        let at = |number: u32| NOVEMBER + month * 31 * DAY + u64::from(number % (rows / months)) * 10;
        let entries: Vec<_> =
            (batch * BATCH..(batch + 1) * BATCH).map(|number| entry(number, at(number))).collect();
        making += made.elapsed();
        record.append(&entries).unwrap();
    }
    let took = begin.elapsed() - making;
    println!("append: {rows} rows in batches of {BATCH}: {took:.2?}, {:.0} rows/s", rate(rows, took));
    let begin = Instant::now();
    let kept = record.checkpoint(NOVEMBER).unwrap();
    println!("checkpoint: {:.2?}", begin.elapsed());
    let status = status(place.path()).unwrap();
    println!("on the disk: {} bytes, {} a row", status.bytes, status.bytes / status.rows);

    let begin = Instant::now();
    let report = verify(place.path(), &record.vkey(), &[kept], NOVEMBER).unwrap();
    let took = begin.elapsed();
    println!("verify: {took:.2?}, {:.0} rows/s, {} findings", rate(rows, took), report.findings.len());

    let text = |text: &str| Some(text.to_owned());
    let source = entry(rows / 2, 0).facts.source;
    let day = NOVEMBER + 31 * DAY;
    for (name, filter) in [
        ("newest", Filter::default()),
        ("one source", Filter { source, ..Filter::default() }),
        ("a /20", Filter { source: "10.1.16.0/20".parse().ok(), ..Filter::default() }),
        ("an /9", Filter { source: "10.0.0.0/9".parse().ok(), ..Filter::default() }),
        ("a kind", Filter { kind: Some(Kind::Change), ..Filter::default() }),
        ("no kind", Filter { kind: Some(Kind::Tls), ..Filter::default() }),
        ("an actor", Filter { actor: text("cli root"), ..Filter::default() }),
        ("a reason", Filter { reason: text(REASONS[1]), ..Filter::default() }),
        (
            "a reason and a kind",
            Filter { reason: text(REASONS[0]), kind: Some(Kind::Change), ..Filter::default() },
        ),
        ("ten seconds", Filter { since: Some(day), until: Some(day + 10_000), ..Filter::default() }),
        (
            "a /9 in ten seconds",
            Filter {
                since: Some(day),
                until: Some(day + 10_000),
                source: "10.0.0.0/9".parse().ok(),
                ..Filter::default()
            },
        ),
        (
            "a reason and an actor that have no row",
            Filter { reason: text(REASONS[1]), actor: text("cli root"), ..Filter::default() },
        ),
    ] {
        let begin = Instant::now();
        let found = query(place.path(), &filter, 100).unwrap();
        println!("query, {name}: {:.2?}, {} rows", begin.elapsed(), found.rows.len());
    }

    let all = Filter { order: Order::OldestFirst, ..Filter::default() };
    let begin = Instant::now();
    each(place.path(), &all, |row| {
        black_box(row);
        ControlFlow::Continue(())
    })
    .unwrap();
    println!("each: {:.0} rows/s", rate(rows, begin.elapsed()));
    for format in [Format::JsonLines, Format::Csv, Format::Cef] {
        let begin = Instant::now();
        export(place.path(), &all, format, &mut std::io::sink()).unwrap();
        println!("export, {format:?}: {:.0} rows/s", rate(rows, begin.elapsed()));
    }
    let begin = Instant::now();
    drop(record);
    drop(open(place.path()));
    println!("open: {:.2?}", begin.elapsed());
}
