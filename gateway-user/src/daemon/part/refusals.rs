//! Connections whose opening the program refused are ended on both sides, by the host's own TCP.
//!
//! A thread of its own does it, so that nobody who is refused can keep the daemon from answering. It looks at a connection a moment after
//! its segment was refused: what came in one batch with it has reached the host's TCP by then, and if TCP has taken other bytes in its place,
//! as of an honest client whose connection a stranger has guessed, the connection goes on.

use std::{
    collections::{HashSet, VecDeque},
    io::{PipeReader, PipeWriter, pipe},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use gateway_common::abi::{Refusal, SERVICES};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    config::{Config, Refuse},
    kernel::{Kernel, Refusals},
    net::{Connections, NetError},
};

/// Longer than packets of one batch wait between the program and the host's TCP.
const SETTLE: Duration = Duration::from_millis(10);
/// A segment that is sent again and again is looked at once in so long.
const AGAIN: Duration = Duration::from_millis(100);
/// Connections that are looked at, or were a moment ago; of more than these no one is ended before its client sends again.
const WATCHED_MAX: usize = 1 << 16;
/// Refusals that are read before connections are ended.
const BATCH: usize = 1_024;

/// How many connections were ended, by service.
type Ended = [AtomicU64; SERVICES];

/// The thread that ends connections; it ends with this.
pub(in crate::daemon) struct Ender {
    ended: Arc<Ended>,
    /// Nothing is written to it: the thread sees it closed.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Ender {
    /// Begins to end what the program refuses.
    pub(in crate::daemon) fn start(kernel: &mut Kernel) -> Result<Self> {
        let connections = Connections::open()?;
        let refusals = kernel.take_refusals().context("another thread reads what is refused")?;
        let (stopped, stop) = pipe()?;
        let ended = Arc::new([const { AtomicU64::new(0) }; SERVICES]);
        let work =
            Work { connections, ended: Arc::clone(&ended), watched: Watched::default(), has_failed: false };
        let thread =
            thread::Builder::new().name("refusals".into()).spawn(move || work.run(refusals, &stopped))?;
        Ok(Self { ended, stop: Some(stop), thread: Some(thread) })
    }

    /// Connections of the service in a counter row that were ended.
    pub(in crate::daemon) fn ended(&self, row: u8) -> u64 {
        self.ended.get(usize::from(row)).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether any service asks for it.
pub(in crate::daemon) fn are_ended(config: &Config) -> bool {
    config.gated().any(|service| service.refuse == Refuse::Reset)
}

/// What the thread has.
struct Work {
    connections: Connections,
    ended: Arc<Ended>,
    watched: Watched,
    /// An error was told: the next is like it.
    has_failed: bool,
}

impl Work {
    fn run(mut self, mut refusals: Refusals, stopped: &PipeReader) {
        loop {
            let mut files = [
                PollFd::new(refusals.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut files, self.watched.wait(Instant::now())) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    log::error!("connections that are refused stay open from now on: {error}");
                    return;
                }
            }
            if files[1].revents().is_some_and(|events| !events.is_empty()) {
                return;
            }
            let now = Instant::now();
            for refusal in refusals.by_ref().take(BATCH) {
                self.watched.add(refusal, now);
            }
            while let Some(refusal) = self.watched.due(now) {
                if let Err(error) = self.end(&refusal)
                    && !std::mem::replace(&mut self.has_failed, true)
                {
                    log::warn!("cannot end a connection that was refused: {error}");
                }
            }
        }
    }

    /// Ends a connection that waits still for the bytes that were refused.
    fn end(&mut self, refusal: &Refusal) -> Result<(), NetError> {
        let (client, server) = ends(refusal);
        let found = self.connections.find(client, server, refusal.interface)?;
        let Some(connection) = found.filter(|found| {
            found.counts.is_some_and(|counts| counts.received == refusal.received) && !found.is_signed
        }) else {
            return Ok(());
        };
        if self.connections.end(&connection)?
            && let Some(count) = self.ended.get(refusal.service as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Client and server of a connection.
fn ends(refusal: &Refusal) -> (SocketAddr, SocketAddr) {
    let address = |[high, low]: [u64; 2]| match refusal.ipv6 {
        0 => IpAddr::V4(Ipv4Addr::from_bits(low as u32)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))),
    };
    (
        SocketAddr::new(address(refusal.client), refusal.client_port),
        SocketAddr::new(address(refusal.server), refusal.server_port),
    )
}

/// Refused segments that are to be looked at, each once.
#[derive(Default)]
struct Watched {
    all: HashSet<Refusal>,
    /// By when their connections are looked at.
    fresh: VecDeque<(Instant, Refusal)>,
    /// By when they are forgotten.
    seen: VecDeque<(Instant, Refusal)>,
}

impl Watched {
    fn add(&mut self, refusal: Refusal, now: Instant) {
        if self.all.len() < WATCHED_MAX && self.all.insert(refusal) {
            self.fresh.push_back((now + SETTLE, refusal));
        }
    }

    /// One whose time has come.
    fn due(&mut self, now: Instant) -> Option<Refusal> {
        while let Some((_, refusal)) = self.seen.pop_front_if(|(due, _)| *due <= now) {
            self.all.remove(&refusal);
        }
        let (_, refusal) = self.fresh.pop_front_if(|(due, _)| *due <= now)?;
        self.seen.push_back((now + AGAIN, refusal));
        Some(refusal)
    }

    /// For how long there is nothing to do.
    fn wait(&self, now: Instant) -> PollTimeout {
        let next = [self.fresh.front(), self.seen.front()].into_iter().flatten().map(|(due, _)| *due).min();
        next.map_or(PollTimeout::NONE, |due| {
            // Not before its time: the rest of a millisecond would be waited for in circles.
            let wait = due.saturating_duration_since(now).as_millis() as u64 + 1;
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(port: u16) -> Refusal {
        Refusal {
            client: [0, 0xffff_c000_0201],
            server: [0x2001_0db8_0000_0000, 1],
            received: 0,
            client_port: port,
            server_port: 443,
            ipv6: 0,
            service: 1,
            interface: 2,
        }
    }

    #[test]
    fn a_refused_segment_is_looked_at_once_and_not_before_its_batch_has_arrived() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        watched.add(refusal(1), start);
        watched.add(refusal(1), start + SETTLE / 2);
        assert_eq!(watched.due(start + SETTLE / 2), None);
        assert_eq!(watched.due(start + SETTLE), Some(refusal(1)));
        assert_eq!(watched.due(start + SETTLE), None);
        watched.add(refusal(1), start + 2 * SETTLE);
        assert_eq!(watched.due(start + 4 * SETTLE), None, "it was looked at just now");
        assert_eq!(watched.due(start + 2 * AGAIN), None);
        watched.add(refusal(1), start + 2 * AGAIN);
        assert_eq!(watched.due(start + 3 * AGAIN), Some(refusal(1)));
    }

    #[test]
    fn no_more_are_watched_than_there_is_room_for() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        for place in 0..2 * WATCHED_MAX {
            watched.add(Refusal { received: place as u64, ..refusal(1) }, start);
        }
        assert_eq!(std::iter::from_fn(|| watched.due(start + SETTLE)).count(), WATCHED_MAX);
        watched.due(start + 2 * AGAIN);
        assert!(watched.all.is_empty() && watched.wait(start).is_none());
    }

    #[test]
    fn both_ends_are_what_the_packet_said() {
        let (client, server) = ends(&refusal(5));
        assert_eq!((client, server.port()), ("192.0.2.1:5".parse().unwrap(), 443));
        let (_, server) = ends(&Refusal { ipv6: 1, ..refusal(5) });
        assert_eq!(server, "[2001:db8::1]:443".parse().unwrap());
    }
}
