//! What lists of prefixes cost: floods from sources all over IPv4 through the gateway with lists of growing length, beside a
//! look-up in an LPM trie of the same prefixes; and how long a million takes to come into force, and how much memory.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use gateway_common::{
    abi::{Listing, listing},
    limit::rate::Dimension,
    tables::TableSizes,
};
use gateway_tests::cases::{Draft as _, Offer, limit};
use gateway_tests::lab::{
    FLOOD_V4, Flood, Gateway, Lab, PrefixMemory, Program, ProgramClock, RECEIVER, SENDER, SERVER_V4, Sources,
    Template,
};
use gateway_user::host::Stand;
use gateway_user::{kernel::Kernel, policy::PolicySet, prefixes::Prefixes};
use serde_json::{Value, json};

use crate::{
    filters::{PORT, Standing, TOTAL_RATE},
    spread::Spread,
    subject::gateway,
};

/// How long each flood lasts.
const DURATION: Duration = Duration::from_millis(1_200);
/// A long list.
const MILLION: u32 = 1_000_000;
/// How long the kernel may take to free a set, and the daemon to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is listed, each prefix once and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// So many addresses all over IPv4; where the first is.
    Addresses(u32, u32),
    /// A million prefixes of 20 to 32 bits, as many of each length, all over IPv4.
    Networks,
}

impl List {
    fn name(self) -> String {
        match self {
            Self::Addresses(0, _) => "nothing".to_owned(),
            Self::Addresses(1, _) => "1 address".to_owned(),
            Self::Addresses(count, _) => format!("{count} addresses"),
            Self::Networks => format!("{MILLION} prefixes, /20 to /32"),
        }
    }

    fn prefixes(self) -> Vec<([u8; 4], u8)> {
        // A multiplier without common factors goes through all addresses (Knuth, The Art of Computer Programming, 6.4).
        let scattered = |index: u32| index.wrapping_mul(2_654_435_769);
        let mut prefixes: Vec<_> = match self {
            Self::Addresses(count, first) => (0..count).map(|index| (scattered(first + index), 32)).collect(),
            Self::Networks => (0..MILLION)
                .map(|index| {
                    let length = 20 + (index % 13) as u8;
                    (scattered(index) & u32::MAX << (32 - length), length)
                })
                .collect(),
        };
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.into_iter().map(|(address, length)| (address.to_be_bytes(), length)).collect()
    }

    /// A policy that blocks them, and drops nearly all else by a total.
    fn policy(self) -> PolicySet {
        let total = limit(Dimension::Udp, TOTAL_RATE, TOTAL_RATE);
        let settings = Stand::new().serve(Offer::udp(PORT).total(Dimension::Udp, total)).settings;
        let blocked = Listing { flags: listing::BLOCK, class: 0, finer: 0 };
        let v4: Vec<_> =
            self.prefixes().into_iter().map(|(address, length)| (address, length, blocked)).collect();
        PolicySet::new(settings, Prefixes { v4, v6: Vec::new() }.into())
    }
}

/// Lists that a flood meets.
const LISTS: [List; 5] = [
    List::Addresses(0, 0),
    List::Addresses(1, 0),
    List::Addresses(10_000, 0),
    List::Addresses(MILLION, 0),
    List::Networks,
];

/// What takes a flood.
#[derive(Clone, Copy, Debug)]
enum Case {
    Drop,
    Gateway(List),
    Trie(List),
}

impl Case {
    fn stand(self, lab: &Lab) -> Result<Standing> {
        Ok(match self {
            Self::Drop => Standing::Lab(lab.attach(Program::Drop)?),
            Self::Trie(list) => {
                let mut attached = lab.attach(Program::Trie)?;
                attached.list(&list.prefixes())?;
                Standing::Lab(attached)
            }
            Self::Gateway(list) => {
                Standing::with(lab, TableSizes::default(), true, |kernel| Ok(kernel.apply(&list.policy())?))?
            }
        })
    }

    /// Nanoseconds a packet in the program.
    fn sample(self, seed: u64) -> Result<f64> {
        let lab = Lab::new()?;
        let standing = self.stand(&lab)?;
        lab.receive_on(RECEIVER)?;
        let source: IpAddr = FLOOD_V4.into();
        let template = Template::udp(source, SERVER_V4.into(), (4_000, PORT), 18)?;
        let sources = Sources::Ipv4 { first: Ipv4Addr::UNSPECIFIED, count: u32::MAX };
        let flood = Flood { sources, duration: DURATION, cpu: Some(SENDER), seed, ..Flood::new(template) };
        let clock = ProgramClock::of(&lab)?;
        lab.flood(&flood)?.wait()?;
        let ns = clock.ns_a_packet();
        drop(standing);
        ns
    }
}

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "Nanoseconds a packet in the program, live frames from all IPv4 addresses over veth, {rounds} rounds; the gateway's net \
         of the same without a list,\nthe trie's net of a bare XDP_DROP"
    );
    println!(
        "{:40}{:>22}{:>22}{:>22}{:>10}",
        "listed", "gateway ns", "the list's part", "LPM_TRIE", "trie /"
    );
    let _statistics = enable_stats(Stats::RunTime)?;
    let tries = LISTS.into_iter().skip(1).map(Case::Trie);
    let cases: Vec<Case> = [Case::Drop].into_iter().chain(LISTS.map(Case::Gateway)).chain(tries).collect();
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(case.sample((round as u64) << 32).with_context(|| format!("{case:?}"))?);
        }
    }
    let net =
        |own: &[f64], of: &[f64]| Spread::of(own.iter().zip(of).map(|(own, other)| own - other).collect());
    let (bare, gateways, tries) = (&samples[0], &samples[1..=LISTS.len()], &samples[LISTS.len() + 1..]);
    let mut rows = Vec::new();
    for (index, list) in LISTS.into_iter().enumerate() {
        let gross = Spread::of(gateways[index].clone());
        let part = net(&gateways[index], &gateways[0]);
        let trie = index.checked_sub(1).map(|index| net(&tries[index], bare));
        let ratio = trie.map(|trie| trie.median / part.median.max(1.0));
        println!(
            "{:40}{:>22}{:>22}{:>22}{:>10}",
            list.name(),
            gross.text(0),
            part.text(0),
            trie.map_or_else(String::new, |trie| trie.text(0)),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}")),
        );
        rows.push(json!({
            "listed": list.name(), "gateway_ns": gross.json(), "list_ns": part.json(),
            "trie_ns": trie.map(|trie| trie.json()), "trie_by_list": ratio,
        }));
    }
    println!();
    rows.extend(switches()?);
    rows.extend(reloads()?);
    Ok(Value::Array(rows))
}

/// How long sets take to come into force, and what memory they take: with the old set, and without.
fn switches() -> Result<Vec<Value>> {
    println!("{:40}{:>12}{:>12}{:>16}{:>12}", "switch to", "ms", "settled ms", "MiB at once", "MiB then");
    let mut kernel: Kernel = gateway(vec![1])?;
    let others = memory()?;
    let mut rows = Vec::new();
    for list in
        [LISTS[0], LISTS[1], LISTS[2], LISTS[3], LISTS[4], List::Addresses(MILLION, MILLION), LISTS[0]]
    {
        let policy = list.policy();
        let start = Instant::now();
        kernel.switch(&policy)?;
        let switched = start.elapsed();
        let most = memory()? - others;
        let start = Instant::now();
        kernel.settle()?;
        let settled = switched + start.elapsed();
        let then = freed()? - others;
        let [switched, settled] = [switched, settled].map(|time| time.as_secs_f64() * 1e3);
        println!("{:40}{switched:>12.0}{settled:>12.0}{most:>16.1}{then:>12.1}", list.name());
        rows.push(json!({
            "switch_to": list.name(), "switch_ms": switched, "settled_ms": settled, "most_mib": most, "then_mib": then,
        }));
    }
    println!();
    Ok(rows)
}

/// The kernel's memory for chunks of prefix sets, in MiB.
fn memory() -> Result<f64> {
    Ok(PrefixMemory::default().read()? as f64 / f64::from(1 << 20))
}

/// The same once it shrinks no more.
fn freed() -> Result<f64> {
    let (start, mut last) = (Instant::now(), memory()?);
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = memory()?;
        if now == last || start.elapsed() > PATIENCE {
            return Ok(now);
        }
        last = now;
    }
}

/// How long `gateway reload` takes, when the list's file has others in it.
fn reloads() -> Result<Vec<Value>> {
    println!("{:40}{:>12}", "gateway reload, a list file of", "ms");
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let file = gateway.state("block.txt");
    gateway.write_config(&format!("mode = \"enforce\"\n[lists]\nblock = [\"file:{}\"]\n", file.display()))?;
    let mut rows = Vec::new();
    for list in [LISTS[0], LISTS[2], LISTS[3], LISTS[4], List::Addresses(MILLION, MILLION), LISTS[0]] {
        let line = |(address, length): ([u8; 4], u8)| format!("{}/{length}\n", Ipv4Addr::from(address));
        let text: String = list.prefixes().into_iter().map(line).collect();
        fs::write(&file, text)?;
        let start = Instant::now();
        gateway.done(&["reload"])?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        println!("{:40}{took:>12.0}", list.name());
        rows.push(json!({ "reload": list.name(), "reload_ms": took }));
    }
    println!();
    Ok(rows)
}
