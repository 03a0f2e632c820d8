//! Lists of nested prefixes: what they say of a source is the same on both sides.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use gateway_common::{abi::listing, hash::Key, limit::rate::Dimension};
use gateway_user::host::{HostEnv, Sets, Stand};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};

use crate::{
    builder::ip,
    cases::{Draft as _, SERVER, START, limit},
    kernel::{Judge, tables::compare_tables},
};

/// Shows frames from where something changes in lists of nested prefixes to both sides: lists of all lengths, on both
/// sides of /24, near each other and anywhere, and a /19 of which every address is listed.
///
/// # Errors
/// Names the first frame that they judge differently, with the seed that makes its list again.
pub fn run(lists: u64, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let (sets, key) = (Sets::default(), Key(random.random()));
    let mut judge = Judge::new(sets, key)?;
    for list in 0..lists {
        let (stand, sources) = listed(&mut random, list % 8 == 7);
        let host = HostEnv::new(Stand { sets, key, ..stand });
        judge.lay(host.stand())?;
        for source in sources {
            let frame = ip(&Ipv4Addr::from(source).to_string(), SERVER).udp(1, 53).build();
            let (ours, theirs) = (host.judge(&frame, START), judge.judge(&frame, START, 0)?);
            ensure!(
                ours == theirs,
                "seed {seed}, list {list}, source {}: host {ours:?}, kernel {theirs:?}",
                Ipv4Addr::from(source)
            );
        }
        compare_tables(&host, judge.kernel())?;
    }
    Ok(())
}

/// A list, and sources at its prefixes' ends and beside them. Each class has another rate, so that the tables tell them apart.
fn listed(random: &mut StdRng, dense: bool) -> (Stand, Vec<u32>) {
    const WORDS: [u32; 4] = [0, listing::BLOCK, listing::ALLOW, listing::BLOCK | listing::NEVER];
    let mut stand = Stand::new();
    for class in 1..4 {
        stand = stand.class(class, Dimension::Udp, limit(Dimension::Udp, u64::from(class), 100));
    }
    // Three neighbourhoods, and now and then anywhere.
    let bases: [u32; 3] = random.random();
    let mut prefixes: Vec<(u32, u8)> = (0..random.random_range(0..200))
        .map(|_| {
            let near = bases[random.random_range(0..bases.len())] ^ random.random_range(0..0x4000);
            let address = if random.random_ratio(1, 8) { random.random() } else { near };
            let shortest = if random.random() { 0 } else { 20 };
            (address, random.random_range(shortest..=32))
        })
        .collect();
    if dense {
        prefixes.extend((0..8_192).map(|index| (bases[0] & !0x1fff | index, 32)));
    }
    let mut sources = vec![0, u32::MAX];
    for (address, length) in prefixes {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let (first, last) = (address & mask, address | !mask);
        let flags = WORDS[random.random_range(0..WORDS.len())];
        let prefix = format!("{}/{length}", Ipv4Addr::from(first));
        stand = stand.list(&prefix, flags, random.random_range(0..4));
        sources.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1), random.random()]);
    }
    (stand, sources)
}
