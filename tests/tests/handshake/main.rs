//! SYN cookies and out-of-state packets with the real daemon, nginx and the host's own TCP.

mod jumbo;
mod machine;
mod multipath;
mod refusals;
mod segments;
mod settings;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_common::abi::cookies;
use gateway_common::verdict::Reason;
use gateway_tests::builder::{TPID_QINQ, between, flags, hello};
use gateway_tests::cases::{Draft as _, Offer};
use gateway_tests::kernel::{Runner, options, policy};
use gateway_tests::lab::{
    Counters, FLOOD_V4, FLOOD_V6, Flood, Gateway, Https, Lab, Nginx, Pace, PlainListener, SERVER_V4,
    SERVER_V6, Sources, Template, alone, require_lab,
};
use gateway_user::host::Stand;
use gateway_user::kernel::{Kernel, LoadOptions};

/// What the program returns for an answer (enum xdp_action).
const XDP_TX: u32 = 3;
/// How long anything may take that has no time of its own, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service whose SYNs cookies answer, and no limits that a client in a hurry would meet.
fn config(cookies: &str) -> String {
    format!(
        "mode = \"enforce\"\n[attach]\nset_sysctls = true\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n\
         [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nsyn_cookies = \"{cookies}\"\n"
    )
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> bool, what: &str) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        ensure!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn servers() -> [IpAddr; 2] {
    [SERVER_V4.into(), SERVER_V6.into()]
}

/// Sends requests, all of which must be answered.
fn requests(lab: &Lab, nginx: &Nginx, server: IpAddr, count: u32) -> Result<()> {
    let https = Https { server: SocketAddr::new(server, 443), ..Https::new(nginx) };
    let outcome = https.run(&lab.client, count)?;
    println!("{server}: {} of {count}, median {:?}", outcome.ok, outcome.quantile(0.5));
    ensure!(outcome.failed == 0, "{server}: {} failed: {:?}", outcome.failed, outcome.error);
    Ok(())
}

/// Requests until one goes through cookies: before it is known that connections end here, none does.
fn warm_up(lab: &Lab, nginx: &Nginx) -> Result<()> {
    servers().into_iter().try_for_each(|server| requests(lab, nginx, server, 3))
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn cookies_answer_honest_clients() -> Result<()> {
    require_lab();
    const REQUESTS: u32 = 100;
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config("always"))?;
    warm_up(&lab, &nginx)?;
    let answered =
        || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie"));
    let (before, counted, sent) = (answered()?, Counters::read(&lab.server)?, syns(&lab)?);
    for server in servers() {
        requests(&lab, &nginx, server, REQUESTS)?;
    }
    let (counted, sent) = (Counters::read(&lab.server)?.since(&counted), syns(&lab)? - sent);
    ensure!(answered()? - before == sent, "{} of {sent} answered", answered()? - before);
    // The kernel took every cookie for its own, and none was made by it.
    ensure!(counted.get("TcpExtSyncookiesRecv") == 2 * u64::from(REQUESTS), "{counted:?}");
    ensure!(counted.get("TcpExtSyncookiesSent") == 0, "{counted:?}");
    nothing_dropped(&gateway, lab.client_side())?;
    for server in servers() {
        keeps_options(&lab, server)?;
    }
    Ok(())
}

/// SYNs that the client has sent, those that it sent again too.
fn syns(lab: &Lab) -> Result<u64> {
    let counters = Counters::read(&lab.client)?;
    Ok(counters.get("TcpActiveOpens") + counters.get("TcpExtTCPSynRetrans"))
}

/// An honest client lost no packet.
fn nothing_dropped(gateway: &Gateway<'_>, side: &str) -> Result<()> {
    let metrics = gateway.metrics()?;
    let dropped: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (reason.name(), metrics.packets(side, "drop", reason.name())))
        .filter(|(_, packets)| *packets != 0)
        .collect();
    ensure!(dropped.is_empty(), "dropped of an honest client: {dropped:?}");
    Ok(())
}

/// After the kernel has allocated a socket buffer the program answers as well.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn cookies_answer_in_generic_mode() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let config = config("always").replace("[attach]\n", "[attach]\ndriver = \"generic\"\n");
    let gateway = Gateway::start(&lab, &config)?;
    warm_up(&lab, &nginx)?;
    let answered =
        || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie"));
    let (before, sent) = (answered()?, syns(&lab)?);
    servers().into_iter().try_for_each(|server| requests(&lab, &nginx, server, 20))?;
    let sent = syns(&lab)? - sent;
    ensure!(answered()? - before == sent && sent >= 40, "{} of {sent} answered", answered()? - before);
    servers().into_iter().try_for_each(|server| keeps_options(&lab, server))
}

/// The server's TCP uses window scale, SACK and timestamps on a connection that a cookie made.
fn keeps_options(lab: &Lab, server: IpAddr) -> Result<()> {
    let mut stream = lab.client.enter(|| TcpStream::connect((server, 443)))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&hello::tls13("gateway.test"))?;
    ensure!(stream.read(&mut [0; 16])? > 0, "no answer to a hello");
    let port = stream.local_addr()?.port().to_string();
    let shown = lab.server.run("ss", &["-Htino", "state", "established", "dport", "=", &port])?;
    println!("{}", shown.trim());
    for word in [" ts ", " sack ", " wscale:"] {
        ensure!(shown.contains(word), "{server}: no{word}in {shown}");
    }
    // What each end scales by is what the other believes: else `ss` would show another number on one side.
    let client = lab.client.run("ss", &["-Htino", "state", "established", "sport", "=", &port])?;
    let scale =
        |text: &str| text.split("wscale:").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    let turned = scale(&client).and_then(|scale| scale.split_once(',').map(|(a, b)| format!("{b},{a}")));
    ensure!(scale(&shown) == turned, "server {:?}, client {:?}", scale(&shown), scale(&client));
    Ok(())
}

fn forged(template: Template, v6: bool, rate: u64, seconds: u64) -> Flood {
    let sources = if v6 {
        Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 }
    } else {
        Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 }
    };
    let duration = Duration::from_secs(seconds);
    Flood { sources, random_ports: true, pace: Pace::Bursts(rate), duration, ..Flood::new(template) }
}

fn ends(v6: bool) -> (IpAddr, IpAddr) {
    if v6 { (FLOOD_V6.into(), SERVER_V6.into()) } else { (FLOOD_V4.into(), SERVER_V4.into()) }
}

/// `auto`: a forged flood turns cookies on, honest clients get through, and the host keeps nothing of the flood.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_forged_syn_flood_is_answered_by_cookies() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config("auto"))?;
    warm_up(&lab, &nginx)?;
    let answered = |gateway: &Gateway<'_>, side: &str| {
        Ok::<_, anyhow::Error>(gateway.metrics()?.packets(side, "tx", "syn_cookie"))
    };
    ensure!(answered(&gateway, "")? == 0, "answered without a flood");
    for v6 in [false, true] {
        let (from, to) = ends(v6);
        let before = answered(&gateway, lab.attack_side())?;
        let flooding = lab.flood(&forged(Template::syn(from, to, (4_000, 443))?, v6, 50_000, 120))?;
        await_more(before + 5_000, || answered(&gateway, lab.attack_side()))?;
        requests(&lab, &nginx, to, 50)?;
        let requests = lab.server.run("ss", &["-Htn", "state", "syn-recv"])?.lines().count();
        let report = flooding.stop()?;
        println!("{report:?}, {requests} requests in the queue");
        ensure!(answered(&gateway, lab.client_side())? >= 50, "honest SYNs went another way");
    }
    Ok(())
}

fn await_more(enough: u64, count: impl Fn() -> Result<u64>) -> Result<()> {
    let start = Instant::now();
    while count()? < enough {
        ensure!(start.elapsed() < PATIENCE, "only {} of {enough}", count()?);
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Forged segments of no connection are dropped, each for its own reason, but for as many as the kernel may reset.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn out_of_state_packets_are_dropped() -> Result<()> {
    require_lab();
    const FRAMES: u64 = 200_000;
    /// What passes at once, and in a second.
    const PASS: u64 = 1_000;
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let kinds: [(&str, u8, &[u8]); 5] = [
        ("ack", flags::ACK, b""),
        ("data", flags::ACK | flags::PSH, b"GET / HTTP/1.1\r\n"),
        ("fin", flags::ACK | flags::FIN, b""),
        ("rst", flags::RST, b""),
        ("syn_ack", flags::SYN | flags::ACK, b""),
    ];
    let gateway = Gateway::start(&lab, &config("off"))?;
    for v6 in [false, true] {
        let (from, to) = ends(v6);
        for (name, flags, payload) in kinds {
            requests(&lab, &nginx, to, 2)?;
            let frame = between(from, to).tcp(4_000, 443).flags(flags).payload(payload).build();
            let reason = format!("out_of_state_{name}");
            let dropped =
                || Ok::<_, anyhow::Error>(gateway.metrics()?.packets(lab.attack_side(), "drop", &reason));
            let (before, counted, start) = (dropped()?, Counters::read(&lab.server)?, Instant::now());
            let flood = forged(Template::from_frame(&frame)?, v6, 100_000, 120);
            let arrived = lab.flood(&Flood { frames: Some(FRAMES), ..flood })?.wait()?.delivered;
            let passed = arrived - (dropped()? - before);
            let resets = Counters::read(&lab.server)?.since(&counted).get("TcpOutRsts");
            println!("{name}, v6 {v6}: {passed} of {arrived} passed, {resets} resets");
            let most = PASS * (start.elapsed().as_secs() + 2);
            ensure!(passed <= most, "{name}: {passed} of {arrived} passed, {most} may");
            ensure!(passed >= PASS, "{name}: only {passed} passed");
        }
    }
    Ok(())
}

/// Who still believes in a connection that is no more learns of it by a reset.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_stale_connection_is_reset() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &config("off"))?;
    requests(&lab, &nginx, SERVER_V4.into(), 2)?;
    let mut stream = lab.client.enter(|| TcpStream::connect((SERVER_V4, 443)))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    // As if the server had been started anew: its socket goes, and nothing is told to the client.
    lab.server.run("nft", &["add table inet lost; add chain inet lost out { type filter hook output priority 0; policy drop; }"])?;
    let port = stream.local_addr()?.port().to_string();
    lab.server.run("ss", &["-HtnK", "dport", "=", &port])?;
    lab.server.run("nft", &["delete table inet lost"])?;
    stream.write_all(&hello::tls13("gateway.test"))?;
    let end = stream.read(&mut [0; 16]);
    let kind = end.as_ref().err().map(std::io::Error::kind);
    ensure!(kind == Some(std::io::ErrorKind::ConnectionReset), "{end:?}");
    nothing_dropped(&gateway, lab.client_side())?;
    requests(&lab, &nginx, SERVER_V4.into(), 2).context("and others go on")
}

/// More SYNs than cookies answer: who is known is answered at once, and a stranger when he asks again.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn strangers_are_answered_when_they_ask_again() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let answers = "syn_answers = { rate = \"100/s\", burst = 200 }\n";
    let gateway = Gateway::start(&lab, &format!("{}{answers}", config("always")))?;
    warm_up(&lab, &nginx)?;
    let unanswered =
        |side: &str| Ok::<_, anyhow::Error>(gateway.metrics()?.packets(side, "drop", "syn_unanswered"));
    let (from, to) = ends(false);
    let flooding = lab.flood(&forged(Template::syn(from, to, (4_000, 443))?, false, 5_000, 60))?;
    let start = Instant::now();
    while unanswered(lab.attack_side())? == 0 {
        ensure!(start.elapsed() < PATIENCE, "all SYNs are answered");
    }
    for (number, source) in lab.add_clients(5)?.into_iter().enumerate() {
        let outcome = Https { source: Some(source.into()), ..Https::new(&nginx) }.run(&lab.attacker, 1)?;
        ensure!(outcome.failed == 0, "stranger {number}: {:?}", outcome.error);
    }
    // More than there are answers in the time: who is known needs none of the budget.
    requests(&lab, &nginx, SERVER_V4.into(), 300)?;
    nothing_dropped(&gateway, lab.client_side())?;
    flooding.stop()?;
    Ok(())
}

/// Answers keep the VLAN that the SYN came in by, whatever is between Ethernet's header and TCP's.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn cookies_keep_the_vlan() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "2")])?;
    let mut kernel = Kernel::load(&LoadOptions { sockets: true, ..options() })?;
    kernel.apply(&policy(&Stand::new().serve(Offer::tls(443).cookies(cookies::ALWAYS))))?;
    let runner = Runner::new(&mut kernel)?;
    for server in servers() {
        let remote = SocketAddr::new(server, 443);
        let _listener = PlainListener::start(&lab.server, remote)?;
        let stream = lab.client.enter(|| TcpStream::connect(remote))??;
        let local = stream.local_addr()?;
        let from = |port| between(local.ip(), server).tcp(port, 443);
        // A packet of a connection shows that connections end here.
        let start = Instant::now();
        while lab.server.run("ss", &["-Htn", "state", "established"])?.is_empty() {
            ensure!(start.elapsed() < PATIENCE, "no connection");
        }
        lab.server.enter(|| runner.run(&from(local.port()).flags(flags::ACK).build()))??;
        let syn = from(9).flags(flags::SYN).seq(7).tcp_options(&[2, 4, 5, 180]);
        for (name, frame) in [
            ("no tag", syn.clone()),
            ("a tag", syn.clone().vlan(99)),
            ("two tags", syn.clone().vlan(99).tag(TPID_QINQ, 7)),
            ("padding", syn.clone().pad(400)),
            ("early data", syn.clone().payload(&[9; 900])),
        ] {
            let frame = frame.build();
            let (action, answer) = lab.server.enter(|| runner.answer(&frame))??;
            ensure!(action == XDP_TX, "{server}, {name}: XDP action {action}");
            ensure!(answer[..6] == frame[6..12] && answer[6..12] == frame[..6], "{name}: hardware addresses");
            let at = 14
                + match name {
                    "a tag" => 4,
                    "two tags" => 8,
                    _ => 0,
                };
            ensure!(answer[12..at] == frame[12..at], "{server}, {name}: {:x?}", &answer[12..at]);
            let tcp = at + if server.is_ipv4() { 20 } else { 40 };
            ensure!(
                answer[tcp..tcp + 4] == [1, 187, 0, 9] && answer[tcp + 13] == 0x12,
                "{server}, {name}: TCP header"
            );
            ensure!(answer[tcp + 8..tcp + 12] == [0, 0, 0, 8], "{server}, {name}: acknowledgment");
        }
    }
    Ok(())
}
