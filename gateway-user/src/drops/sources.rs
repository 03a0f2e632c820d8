//! Which sources are dropped most, by the counts of the tables.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::{escalation::more, model::Prefix};

/// What bans have dropped, by their keys, when that was last looked at.
#[derive(Clone, Debug, Default)]
pub struct BanCounts(HashMap<u64, u64>);

impl BanCounts {
    /// Takes the counts of all; gives those that have dropped something since, and how much.
    pub fn grown(&mut self, counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
        let counts: HashMap<u64, u64> = counts.into_iter().collect();
        let before = std::mem::replace(&mut self.0, counts);
        let grown = |(key, count): (&u64, &u64)| (*key, more(*count, before.get(key).copied().unwrap_or(0)));
        self.0.iter().map(grown).filter(|(_, more)| *more != 0).collect()
    }
}

/// The sources that were dropped most, and the networks of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Sources with their packets, the first the most.
    pub sources: Vec<(Prefix, u64)>,
    /// /24 and /48 of those that are not among them, likewise.
    pub networks: Vec<(Prefix, u64)>,
    /// Packets of all others.
    pub rest: u64,
}

impl Top {
    /// The first `most` sources, and as many networks of the rest.
    pub fn of(dropped: impl IntoIterator<Item = (Prefix, u64)>, most: usize) -> Self {
        let mut sums: HashMap<Prefix, u64> = HashMap::new();
        for (source, packets) in dropped {
            *sums.entry(source).or_default() += packets;
        }
        let (sources, others) = split(sums, most);
        let mut networks: HashMap<Prefix, u64> = HashMap::new();
        for (source, packets) in others {
            *networks.entry(network(source)).or_default() += packets;
        }
        let (networks, others) = split(networks, most);
        Self { sources, networks, rest: others.into_iter().map(|(_, packets)| packets).sum() }
    }
}

type Ranked = Vec<(Prefix, u64)>;

fn split(sums: HashMap<Prefix, u64>, most: usize) -> (Ranked, Ranked) {
    let mut ranked: Ranked = sums.into_iter().collect();
    ranked.sort_unstable_by_key(|(prefix, packets)| (u64::MAX - packets, *prefix));
    let others = ranked.split_off(most.min(ranked.len()));
    (ranked, others)
}

/// The /24 or /48 around a source; of one that is as wide, itself.
fn network(source: Prefix) -> Prefix {
    let own = source.network();
    let length = own.prefix_len().min(if own.addr().is_ipv4() { 24 } else { 48 });
    let around = IpNet::new(own.addr(), length).map(|net| net.trunc());
    around.ok().and_then(|net| Prefix::try_from(net).ok()).unwrap_or(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_since_the_last_look() {
        let mut counts = BanCounts::default();
        assert_eq!(counts.grown([(5, 10)]), [(5, 10)]);
        let mut grown = counts.grown([(5, 12), (6, 1)]);
        grown.sort_unstable();
        assert_eq!(grown, [(5, 2), (6, 1)]);
    }

    #[test]
    fn the_most_come_first_and_the_rest_by_network() {
        let prefix = |text: &str| -> Prefix { text.parse().unwrap() };
        let dropped = [
            ("192.0.2.1", 5),
            ("192.0.2.2", 50),
            ("192.0.2.3", 7),
            ("198.51.100.1", 3),
            ("2001:db8:7:1::/64", 60),
            ("2001:db8:7:2::/64", 4),
        ];
        let top = Top::of(dropped.map(|(text, packets)| (prefix(text), packets)), 2);
        assert_eq!(top.sources, [(prefix("2001:db8:7:1::/64"), 60), (prefix("192.0.2.2"), 50)]);
        assert_eq!(top.networks, [(prefix("192.0.2.0/24"), 12), (prefix("2001:db8:7::/48"), 4)]);
        assert_eq!(top.rest, 3);
    }
}
