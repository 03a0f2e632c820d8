//! Random connections: no byte of plaintext is read.

use anyhow::{Result, ensure};

use super::Scale;
use crate::adversary::{CONFIG, Condition, play, random};
use crate::lab::{Gateway, Lab};

/// Where they are played: wherever SYN cookies are in use, one or many packets at once, and without.
const CONDITIONS: [Condition; 7] = [
    Condition::SynCookies,
    Condition::GatewayCookies,
    Condition::MultipathCookies,
    Condition::LateSynCookies,
    Condition::LateGatewayCookies,
    Condition::LateReadingCookies,
    Condition::Usual,
];
/// Connections that the server has at once, over each of IPv4 and IPv6.
const AT_ONCE: u64 = 500;

/// So many connections by chance under each condition; the seeds follow from one, which is printed. `SEED` gives that one, and `CONDITION` a
/// part of a condition's name, to play a breach again.
///
/// # Errors
/// Where an application reads what is no hello, or the lab fails.
pub fn random_connections(scale: &Scale) -> Result<()> {
    let batches = if *scale == Scale::FULL { 8 } else { 1 };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or_else(rand::random);
    println!("random: the first seed is {first}");
    let only = std::env::var("CONDITION").unwrap_or_default();
    for condition in CONDITIONS.into_iter().filter(|one| format!("{one:?}").contains(&only)) {
        let (mut all, mut read) = (0, 0);
        for batch in 0..batches {
            // Each with a server and a gateway of its own: what the last left behind is gone.
            let lab = Lab::new()?;
            let _gateway = Gateway::start(&lab, CONFIG)?;
            let seeds = (0..AT_ONCE).map(|number| first.wrapping_add(batch * AT_ONCE + number));
            let scenarios: Vec<_> = seeds.clone().map(random::scenario).collect();
            for (played, seed) in
                play(&lab, condition, &scenarios)?.into_iter().zip(seeds.clone().chain(seeds))
            {
                all += 1;
                read += usize::from(played.read.iter().any(|bytes| !bytes.is_empty()));
                ensure!(
                    played.breach.is_none(),
                    "{condition:?}, IPv{}: {}: {}; read {:?}; {}",
                    if played.v6 { 6 } else { 4 },
                    played.name,
                    played.breach.unwrap_or_default(),
                    played.read,
                    random::describe(seed)
                );
            }
        }
        println!("random: {condition:?}: {all} connections, of {read} something was read, all of it lawful");
        ensure!(read > all / 20, "{read} of {all} were read: this shows nothing");
    }
    Ok(())
}
