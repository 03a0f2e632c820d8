//! Floods through filters: time in the program by the kernel's own statistics, and packets a second over veth.

use std::time::Duration;

use anyhow::Result;
use aya::sys::{Stats, enable_stats};
use serde_json::{Value, json};

use crate::filters::{Filter, NEIGHBOURS_RATE, RATE, TOTAL_RATE};
use crate::line::{From, Sample, sample};
use crate::spread::Spread;

/// How long each flood lasts.
const DURATION: Duration = Duration::from_millis(1_200);
/// From whom floods come.
const SOURCES: [From; 3] = [From::One, From::Random(1 << 16), From::Random(1 << 24)];

/// Time in the program alone, net of a bare drop that gets the same frames.
pub(crate) fn programs(rounds: usize) -> Result<Value> {
    println!(
        "Nanoseconds a packet in the program, live frames over veth, {rounds} rounds, net of a bare XDP_DROP"
    );
    println!("{:44}{:12}{:>22}{:>22}", "", "", "net ns", "ns");
    // Statistics are kept as long as this is held. They cost some time themselves, the bare drop too.
    let _statistics = enable_stats(Stats::RunTime)?;
    let filters = [Filter::Drop, Filter::Gateway, Filter::Wide, Filter::Textbook];
    let mut rows = Vec::new();
    for from in SOURCES {
        let samples = interleaved(&filters, from, rounds)?;
        let of = |filter: usize| samples[filter].iter().map(|sample| sample.program_ns);
        for (index, filter) in filters.iter().enumerate() {
            let net = Spread::of(of(index).zip(of(0)).map(|(own, bare)| own - bare).collect());
            let gross = Spread::of(of(index).collect());
            println!("{:44}{:12}{:>22}{:>22}", filter.name(), from.name(), net.text(0), gross.text(0));
            rows.push(json!({
                "filter": filter.name(), "sources": from.name(), "net_ns": net.json(), "ns": gross.json(),
            }));
        }
    }
    println!();
    Ok(Value::Array(rows))
}

/// Packets a second, CPU time for each, and what one CPU could deal with if it had nothing else to do.
pub(crate) fn filters(rounds: usize) -> Result<Value> {
    println!(
        "Floods over veth, {rounds} rounds; limits: {RATE}/s for a source, where there are such {NEIGHBOURS_RATE}/s for a \
         neighbourhood\nand {TOTAL_RATE}/s for all; what a filter lets through is dropped by a rule right behind it"
    );
    println!(
        "{:56}{:>9}{:>9}{:>20}{:>8}{:>8}",
        "", "offered", "handled", "CPU ns a packet", "=Mpps", "passed"
    );
    let all = [
        Filter::Drop,
        Filter::Gateway,
        Filter::Wide,
        Filter::Textbook,
        Filter::Nftables,
        Filter::Hashlimit,
        Filter::Pass,
    ];
    let mut rows = Vec::new();
    for from in SOURCES {
        // Those that know a list, where there is one source to list.
        let listed = [Filter::Blocked, Filter::XdpTools];
        let all: Vec<Filter> =
            all.into_iter().chain(listed.into_iter().filter(|_| from == From::One)).collect();
        let samples = interleaved(&all, from, rounds)?;
        rows.extend(all.iter().zip(samples).map(|(filter, samples)| row(*filter, from, &samples)));
    }
    println!();
    Ok(Value::Array(rows))
}

/// Prints what a filter did, and gives it for the file.
fn row(filter: Filter, from: From, samples: &[Sample]) -> Value {
    let of = |field: fn(&Sample) -> f64| Spread::of(samples.iter().map(field).collect());
    let (offered, handled) = (of(|sample| sample.offered), of(|sample| sample.handled));
    let (cpu, passed) = (of(|sample| sample.cpu_ns), of(|sample| sample.passed));
    println!(
        "{:44}{:12}{:>9.2}{:>9.2}{:>20}{:>8.2}{:>6.1} %",
        filter.name(),
        from.name(),
        offered.median,
        handled.median,
        cpu.text(0),
        1e3 / cpu.median.max(1.0),
        passed.median,
    );
    json!({
        "filter": filter.name(), "sources": from.name(), "offered_mpps": offered.json(), "handled_mpps": handled.json(),
        "cpu_ns": cpu.json(), "passed_percent": passed.json(),
    })
}

/// Samples of each filter, taken in turns.
fn interleaved(filters: &[Filter], from: From, rounds: usize) -> Result<Vec<Vec<Sample>>> {
    let mut samples: Vec<Vec<Sample>> = filters.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (filter, samples) in filters.iter().zip(&mut samples) {
            samples.push(sample(*filter, from, (round as u64) << 32, DURATION)?);
        }
    }
    Ok(samples)
}
