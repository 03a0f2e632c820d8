//! SYN cookies and floods that lie about their source: what honest clients get, with the gateway, with nftables and with nothing.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use super::{HONEST, Scale, flood::in_five};
use crate::builder::{Frame, between, flags};
use crate::lab::{
    Counters, FLOOD_V4, FLOOD_V6, Flood, Gateway, Https, Lab, Nginx, Outcome, Pace, Program, SERVER_V4,
    SERVER_V6, Sources, Template,
};

/// How many honest requests start in a second.
const RATE: u32 = 20;
/// Paces to try, in packets a second.
const PACES: [u64; 4] = [200_000, 400_000, 800_000, 1_200_000];
/// What the host must be set to for cookies that keep options.
const SYSCTLS: [(&str, &str); 2] = [("net/ipv4/tcp_syncookies", "2"), ("net/ipv4/tcp_timestamps", "2")];

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

/// Every kind of flood at the highest pace at which the best filter lets every honest request through.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn floods(scale: &Scale) -> Result<()> {
    let quiet = serve(Filter::None, None, 0, scale)?;
    println!("floods: no flood, no filter: {}", text(&quiet));
    let mut pace = 0;
    for tried in PACES {
        if serve(Filter::Best, Some(("SYN", false)), tried, scale)?.failed != 0 {
            break;
        }
        pace = tried;
    }
    ensure!(pace != 0, "not even the best filter serves all at {}/s", PACES[0]);
    println!("floods: {pace}/s is the highest pace at which a bare drop lets all through");
    let mut short = Vec::new();
    for kind in KINDS {
        for v6 in [false, true] {
            for filter in [Filter::Gateway, Filter::Nftables, Filter::None] {
                let outcome = serve(filter, Some((kind, v6)), pace, scale)?;
                println!("floods: {kind}, IPv{}, {filter:?}: {}", if v6 { 6 } else { 4 }, text(&outcome));
                if filter == Filter::Gateway && outcome.failed * 1_000 > outcome.ok + outcome.failed {
                    short.push(format!("{kind}, v6 {v6}: {}", text(&outcome)));
                }
            }
        }
    }
    ensure!(short.is_empty(), "honest requests failed: {}", short.join("; "));
    Ok(())
}

/// The floods, a row each.
const KINDS: [&str; 10] = ["SYN", "ACK", "SYN-ACK", "RST", "FIN", "data", "UDP", "ICMP", "fragment", "mixed"];

fn text(outcome: &Outcome) -> String {
    let all = outcome.ok + outcome.failed;
    let median = outcome.quantile(0.5).unwrap_or_default();
    let error = outcome.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!(
        "{} of {all} ({:.2} %), median {median:?}{error}",
        outcome.ok,
        outcome.ok as f64 * 100.0 / all as f64
    )
}

/// Honest requests over the flood's own cable: whoever is honest shares its queue.
fn serve(filter: Filter, kind: Option<(&str, bool)>, pace: u64, scale: &Scale) -> Result<Outcome> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let program = match filter {
        Filter::Best => Some(Program::DropFlood),
        Filter::Nftables | Filter::None => Some(Program::Pass),
        Filter::Gateway => None,
    };
    let _attached = program.map(|program| lab.attach(program)).transpose()?;
    let gateway = program.is_none().then(|| Gateway::start(&lab, &config("auto"))).transpose()?;
    if filter == Filter::Nftables {
        lab.server.run("nft", &[NFTABLES])?;
    }
    let (_, v6) = kind.unwrap_or_default();
    warm_up(&lab, &nginx)?;
    lab.receive_on(1)?;
    let statistics = enable_stats(Stats::RunTime)?;
    let before = gateway.as_ref().map(|_| cost(&lab)).transpose()?;
    let floods = flood(&lab, kind, pace, scale)?;
    thread::sleep(Duration::from_secs(1));
    let target: IpAddr = if v6 { SERVER_V6.into() } else { SERVER_V4.into() };
    let https = Https {
        server: (target, 443).into(),
        rate: Some(RATE),
        timeout: Duration::from_secs(3),
        ..Https::new(&nginx)
    };
    let outcome = in_five(&lab, &https, RATE * scale.seconds as u32)?;
    if let Some((time, runs)) = before {
        let (after, ran) = cost(&lab)?;
        println!("floods:   {} ns a packet in the program", (after - time) / (ran - runs).max(1));
    }
    drop(statistics);
    for flooding in floods {
        flooding.stop()?;
    }
    Ok(outcome)
}

/// Time in the program on the attack's side, and how often it ran.
fn cost(lab: &Lab) -> Result<(u64, u64)> {
    let text = lab.server.run("ip", &["-d", "link", "show", "dev", lab.attack_side()])?;
    let id = text.split("prog/xdp id ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let id: u32 = id.context("no program on the interface")?.parse()?;
    let program =
        loaded_programs().flatten().find(|program| program.id() == id).context("the program is gone")?;
    Ok((program.run_time().as_nanos() as u64, program.run_count()))
}

/// The flood's generators.
fn flood(
    lab: &Lab,
    kind: Option<(&str, bool)>,
    pace: u64,
    scale: &Scale,
) -> Result<Vec<crate::lab::Flooding>> {
    let Some((kind, v6)) = kind else { return Ok(Vec::new()) };
    let kinds: Vec<&str> = if kind == "mixed" { KINDS[..9].to_vec() } else { vec![kind] };
    let share = pace / kinds.len() as u64;
    let start = |(number, kind): (usize, &&str)| {
        lab.flood(&Flood {
            sources: if v6 {
                Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 }
            } else {
                Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 }
            },
            random_ports: true,
            pace: Pace::Bursts(share),
            cpu: Some(0),
            duration: Duration::from_secs(scale.seconds + 60),
            seed: number as u64,
            ..Flood::new(Template::from_frame(&template(kind, v6).build())?)
        })
    };
    kinds.iter().enumerate().map(start).collect()
}

/// One frame of a flood.
fn template(kind: &str, v6: bool) -> Frame {
    let (from, to): (IpAddr, IpAddr) =
        if v6 { (FLOOD_V6.into(), SERVER_V6.into()) } else { (FLOOD_V4.into(), SERVER_V4.into()) };
    let tcp = |bits| between(from, to).tcp(4_000, 443).flags(bits).seq(77);
    match kind {
        "SYN" => tcp(flags::SYN).tcp_options(&[2, 4, 5, 180]),
        "ACK" => tcp(flags::ACK),
        "SYN-ACK" => tcp(flags::SYN | flags::ACK),
        "RST" => tcp(flags::RST),
        "FIN" => tcp(flags::FIN | flags::ACK),
        "data" => tcp(flags::ACK | flags::PSH).payload(b"GET / HTTP/1.1\r\n"),
        "ICMP" => between(from, to).icmp(if v6 { 128 } else { 8 }, 0, [0, 1, 0, 1]).payload(&[0; 56]),
        "fragment" => between(from, to).udp(4_000, 53).fragment(1_480, true).payload(&[0; 64]),
        _ => between(from, to).udp(4_000, 443).payload(&[0; 64]),
    }
}

fn config(cookies: &str) -> String {
    let config = HONEST.replace("mode = \"enforce\"\n", "mode = \"enforce\"\n[attach]\nset_sysctls = true\n");
    format!("{config}syn_cookies = \"{cookies}\"\n")
}

/// What nftables can do: drop what belongs to no connection, and limit new ones.
const NFTABLES: &str = "table inet gateway { chain input { type filter hook input priority 0; policy accept; \
    ct state invalid drop; ct state established accept; tcp dport 443 tcp flags & (syn|ack) == syn limit rate over 2000/second drop; \
    tcp dport 443 ct state new tcp flags & (syn|ack) != syn drop; \
    ip protocol icmp limit rate over 1000/second drop; meta l4proto udp limit rate over 1000/second drop; }; }";

fn servers() -> [IpAddr; 2] {
    [SERVER_V4.into(), SERVER_V6.into()]
}

/// Requests after which it is known that connections end here.
fn warm_up(lab: &Lab, nginx: &Nginx) -> Result<()> {
    for server in servers() {
        let https = Https { server: (server, 443).into(), ..Https::new(nginx) };
        https.run(&lab.client, 3)?;
    }
    Ok(())
}

/// Connections of real clients while every SYN is answered by a cookie: all succeed.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn cookies(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    lab.server.sysctl(&SYSCTLS)?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config("always"))?;
    warm_up(&lab, &nginx)?;
    let before = Counters::read(&lab.server)?;
    let count = scale.requests * 5;
    for server in servers() {
        let outcome = Https { server: (server, 443).into(), ..Https::new(&nginx) }.run(&lab.client, count)?;
        println!("cookies: {server}: {}", text(&outcome));
        ensure!(outcome.failed == 0, "{server}: {:?}", outcome.error);
    }
    let taken = Counters::read(&lab.server)?.since(&before).get("TcpExtSyncookiesRecv");
    let dropped = gateway.metrics()?.packets(lab.client_side(), "drop", "");
    println!("cookies: {taken} of {} by cookies, {dropped} packets dropped", 2 * count);
    ensure!(taken == 2 * u64::from(count), "{taken} connections by cookies of {}", 2 * count);
    Ok(())
}
