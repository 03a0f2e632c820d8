//! Connections to services are held to their number and their time, by a thread of its own: to list a hundred thousand sockets takes
//! a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use gateway_common::{
    abi::SERVICES,
    limit::rate::{INSTANT_SHIFT, Instant as Clock},
};

use super::clock::monotonic;
use crate::{
    connections::{Cause, Findings, Rules, Watch},
    kernel::{Holders, Kernel},
    net::{Connection, Connections},
};

/// How often connections are counted, where there are limits on their number.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked for how long they have waited.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many times longer than a look takes it is waited for the next.
const REST: u32 = 10;
/// For so many looks the packet path believes what it was told: should this thread end, nobody is held for good.
const BELIEVED: u32 = 8;

/// What the thread tells, by counter row.
struct Told {
    open: [AtomicU64; SERVICES],
    ended: [[AtomicU64; Cause::COUNT]; SERVICES],
}

/// The thread that counts connections; it ends with this.
pub(in crate::daemon) struct Watcher {
    told: Arc<Told>,
    /// Where it takes rules from; it ends when this does.
    rules: Option<Sender<Option<Rules>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to count.
    pub(in crate::daemon) fn start(kernel: &mut Kernel) -> Result<Self> {
        let connections = Connections::open()?;
        let holders = kernel.take_holders().context("another thread counts connections")?;
        let told = Arc::new(Told {
            open: [const { AtomicU64::new(0) }; SERVICES],
            ended: [const { [const { AtomicU64::new(0) }; Cause::COUNT] }; SERVICES],
        });
        let work = Work {
            connections,
            holders,
            epoch: kernel.identity().epoch,
            told: Arc::clone(&told),
            watch: None,
            looked: None,
            has_failed: false,
        };
        let (rules, received) = channel();
        let thread = thread::Builder::new().name("connections".into()).spawn(move || work.run(&received))?;
        Ok(Self { told, rules: Some(rules), thread: Some(thread) })
    }

    /// From now on these rules hold.
    pub(in crate::daemon) fn follow(&self, rules: Option<Rules>) {
        if let Some(sender) = &self.rules {
            // A thread that is gone has told why.
            let _ = sender.send(rules);
        }
    }

    /// Connections of the service in a counter row that are open.
    pub(in crate::daemon) fn open(&self, row: u8) -> u64 {
        self.told.open.get(usize::from(row)).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Connections of the service in a counter row that were ended.
    pub(in crate::daemon) fn ended(&self, row: u8, cause: Cause) -> u64 {
        let counts = self.told.ended.get(usize::from(row));
        counts.map_or(0, |counts| counts[cause as usize].load(Ordering::Relaxed))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.rules.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    connections: Connections,
    holders: Holders,
    epoch: u64,
    told: Arc<Told>,
    watch: Option<Watch>,
    /// When it was looked for how long connections have waited.
    looked: Option<Instant>,
    /// An error was told: the next is like it.
    has_failed: bool,
}

impl Work {
    fn run(mut self, received: &Receiver<Option<Rules>>) {
        let mut wait = LOOK_EVERY;
        loop {
            match received.recv_timeout(wait) {
                Ok(rules) => self.follow(rules),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let start = Instant::now();
            let has_limits = self.watch.as_ref().is_some_and(|watch| watch.rules().have_limits());
            let every = if has_limits { COUNT_EVERY } else { LOOK_EVERY };
            match self.look(start, every) {
                Ok(()) => self.has_failed = false,
                Err(error) if !std::mem::replace(&mut self.has_failed, true) => {
                    log::warn!("cannot count connections: {error:#}");
                }
                Err(_) => {}
            }
            wait = every.max(start.elapsed() * REST);
        }
    }

    fn follow(&mut self, rules: Option<Rules>) {
        let Some(rules) = rules else {
            self.watch = None;
            return;
        };
        match &mut self.watch {
            Some(watch) => watch.follow(rules),
            None => self.watch = Some(Watch::new(rules)),
        }
    }

    fn look(&mut self, now: Instant, every: Duration) -> Result<()> {
        let Some(watch) = &mut self.watch else { return self.tell(&Findings::default(), every) };
        let is_due = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        let counts = is_due && watch.rules().have_timeouts();
        if counts {
            self.looked = Some(now);
        }
        let sockets = self.connections.open_ones(counts)?;
        let findings = watch.judge(&sockets, now);
        let ends = watch.rules().ends;
        // Before others come in the place of those that are ended.
        self.tell(&findings, every.max(now.elapsed() * REST))?;
        if ends { self.end(&sockets, &findings) } else { Ok(()) }
    }

    /// Tells the packet path and whoever asks.
    fn tell(&mut self, findings: &Findings, every: Duration) -> Result<()> {
        let until = monotonic() + (every * BELIEVED).as_nanos() as u64;
        let until: Clock = until.wrapping_sub(self.epoch) << INSTANT_SHIFT;
        self.holders.set(&findings.holders, &findings.full, until)?;
        for (row, told) in self.told.open.iter().enumerate() {
            told.store(findings.open.get(row).copied().unwrap_or(0), Ordering::Relaxed);
        }
        Ok(())
    }

    fn end(&mut self, sockets: &[Connection], findings: &Findings) -> Result<()> {
        for &(place, row, cause) in &findings.ends {
            if self.connections.end(&sockets[place])?
                && let Some(counts) = self.told.ended.get(usize::from(row))
            {
                counts[cause as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
