//! What the gateway promises, at full length, with figures. Needs root.
//!
//! ```text
//! soak --list
//! soak [--short] --all | NAME...
//! ```

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use gateway_tests::bars::{
    BARS, Bar, Scale, connections, cookies, downloads, floods, floods_at_full_rate, forged, http3, overhead,
    random_connections, random_sources, refused, reload_million, share_at_full_rate, stacks, strangers,
    victim,
};
use gateway_tests::lab::missing;

/// Measurements that no test makes: they want more programs, or what they give depends on the machine.
const LONG: [(&str, Bar); 16] = [
    ("stacks", stacks),
    ("random", random_connections),
    ("refused", refused),
    ("connections", connections),
    ("http3", http3),
    ("forged", forged),
    ("cookies", cookies),
    ("downloads", downloads),
    ("overhead", overhead),
    ("floods", floods),
    ("floods-full-rate", floods_at_full_rate),
    ("strangers", strangers),
    ("victim", victim),
    ("reload-million", reload_million),
    ("flood", random_sources),
    ("share", share_at_full_rate),
];

fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = names.len();
        names.retain(|other| other != name);
        before != names.len()
    };
    let (list, all, short) = (flag("--list"), flag("--all"), flag("--short"));
    let known: Vec<(&str, Bar)> = BARS.into_iter().chain(LONG).collect();
    if list {
        known.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    if let Some(what) = missing() {
        bail!("this needs {what}");
    }
    let unknown = names.iter().find(|name| !known.iter().any(|(known, _)| known == name));
    ensure!(unknown.is_none(), "there is no {unknown:?}; see --list");
    ensure!(all || !names.is_empty(), "name a measurement, or --all; see --list");
    let scale = if short { Scale::SHORT } else { Scale::FULL };
    let mut failed = 0;
    for (name, bar) in known.into_iter().filter(|(known, _)| all || names.iter().any(|name| name == known)) {
        let start = Instant::now();
        match bar(&scale) {
            Ok(()) => println!("{name}: done in {:.1} s", start.elapsed().as_secs_f64()),
            Err(error) => {
                failed += 1;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    ensure!(failed == 0, "{failed} failed");
    Ok(())
}
