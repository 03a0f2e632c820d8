//! Rules over made-up sockets.

use super::*;
use crate::{
    config::Config,
    model::Mode,
    policy::{self, Rows},
};

/// A socket as a test says.
#[derive(Clone, Copy)]
struct Made {
    cookie: u64,
    peer: IpAddr,
    local: SocketAddr,
    unread: u32,
    counts: Option<Counts>,
}

impl Socket for Made {
    fn cookie(&self) -> u64 {
        self.cookie
    }

    fn peer(&self) -> IpAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn unread(&self) -> u32 {
        self.unread
    }

    fn counts(&self) -> Option<Counts> {
        self.counts
    }
}

const API: &str = "192.0.2.1:443";

fn made(cookie: u64, peer: &str, local: &str) -> Made {
    Made { cookie, peer: peer.parse().unwrap(), local: local.parse().unwrap(), unread: 0, counts: None }
}

/// Connections of one peer to the API, with these cookies.
fn of(peer: &str, cookies: std::ops::Range<u64>) -> Vec<Made> {
    cookies.map(|cookie| made(cookie, peer, API)).collect()
}

fn silent(has_answered: bool, idle: u64) -> Option<Counts> {
    Some(Counts { received: 0, has_answered, idle: Duration::from_secs(idle) })
}

fn rules(more: &str, mode: Mode, trusted: &[&str]) -> Rules {
    let text = format!(
        "[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n{more}\n\
         [[service]]\nname = \"other\"\nprotocol = \"tcp\"\nports = [80]\n"
    );
    let config = Config::parse("f", &text).unwrap();
    let rows = Rows([("api".to_owned(), 5), ("other".to_owned(), 6)].into());
    let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
    Rules::of(&config, &rows, mode, &policy::prefixes(&config), trusted).unwrap()
}

fn watch(more: &str) -> Watch {
    Watch::new(rules(more, Mode::Enforce, &[]))
}

fn ended(findings: &Findings, sockets: &[Made]) -> Vec<(u64, Cause)> {
    let mut ended: Vec<_> =
        findings.ends.iter().map(|&(place, _, cause)| (sockets[place].cookie, cause)).collect();
    ended.sort_unstable_by_key(|(cookie, _)| *cookie);
    ended
}

#[test]
fn the_youngest_above_a_sources_limit_go_and_its_syns_are_refused() {
    let mut watch = watch("connections = 3");
    let start = Instant::now();
    let mut sockets = of("203.0.113.7", 10..12);
    assert!(watch.judge(&sockets, start).holders.is_empty());
    // The kernel lists them in any order: these are younger although they come first.
    sockets.splice(0..0, of("203.0.113.7", 1..4));
    sockets.push(made(99, "203.0.113.8", API));
    let findings = watch.judge(&sockets, start);
    assert_eq!(ended(&findings, &sockets), [(2, Cause::Limit), (3, Cause::Limit)]);
    assert_eq!(findings.open[5], 6);
    let holder = findings.holders.iter().next().unwrap();
    assert_eq!((holder.service, findings.holders.len()), (5, 1));
    // As soon as one is gone there is room for one.
    let left: Vec<_> = sockets.into_iter().filter(|socket| ![2, 3, 10].contains(&socket.cookie)).collect();
    let findings = watch.judge(&left, start);
    assert!(findings.holders.is_empty() && findings.ends.is_empty());
}

#[test]
fn a_neighbourhood_and_a_service_have_limits_of_their_own() {
    let sockets: Vec<_> = (1..=8).map(|host| made(host, &format!("203.0.113.{host}"), API)).collect();
    let findings = watch("total.connections = 6").judge(&sockets, Instant::now());
    assert_eq!((findings.ends.len(), findings.full.contains(&5), findings.holders.len()), (2, true, 0));
    let neighbours = "[limits.neighbours]\nconnections = 5\n";
    let findings = watch(neighbours).judge(&sockets, Instant::now());
    let holder = findings.holders.iter().next().unwrap();
    assert_eq!((findings.ends.len(), findings.full.len(), holder.service), (3, 0, 0));
    // To all services together.
    let mut mixed = sockets[..4].to_vec();
    mixed.extend((21..24).map(|host| made(host, &format!("203.0.113.{host}"), "192.0.2.1:80")));
    let findings = watch(neighbours).judge(&mixed, Instant::now());
    assert_eq!((findings.ends.len(), findings.open[5], findings.open[6]), (2, 4, 3));
}

#[test]
fn what_is_trusted_is_never_held_and_a_class_not_to_its_neighbourhood() {
    let sockets = of("203.0.113.7", 1..9);
    let listed = "connections = 3\n[lists]\nallow = [\"203.0.113.0/24\"]\n";
    assert!(watch(listed).judge(&sockets, Instant::now()).ends.is_empty());
    let mut live = Watch::new(rules("connections = 3", Mode::Enforce, &["203.0.113.7/32"]));
    assert!(live.judge(&sockets, Instant::now()).ends.is_empty());
    live.follow(rules("connections = 3", Mode::Enforce, &[]));
    assert_eq!(live.judge(&sockets, Instant::now()).ends.len(), 5, "trust was taken back");
    let classed =
        "[limits.neighbours]\nconnections = 3\n[[class]]\nname = \"partner\"\nsources = [\"203.0.113.7\"]\n";
    assert!(watch(classed).judge(&sockets, Instant::now()).ends.is_empty());
}

#[test]
fn one_who_never_sends_a_hello_has_his_time_and_no_more() {
    let mut watch = watch("hello_timeout = \"10s\"");
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    let mut sockets = of("203.0.113.7", 1..5);
    sockets.iter_mut().for_each(|socket| socket.counts = silent(false, 0));
    sockets[1].counts = silent(true, 0);
    // The server has not come to read it.
    sockets[2].unread = 300;
    assert!(watch.judge(&sockets, start).ends.is_empty());
    sockets[3].cookie = 44;
    assert!(watch.judge(&sockets, later(9)).ends.is_empty());
    let findings = watch.judge(&sockets, later(10));
    assert_eq!(ended(&findings, &sockets), [(1, Cause::Hello)]);
    let findings = watch.judge(&sockets[1..], later(19));
    assert_eq!(ended(&findings, &sockets[1..]), [(44, Cause::Hello)]);
    // Looks that do not ask TCP end nothing for its time.
    sockets.iter_mut().for_each(|socket| socket.counts = None);
    assert!(watch.judge(&sockets, later(99)).ends.is_empty());
}

#[test]
fn what_is_idle_ends_where_it_is_asked_for_alone() {
    let mut sockets = of("2001:db8::7", 1..4);
    for (socket, idle) in sockets.iter_mut().zip([59, 60, 600]) {
        socket.counts = silent(true, idle);
    }
    let start = Instant::now();
    let later = start + Duration::from_secs(601);
    let mut asked = watch("idle_timeout = \"1m\"");
    assert!(asked.judge(&sockets, start).ends.is_empty(), "idle for longer than it was seen");
    assert_eq!(ended(&asked.judge(&sockets, later), &sockets), [(2, Cause::Idle), (3, Cause::Idle)]);
    let mut unasked = watch("");
    unasked.judge(&sockets, start);
    assert!(unasked.judge(&sockets, later).ends.is_empty());
}

#[test]
fn only_what_asks_for_it_is_looked_at() {
    let of_mode = |mode| {
        let text = "[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\n";
        let with = |more: &str| {
            let config = Config::parse("f", &format!("{text}{more}")).unwrap();
            let rows = Rows([("api".to_owned(), 5)].into());
            Rules::of(&config, &rows, mode, &policy::prefixes(&config), Vec::new())
        };
        (with("").is_some(), with("connections = 1").map(|rules| rules.ends))
    };
    assert_eq!(of_mode(Mode::Enforce), (false, Some(true)));
    assert_eq!(of_mode(Mode::Monitor), (false, Some(false)));
    assert_eq!(of_mode(Mode::Off), (false, None));
}

#[test]
fn connections_end_where_gateway_service_and_class_all_enforce() {
    let ended = |more: &str| watch(more).judge(&of("192.0.2.9", 1..4), Instant::now()).ends.len();
    let class = |mode: &str| {
        format!("connections = 1\n[[class]]\nname = \"c\"\nsources = [\"192.0.2.9/32\"]\nmode = \"{mode}\"")
    };
    assert_eq!(ended("connections = 1"), 2);
    assert_eq!(ended("connections = 1\nmode = \"enforce\""), 2);
    assert_eq!(ended("connections = 1\nmode = \"monitor\""), 0);
    assert_eq!(ended(&class("enforce")), 2);
    assert_eq!(ended(&class("monitor")), 0);
}
