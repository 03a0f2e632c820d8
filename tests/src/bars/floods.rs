//! Floods that lie about their source: what honest clients get, with the gateway, with nftables and with nothing.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::cookies::{config, text, warm_up};
use super::flood::{PACES, reasons};
use super::{Scale, servers};
use crate::builder::{Frame, between, flags};
use crate::lab::{
    Counters, FLOOD_V4, FLOOD_V6, Flood, FloodReport, Flooding, Gateway, Https, Lab, Outcome, Pace, Program,
    RECEIVER, SENDER, Sockets, Sources, Template,
};

/// How many honest requests start in a second.
const RATE: u32 = 20;
/// When one counts as failed, and the length of a round.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Requests of a round.
const ROUND: u32 = RATE * TIMEOUT.as_secs() as u32;
/// How many times the median without a flood the median in one may be.
const SLOWER: f64 = 1.5;
/// Handshakes, and connections to be accepted, that honest requests may have under way.
const UNDER_WAY: u64 = ROUND as u64;
/// Pages of TCP's buffers that honest requests may use.
const PAGES: u64 = 1_024;
/// What else runs may make the kernel's memory grow by so many KiB.
const SLAB_KIB: u64 = 32 << 10;
/// The floods, a row each.
const KINDS: [&str; 10] = ["SYN", "ACK", "SYN-ACK", "RST", "FIN", "data", "UDP", "ICMP", "fragment", "mixed"];
/// Whatever the server's listeners refused, and its cookies.
const LISTENERS: [&str; 6] = [
    "TcpExtListenOverflows",
    "TcpExtListenDrops",
    "TcpExtTCPReqQFullDrop",
    "TcpExtSyncookiesSent",
    "TcpExtSyncookiesRecv",
    "TcpExtSyncookiesFailed",
];

/// What stands between a flood and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// A program that knows the flood's addresses and drops them: the best that can be.
    Best,
    /// The gateway with `syn_cookies = "auto"`.
    Gateway,
    /// nftables, which drops what conntrack finds invalid, and limits new connections.
    Nftables,
    /// Nothing.
    None,
}

/// One flood against one filter.
#[derive(Clone, Copy, Debug)]
struct Row {
    filter: Filter,
    /// Nothing: no flood.
    kind: Option<&'static str>,
    v6: bool,
    pace: Pace,
    rounds: u32,
}

/// What a row came to.
struct Served {
    outcome: Outcome,
    /// Frames of the flood, in a second, and the share that the server's interface had room for.
    sent: f64,
    taken: f64,
    before: Sockets,
    peak: Sockets,
    server: Counters,
    /// Segments that the honest clients sent again.
    resent: u64,
}

/// Every kind of flood at the highest pace at which the best filter lets every honest request through.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn floods(scale: &Scale) -> Result<()> {
    let mut quiet = Vec::new();
    for filter in [Filter::Gateway, Filter::Nftables, Filter::None] {
        for v6 in [false, true] {
            let row = Row { filter, kind: None, v6, pace: Pace::Unlimited, rounds: 2 };
            let outcome = row.serve()?.outcome;
            println!("floods: no flood, {}, {filter:?}: {}", family(v6), text(&outcome));
            quiet.push(((filter, v6), outcome.quantile(0.5).context("no request was answered")?));
        }
    }
    let pace = highest("floods", scale)?;
    let mut short = Vec::new();
    for row in rows(pace, scale) {
        let served = row.serve()?;
        let own = quiet.iter().find(|(which, _)| *which == (row.filter, row.v6)).context("no such row")?.1;
        let median = served.outcome.quantile(0.5).unwrap_or_default();
        let slower = median.as_secs_f64() / own.as_secs_f64();
        row.print("floods", &served);
        println!("floods:   median {slower:.2} times that without a flood");
        let missed = row.missed(&served, slower);
        if row.filter == Filter::Gateway && !missed.is_empty() {
            short.push(format!("{}: {}", row.name(), missed.join(", ")));
        }
    }
    ensure!(short.is_empty(), "{}", short.join("; "));
    Ok(())
}

/// The same at the generator's full rate.
///
/// # Errors
/// Where the lab fails; what is served is a figure, not a failure.
pub fn floods_at_full_rate(scale: &Scale) -> Result<()> {
    for row in rows(Pace::Unlimited, scale) {
        row.print("floods-full-rate", &row.serve()?);
    }
    Ok(())
}

/// The highest pace of a forged SYN flood at which the best filter lets all honest requests through.
pub(super) fn highest(bar: &str, scale: &Scale) -> Result<Pace> {
    let mut highest = None;
    for rate in PACES {
        let pace = Pace::Smooth(rate);
        let rounds = rounds(scale);
        let row = Row { filter: Filter::Best, kind: Some("SYN"), v6: false, pace, rounds };
        let served = row.serve()?;
        row.print(bar, &served);
        if served.outcome.failed != 0 {
            break;
        }
        highest = Some(pace);
    }
    let pace = highest.with_context(|| format!("not even the best filter serves all at {}/s", PACES[0]))?;
    println!("{bar}: {pace:?} is the highest pace at which a bare drop lets all through");
    Ok(pace)
}

/// Rounds of a row, but for those that take longer.
fn rounds(scale: &Scale) -> u32 {
    (scale.seconds / 4).max(1) as u32
}

/// All rows; at a pace those of SYNs take six times as long as `scale` says.
fn rows(pace: Pace, scale: &Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in KINDS {
        for v6 in [false, true] {
            for filter in [Filter::Gateway, Filter::Nftables, Filter::None] {
                let rounds = match (pace, kind) {
                    (Pace::Unlimited, _) => 1,
                    (_, "SYN") => 2 * scale.seconds as u32,
                    _ => rounds(scale),
                };
                rows.push(Row { filter, kind: Some(kind), v6, pace, rounds });
            }
        }
    }
    rows
}

const fn family(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

impl Row {
    fn name(&self) -> String {
        format!("{}, {}, {:?}", self.kind.unwrap_or("no flood"), family(self.v6), self.filter)
    }

    /// Honest requests over the flood's own cable: whoever is honest shares its queue.
    fn serve(&self) -> Result<Served> {
        let lab = Lab::without_answers()?;
        let nginx = lab.nginx()?;
        let program = match self.filter {
            Filter::Best => Some(Program::DropFlood),
            Filter::Nftables | Filter::None => Some(Program::Pass),
            Filter::Gateway => None,
        };
        let _attached = program.map(|program| lab.attach(program)).transpose()?;
        let gateway = program.is_none().then(|| Gateway::start(&lab, &config("auto"))).transpose()?;
        if self.filter == Filter::Nftables {
            lab.server.run("nft", &[NFTABLES])?;
        }
        warm_up(&lab, &nginx)?;
        lab.receive_on(RECEIVER)?;
        let resent = || Ok::<_, anyhow::Error>(Counters::read(&lab.attacker)?.get("TcpRetransSegs"));
        let (server, resent_before) = (Counters::read(&lab.server)?, resent()?);
        let before = Sockets::read(&lab.server)?;
        let floods = self.flood(&lab)?;
        thread::sleep(Duration::from_secs(1));
        let target = servers()[usize::from(self.v6)];
        let https = Https { server: (target, 443).into(), timeout: TIMEOUT, ..Https::new(&nginx) };
        let requests = || https.run_steadily(&lab.attacker, RATE, ROUND * self.rounds);
        let (outcome, peak) = Sockets::peak(&lab.server, requests)?;
        let reports = floods.into_iter().map(Flooding::stop).collect::<Result<Vec<_>>>()?;
        if let Some(gateway) = gateway.filter(|_| outcome.failed > 0) {
            reasons(&lab, &gateway)?;
        }
        Ok(Served {
            outcome,
            sent: reports.iter().map(FloodReport::rate).sum(),
            // The interface's counters are those of all floods that go through it.
            taken: reports.first().map_or(1.0, |report| {
                report.delivered as f64 / (report.delivered + report.dropped).max(1) as f64
            }),
            before,
            peak,
            server: Counters::read(&lab.server)?.since(&server),
            resent: resent()? - resent_before,
        })
    }

    /// Starts the flood's generators.
    fn flood(&self, lab: &Lab) -> Result<Vec<Flooding>> {
        let kinds = match &self.kind {
            Some("mixed") => &KINDS[..9],
            kind => kind.as_slice(),
        };
        let pace = match self.pace {
            // A smooth sender takes a CPU for itself.
            Pace::Smooth(rate) if kinds.len() > 1 => Pace::Bursts(rate / kinds.len() as u64),
            other => other,
        };
        let from = if self.v6 { FLOOD_V6.into() } else { FLOOD_V4.into() };
        let start = |(number, kind): (usize, &&str)| {
            lab.flood(&Flood {
                sources: if self.v6 {
                    Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 }
                } else {
                    Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 }
                },
                random_ports: true,
                pace,
                cpu: Some(SENDER),
                // It is stopped.
                duration: TIMEOUT * (self.rounds + 20),
                // Far apart: else the kinds would come from the same ports one after another.
                seed: (number as u64) << 40,
                ..Flood::new(Template::from_frame(&template(kind, from).build())?)
            })
        };
        kinds.iter().enumerate().map(start).collect()
    }

    fn print(&self, bar: &str, served: &Served) {
        let Served { outcome, sent, taken, before, peak, server, resent } = served;
        println!("{bar}: {}: {}", self.name(), text(outcome));
        println!(
            "{bar}:   flood {sent:.0}/s at {:?}, {:.2} % taken; {resent} segments sent again",
            self.pace,
            taken * 100.0
        );
        println!("{bar}:   server before: {before}");
        println!("{bar}:   server at most: {peak}");
        let refused: Vec<_> = LISTENERS.map(|name| format!("{} {}", &name[6..], server.get(name))).into();
        println!("{bar}:   {}", refused.join(", "));
    }

    /// What was promised and not kept.
    fn missed(&self, served: &Served, slower: f64) -> Vec<String> {
        let Served { outcome, before, peak, server, .. } = served;
        let mut missed = Vec::new();
        if outcome.failed * 1_000 > outcome.ok + outcome.failed {
            missed.push(text(outcome));
        }
        if self.kind != Some("SYN") {
            return missed;
        }
        if slower > SLOWER {
            missed.push(format!("median {slower:.2} times"));
        }
        let is_flat = peak.half_open <= UNDER_WAY
            && peak.waiting <= UNDER_WAY
            && peak.pages <= before.pages + PAGES
            && peak.slab_kib <= before.slab_kib + SLAB_KIB
            && LISTENERS[..3].iter().all(|name| server.get(name) == 0);
        if !is_flat {
            missed.push(format!("from {before} to {peak}"));
        }
        missed
    }
}

/// One frame of a flood to the server.
pub(super) fn template(kind: &str, from: IpAddr) -> Frame {
    let to = servers()[usize::from(from.is_ipv6())];
    let tcp = |bits| between(from, to).tcp(4_000, 443).flags(bits).seq(77);
    match kind {
        "SYN" => tcp(flags::SYN).tcp_options(&[2, 4, 5, 180]),
        "ACK" => tcp(flags::ACK),
        "SYN-ACK" => tcp(flags::SYN | flags::ACK),
        "RST" => tcp(flags::RST),
        "FIN" => tcp(flags::FIN | flags::ACK),
        "data" => tcp(flags::ACK | flags::PSH).payload(b"GET / HTTP/1.1\r\n"),
        "ICMP" => {
            between(from, to).icmp(if from.is_ipv6() { 128 } else { 8 }, 0, [0, 1, 0, 1]).payload(&[0; 56])
        }
        "fragment" => between(from, to).udp(4_000, 53).fragment(1_480, true).payload(&[0; 64]),
        _ => between(from, to).udp(4_000, 443).payload(&[0; 64]),
    }
}

/// What nftables can do: drop what belongs to no connection, and limit new ones.
const NFTABLES: &str = "table inet gateway { chain input { type filter hook input priority 0; policy accept; \
    ct state invalid drop; ct state established accept; tcp dport 443 tcp flags & (syn|ack) == syn limit rate over 2000/second drop; \
    tcp dport 443 ct state new tcp flags & (syn|ack) != syn drop; \
    ip protocol icmp limit rate over 1000/second drop; meta l4proto udp limit rate over 1000/second drop; }; }";
