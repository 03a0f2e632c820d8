//! A run beside an earlier one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

/// The figures of a run that has been written down.
pub(crate) fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no file of figures", path.display()))
}

/// Prints every median that both runs have, and how many times the earlier one the later one is.
pub(crate) fn print(earlier: &Map<String, Value>, later: &Map<String, Value>) -> Result<()> {
    println!("Beside an earlier run: {} then, {} now", host(earlier), host(later));
    println!("{:72}{:>16}{:>10}{:>10}{:>10}", "", "", "then", "now", "ratio");
    let mut rows = 0;
    for (part, row) in later.iter().flat_map(|(part, rows)| rows_of(rows).map(move |row| (part, row))) {
        let then = earlier.get(part).into_iter().flat_map(rows_of).find(|then| name(then) == name(row));
        for (figure, now) in medians(row) {
            let Some(then) = then.and_then(|then| medians(then).find(|(other, _)| *other == figure)) else {
                continue;
            };
            let (then, ratio) = (then.1, if then.1 == 0.0 { 1.0 } else { now / then.1 });
            println!(
                "{:72}{figure:>16}{then:>10.1}{now:>10.1}{ratio:>10.2}",
                format!("{part}: {}", name(row))
            );
            rows += 1;
        }
    }
    ensure!(rows > 0, "the runs have nothing in common");
    println!();
    Ok(())
}

fn rows_of(part: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    part.as_array().into_iter().flatten().filter_map(Value::as_object)
}

/// What a row is about: all that it says in words.
fn name(row: &Map<String, Value>) -> String {
    row.values().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn medians(row: &Map<String, Value>) -> impl Iterator<Item = (&str, f64)> {
    row.iter().filter_map(|(figure, value)| Some((figure.as_str(), value.get("median")?.as_f64()?)))
}

/// What a run was made on.
fn host(run: &Map<String, Value>) -> String {
    let of = |what: &str| run.get("host").and_then(|host| host.get(what)).cloned().unwrap_or_default();
    format!("{} x {}, Linux {}, load {}", of("cpus"), of("model"), of("kernel"), of("load"))
}
