//! Which open connections of the host's services are one too many, or wait too long: [`Rules`] out of a configuration, and [`Watch`],
//! which holds the host's sockets to them.
//!
//! Sockets are what is counted, so nothing forged is. Of those above a limit the youngest go, by when they were first seen, and whoever has
//! as many as he may is told to the packet path, which refuses his SYNs. A server that speaks TLS sends nothing before it has read a
//! whole hello: so whether a hello is whole is asked of the server, and not of the client's bytes. While the server leaves bytes unread it
//! is the server that is late.

mod rules;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_common::abi::{Holder, SERVICES};

use rules::{Rule, Standing};
pub use rules::{Rules, watched};

use crate::net::{Connection, Counts};

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// Its source, its neighbourhood or its service has all that it may have.
    Limit,
    /// The server waits for a hello for too long.
    Hello,
    /// Neither side has sent anything for too long.
    Idle,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All, in their order.
    pub const ALL: [Self; Self::COUNT] = [Self::Limit, Self::Hello, Self::Idle];

    /// The word for it in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Hello => "hello_timeout",
            Self::Idle => "idle_timeout",
        }
    }
}

/// What is needed to know of a connection.
pub trait Socket {
    /// What tells it from all others.
    fn cookie(&self) -> u64;
    /// The client's address.
    fn peer(&self) -> IpAddr;
    /// The host's address and port.
    fn local(&self) -> SocketAddr;
    /// Bytes that the application has not read.
    fn unread(&self) -> u32;
    /// What TCP has counted, if it was asked.
    fn counts(&self) -> Option<Counts>;
}

impl Socket for Connection {
    fn cookie(&self) -> u64 {
        self.cookie()
    }

    fn peer(&self) -> IpAddr {
        self.peer()
    }

    fn local(&self) -> SocketAddr {
        self.local()
    }

    fn unread(&self) -> u32 {
        self.unread
    }

    fn counts(&self) -> Option<Counts> {
        self.counts
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Findings {
    /// Connections that are to be ended, by their places in what was looked at, with their services' counter rows.
    pub ends: Vec<(usize, u8, Cause)>,
    /// Sources and neighbourhoods that have all they may have.
    pub holders: HashSet<Holder>,
    /// Counter rows of the services that have.
    pub full: HashSet<u8>,
    /// Connections of services, those to be ended too, by counter row.
    pub open: Vec<u64>,
}

/// What is remembered of a connection from one look to the next.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Younger ones have higher numbers.
    number: u64,
    since: Instant,
    standing: Standing,
}

/// Holds connections to rules.
#[derive(Debug)]
pub struct Watch {
    rules: Arc<Rules>,
    seen: HashMap<u64, Seen>,
    next: u64,
}

impl Watch {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), seen: HashMap::new(), next: 0 }
    }

    /// What connections are held to.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// From now on other rules hold; how long connections have been open is not forgotten.
    pub fn follow(&mut self, rules: Rules) {
        self.rules = Arc::new(rules);
        self.seen.values_mut().for_each(|seen| seen.standing = Standing::Unknown);
    }

    /// Looks at all connections that are open now.
    pub fn judge(&mut self, sockets: &[impl Socket], now: Instant) -> Findings {
        let rules = Arc::clone(&self.rules);
        let ordered = self.order(&rules, sockets, now);
        let mut findings = Findings { open: vec![0; SERVICES], ..Findings::default() };
        let mut tallies = Tallies::default();
        for (seen, place, rule) in ordered {
            let socket = &sockets[place];
            let cause = overdue(socket, rule, now.saturating_duration_since(seen.since)).or_else(|| {
                let is_held = seen.standing != Standing::Trusted;
                (is_held && !tallies.admit(&rules, rule, socket.peer(), seen.standing))
                    .then_some(Cause::Limit)
            });
            findings.open[usize::from(rule.row)] += 1;
            if let Some(cause) = cause
                && rules.may_end(rule, socket.peer())
            {
                findings.ends.push((place, rule.row, cause));
            }
        }
        (findings.holders, findings.full) = (tallies.holders, tallies.full);
        findings
    }

    /// The connections of services, the oldest first; all others are forgotten.
    fn order<'r>(
        &mut self,
        rules: &'r Rules,
        sockets: &[impl Socket],
        now: Instant,
    ) -> Vec<(Seen, usize, &'r Rule)> {
        let mut seen_now = HashMap::with_capacity(self.seen.len());
        let mut ordered = Vec::with_capacity(self.seen.len());
        for (place, socket) in sockets.iter().enumerate() {
            let Some(rule) = rules.of_service(socket.local()) else { continue };
            let cookie = socket.cookie();
            let mut seen = self.seen.get(&cookie).copied().unwrap_or_else(|| {
                self.next += 1;
                Seen { number: self.next, since: now, standing: Standing::Unknown }
            });
            if seen.standing == Standing::Unknown {
                seen.standing = rules.standing(socket.peer());
            }
            seen_now.insert(cookie, seen);
            ordered.push((seen, place, rule));
        }
        self.seen = seen_now;
        ordered.sort_unstable_by_key(|(seen, ..)| seen.number);
        ordered
    }
}

/// Whether a connection has had its time.
fn overdue(socket: &impl Socket, rule: &Rule, age: Duration) -> Option<Cause> {
    let counts = socket.counts()?;
    let is_over = |timeout: Option<Duration>, time: Duration| timeout.is_some_and(|timeout| time >= timeout);
    if !counts.has_answered && socket.unread() == 0 && is_over(rule.connections().hello_timeout, age) {
        return Some(Cause::Hello);
    }
    is_over(rule.connections().idle_timeout, counts.idle.min(age)).then_some(Cause::Idle)
}

/// How many connections there are, of those that stay.
#[derive(Default)]
struct Tallies {
    counts: HashMap<Holder, u32>,
    totals: HashMap<u8, u32>,
    holders: HashSet<Holder>,
    full: HashSet<u8>,
}

impl Tallies {
    /// Counts one more, if there is room for it in all limits that hold it.
    fn admit(&mut self, rules: &Rules, rule: &Rule, peer: IpAddr, standing: Standing) -> bool {
        let source = rule.connections().each.map(|limit| (rules.source(peer, rule.row), limit));
        let is_neighbour = standing != Standing::Classed;
        let neighbourhood =
            rules.neighbours.filter(|_| is_neighbour).map(|limit| (rules.neighbourhood(peer), limit));
        let limits = [source, neighbourhood];
        let holders = || limits.into_iter().flatten();
        let total = self.totals.entry(rule.row).or_default();
        let has_room = |holder: &Holder, limit| self.counts.get(holder).is_none_or(|count| *count < limit);
        if rule.connections().total.is_some_and(|limit| *total >= limit)
            || !holders().all(|(holder, limit)| has_room(&holder, limit))
        {
            return false;
        }
        *total += 1;
        if Some(*total) == rule.connections().total {
            self.full.insert(rule.row);
        }
        for (holder, limit) in holders() {
            let count = self.counts.entry(holder).or_default();
            *count += 1;
            if *count == limit {
                self.holders.insert(holder);
            }
        }
        true
    }
}
