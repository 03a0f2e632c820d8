//! What the kernel counts in a namespace.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Counters of the protocols, as `nstat` names them: `TcpRetransSegs`, `TcpExtSyncookiesSent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads them.
    ///
    /// # Errors
    /// Where /proc is not mounted.
    pub fn read(namespace: &Namespace) -> Result<Self> {
        let [snmp, netstat, snmp6] = namespace.enter(|| {
            ["snmp", "netstat", "snmp6"]
                .map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")))
        })?;
        let mut all = BTreeMap::new();
        for text in [snmp, netstat] {
            parse(&text.context("cannot read the protocols' counters")?, &mut all);
        }
        // Of IPv6 a line is one counter.
        let snmp6 = snmp6.context("cannot read the protocols' counters of IPv6")?;
        let counter = |line: &str| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        all.extend(snmp6.lines().filter_map(counter));
        Ok(Self(all))
    }

    /// One counter; 0 where the kernel does not have it.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// What has been counted since `earlier`, without those that stood still.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = self.0.iter().map(|(name, value)| (name.clone(), value.wrapping_sub(earlier.get(name))));
        Self(grown.filter(|(_, value)| *value != 0).collect())
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// Pairs of lines, `Tcp: name name` and `Tcp: 1 2`.
fn parse(text: &str, all: &mut BTreeMap<String, u64>) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut names = names.split_whitespace();
        let group = names.next().unwrap_or_default().trim_end_matches(':');
        for (name, value) in names.zip(values.split_whitespace().skip(1)) {
            // A few, as `TcpMaxConn`, are -1.
            all.insert(format!("{group}{name}"), value.parse().unwrap_or_default());
        }
    }
}

/// What an interface has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames that came and were dropped before any program saw them.
    pub rx_dropped: u64,
    /// Frames sent, and taken by the other end.
    pub tx_packets: u64,
    /// Frames sent, for which the other end had no room.
    pub tx_dropped: u64,
}

impl Interface {
    /// Reads the counters of one interface.
    ///
    /// # Errors
    /// Where the namespace has no such interface.
    pub fn read(namespace: &Namespace, name: &str) -> Result<Self> {
        Meter::open(namespace, name)?.read()
    }

    pub(crate) fn parse(text: &str, name: &str) -> Result<Self> {
        let numbers = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
        let numbers: Vec<u64> = numbers
            .with_context(|| format!("there is no interface {name}"))?
            .split_whitespace()
            .map(|number| number.parse().unwrap_or_default())
            .collect();
        let column = |index: usize| numbers.get(index).copied().unwrap_or_default();
        Ok(Self {
            rx_packets: column(1),
            rx_dropped: column(3),
            tx_packets: column(9),
            tx_dropped: column(11),
        })
    }
}

/// The counters of one interface, for who reads them often: the open file stays that of its namespace.
pub struct Meter {
    file: File,
    name: String,
}

impl Meter {
    /// Opens them.
    ///
    /// # Errors
    /// Where /proc is not mounted.
    pub fn open(namespace: &Namespace, name: &str) -> Result<Self> {
        let file = namespace.enter(|| File::open("/proc/thread-self/net/dev"))?;
        Ok(Self { file: file.context("cannot read the interfaces' counters")?, name: name.to_owned() })
    }

    /// Reads them.
    ///
    /// # Errors
    /// Where the namespace has no such interface.
    pub fn read(&self) -> Result<Interface> {
        let (mut file, mut text) = (&self.file, String::new());
        file.rewind()?;
        file.read_to_string(&mut text).context("cannot read the interfaces' counters")?;
        Interface::parse(&text, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_of_nstat() {
        let mut all = BTreeMap::new();
        parse("Tcp: RetransSegs MaxConn\nTcp: 7 -1\nTcpExt: SyncookiesSent\nTcpExt: 3\n", &mut all);
        let counters = Counters(all);
        assert_eq!(counters.get("TcpRetransSegs"), 7);
        assert_eq!(counters.get("TcpExtSyncookiesSent"), 3);
        assert_eq!(counters.get("TcpMaxConn"), 0);
    }

    #[test]
    fn the_columns_of_an_interface() {
        let text = "Inter-|\n face |\n  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let interface = Interface::parse(text, "lo").unwrap();
        assert_eq!(interface, Interface { rx_packets: 2, rx_dropped: 4, tx_packets: 10, tx_dropped: 12 });
        assert!(Interface::parse(text, "l").is_err());
    }
}
