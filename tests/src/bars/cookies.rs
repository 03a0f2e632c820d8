//! SYN cookies: connections that they make are as good as others.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{GATED, HONEST, Scale, servers};
use crate::lab::{Counters, Gateway, Https, Lab, Nginx, Outcome};

/// What the host must be set to for cookies that keep options.
const SYSCTLS: [(&str, &str); 2] = [("net/ipv4/tcp_syncookies", "2"), ("net/ipv4/tcp_timestamps", "2")];
/// How much slower a download over a connection that a cookie made may be.
const SLOWER: f64 = 0.02;
/// Every SYN of one service is answered by a cookie, and none of the other's. No limit holds downloads.
const TWO_SERVICES: &str = "mode = \"enforce\"\n[limits]\nsyn = \"none\"\npackets = \"none\"\nbytes = \"none\"\n\
    [limits.neighbours]\nsyn = \"none\"\npackets = \"none\"\n\
    [[service]]\nname = \"with\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nsyn_cookies = \"always\"\n\
    [[service]]\nname = \"without\"\nprotocol = \"tcp\"\nports = [9000]\nrequire = \"tls\"\nsyn_cookies = \"off\"\n";

pub(super) fn text(outcome: &Outcome) -> String {
    let all = outcome.ok + outcome.failed;
    let median = outcome.quantile(0.5).unwrap_or_default();
    let error = outcome.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!(
        "{} of {all} ({:.2} %), median {median:?}{error}",
        outcome.ok,
        outcome.ok as f64 * 100.0 / all as f64
    )
}

/// The honest configuration, with what cookies need.
pub(super) fn config(cookies: &str) -> String {
    let config = HONEST.replace("mode = \"enforce\"\n", "mode = \"enforce\"\n[attach]\nset_sysctls = true\n");
    format!("{config}syn_cookies = \"{cookies}\"\n")
}

/// Requests after which it is known that connections end here.
pub(super) fn warm_up(lab: &Lab, nginx: &Nginx) -> Result<()> {
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
    let taken = by_cookies(&lab, &before)?;
    let dropped = gateway.metrics()?.packets(lab.client_side(), "drop", "");
    println!("cookies: {taken} of {} by cookies, {dropped} packets dropped", 2 * count);
    ensure!(taken == 2 * u64::from(count), "{taken} connections by cookies of {}", 2 * count);
    Ok(())
}

/// Connections that cookies have made since.
fn by_cookies(lab: &Lab, before: &Counters) -> Result<u64> {
    Ok(Counters::read(&lab.server)?.since(before).get("TcpExtSyncookiesRecv"))
}

/// Window scale, SACK and timestamps of connections that cookies make, and the pace of one download, beside connections
/// without cookies to the same server.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn downloads(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    lab.server.sysctl(&SYSCTLS)?;
    let nginx = Nginx::start_twice(&lab.server, GATED)?;
    let _gateway = Gateway::start(&lab, TWO_SERVICES)?;
    let rounds = scale.requests.div_ceil(40) as usize;
    let mut slow = Vec::new();
    for server in servers() {
        let kinds = [true, false].map(|by_cookie| Kind {
            by_cookie,
            https: Https {
                server: (server, if by_cookie { 443 } else { GATED }).into(),
                timeout: Duration::from_secs(60),
                ..Https::new(&nginx)
            },
        });
        for kind in &kinds {
            kind.https.run(&lab.client, 3)?;
        }
        let [with, without] = &kinds;
        let options = with.options(&lab)?;
        ensure!(options == without.options(&lab)?, "{server}: {options:?} by a cookie");
        ensure!(options.len() == 3, "{server}: only {options:?} by a cookie");
        let before = Counters::read(&lab.server)?;
        let mut ratios = Vec::new();
        let mut fastest: f64 = 0.0;
        for round in 0..rounds {
            // In turns, and either comes first as often.
            let order = if round % 2 == 0 { [with, without] } else { [without, with] };
            let [first, second] = [order[0].download(&lab)?, order[1].download(&lab)?];
            ratios.push(if round % 2 == 0 { first / second } else { second / first });
            fastest = fastest.max(first).max(second);
        }
        let taken = by_cookies(&lab, &before)?;
        ensure!(taken == rounds as u64, "{taken} of {rounds} downloads by cookies");
        ratios.sort_unstable_by(f64::total_cmp);
        let [quarter, median, three_quarters] = [1, 2, 3].map(|part| ratios[(rounds - 1) * part / 4]);
        println!(
            "downloads: {server}: {options:?}; {rounds} with a cookie beside as many without: {median:.3} times as fast (quarters \
             {quarter:.3} and {three_quarters:.3}), {:.0} MB/s at most",
            fastest / 1e6
        );
        if *scale == Scale::FULL && median < 1.0 - SLOWER {
            slow.push(format!("{server}: {median:.3}"));
        }
    }
    ensure!(slow.is_empty(), "downloads by cookies are slower: {}", slow.join(", "));
    Ok(())
}

/// Connections of one service.
struct Kind {
    by_cookie: bool,
    https: Https,
}

impl Kind {
    /// The server's kernel answers with cookies of its own where it is set to do so for every SYN.
    fn prepare(&self, lab: &Lab) -> Result<()> {
        lab.server.sysctl(&[(SYSCTLS[0].0, if self.by_cookie { SYSCTLS[0].1 } else { "1" })])
    }

    fn download(&self, lab: &Lab) -> Result<f64> {
        self.prepare(lab)?;
        self.https.download(&lab.client)
    }

    /// Which of TCP's options a new connection uses, as the server's kernel tells.
    fn options(&self, lab: &Lab) -> Result<Vec<String>> {
        self.prepare(lab)?;
        let stream = lab.client.enter(|| TcpStream::connect(self.https.server))??;
        let port = stream.local_addr()?.port().to_string();
        let told = lab.server.run("ss", &["-HntoiO", "dport", "=", &port])?;
        let words = told.split_whitespace();
        let known = words.filter(|word| matches!(*word, "ts" | "sack") || word.starts_with("wscale:"));
        let options: Vec<_> = known.map(str::to_owned).collect();
        drop(stream);
        (!told.is_empty()).then_some(options).context("the server knows no such connection")
    }
}
