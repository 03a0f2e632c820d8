//! What a server's connections cost its kernel.

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::namespace::Namespace;

/// How often it is looked.
const PAUSE: Duration = Duration::from_secs(1);

/// Sockets of a namespace, and the kernel's memory, which all namespaces share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Handshakes under way.
    pub half_open: u64,
    /// Connections that no program has accepted yet.
    pub waiting: u64,
    /// TCP sockets.
    pub in_use: u64,
    /// Connections that are over, and kept for a minute.
    pub time_wait: u64,
    /// Entries of the connection tracking.
    pub tracked: u64,
    /// Pages of TCP's buffers.
    pub pages: u64,
    /// Slab memory that cannot be reclaimed, in KiB: requests, sockets, tracked connections, and all else.
    pub slab_kib: u64,
}

impl Sockets {
    /// Reads them.
    ///
    /// # Errors
    /// Where iproute2 or /proc is missing.
    pub fn read(namespace: &Namespace) -> Result<Self> {
        let listening = namespace.run("ss", &["-Hlnt"])?;
        let half_open = namespace.run("ss", &["-Hnt", "state", "syn-recv"])?;
        let files = ["thread-self/net/sockstat", "thread-self/net/sockstat6", "meminfo"];
        let [v4, v6, memory] =
            namespace.enter(|| files.map(|file| fs::read_to_string(format!("/proc/{file}"))))?;
        let [v4, v6, memory] =
            [v4.context("no sockstat")?, v6.unwrap_or_default(), memory.context("no meminfo")?];
        let tracked = namespace.enter(|| fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count"))?;
        Ok(Self {
            half_open: half_open.lines().count() as u64,
            waiting: listening.lines().map(waiting).sum(),
            in_use: after(&v4, "TCP:", "inuse") + after(&v6, "TCP6:", "inuse"),
            time_wait: after(&v4, "TCP:", "tw"),
            // There is no such file before the first rule that asks for it.
            tracked: tracked.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default(),
            pages: after(&v4, "TCP:", "mem"),
            slab_kib: after(&memory, "SUnreclaim:", "SUnreclaim:"),
        })
    }

    /// Does some work, and gives the most of each number that there was meanwhile.
    ///
    /// # Errors
    /// Where the work fails, or they cannot be read.
    pub fn peak<T: Send>(
        namespace: &Namespace,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<(T, Self)> {
        thread::scope(|scope| {
            let work = scope.spawn(work);
            let mut peak = Self::read(namespace)?;
            while !work.is_finished() {
                thread::sleep(PAUSE);
                peak = peak.most(Self::read(namespace)?);
            }
            Ok((work.join().map_err(|_| anyhow!("the work panicked"))??, peak))
        })
    }

    fn most(self, other: Self) -> Self {
        Self {
            half_open: self.half_open.max(other.half_open),
            waiting: self.waiting.max(other.waiting),
            in_use: self.in_use.max(other.in_use),
            time_wait: self.time_wait.max(other.time_wait),
            tracked: self.tracked.max(other.tracked),
            pages: self.pages.max(other.pages),
            slab_kib: self.slab_kib.max(other.slab_kib),
        }
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { half_open, waiting, in_use, time_wait, tracked, pages, slab_kib } = self;
        write!(
            f,
            "{half_open} half open, {waiting} waiting, {in_use} in use, {time_wait} in TIME-WAIT, {tracked} tracked, \
             {pages} pages, {slab_kib} KiB of slab"
        )
    }
}

/// Connections that wait at a listener: the second column of `ss -l`.
fn waiting(line: &str) -> u64 {
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// The number behind a word of the line that begins so; 0 where there is none.
fn after(text: &str, line: &str, word: &str) -> u64 {
    let words = text.lines().find(|text| text.starts_with(line)).unwrap_or_default().split_whitespace();
    let number = words.skip_while(|other| *other != word).nth(1);
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_their_words() {
        let text = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 7 alloc 12 mem 5\nUDP: inuse 1 mem 2\n";
        assert_eq!(["inuse", "tw", "mem", "frag"].map(|word| after(text, "TCP:", word)), [3, 7, 5, 0]);
        assert_eq!(after("SUnreclaim:       81234 kB\n", "SUnreclaim:", "SUnreclaim:"), 81_234);
        assert_eq!(waiting("LISTEN 4 4096 0.0.0.0:443 0.0.0.0:*"), 4);
    }
}
