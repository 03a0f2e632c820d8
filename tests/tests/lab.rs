//! The lab itself: what other tests take for granted.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{
    ATTACKER_V4, Category, Counters, FLOOD_V4, FLOOD_V6, Flood, Https, Lab, Pace, PlainListener, Program,
    SERVER_V4, SERVER_V6, Sources, Template, TlsVersion, is_privileged,
};

#[test]
fn nginx_answers_all_requests() -> Result<()> {
    if !is_privileged("nginx_answers_all_requests") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let before = Counters::read(&lab.client)?;
    for server in [SERVER_V4.into(), SERVER_V6.into()] {
        for version in [TlsVersion::V12, TlsVersion::V13] {
            let https =
                Https { server: SocketAddr::new(server, 443), version: Some(version), ..Https::new(&nginx) };
            let outcome = https.run(&lab.client, 20)?;
            assert_eq!((outcome.ok, outcome.failed), (20, 0), "{server} {version:?}: {:?}", outcome.error);
        }
    }
    let counted = Counters::read(&lab.client)?.since(&before);
    assert_eq!(counted.get("TcpActiveOpens"), 80);
    assert_eq!(counted.get("TcpRetransSegs"), 0);
    Ok(())
}

#[test]
fn a_flood_is_counted_exactly() -> Result<()> {
    if !is_privileged("a_flood_is_counted_exactly") {
        return Ok(());
    }
    const FRAMES: u64 = 1_000_000;
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    let counter = lab.attach(Program::CountDrop)?;
    let template = Template::udp(FLOOD_V4.into(), SERVER_V4.into(), (4000, 53), 18)?;
    let length = template.bytes().len() as u64;
    let flood = Flood {
        sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
        frames: Some(FRAMES),
        duration: Duration::from_secs(60),
        ..Flood::new(template)
    };
    let report = lab.flood(&flood)?.wait()?;
    assert_eq!(report.sent, FRAMES);
    assert_eq!((report.delivered, report.dropped), (FRAMES, 0));
    for category in [Category::Flood, Category::Udp] {
        let count = counter.count(category)?;
        assert_eq!((count.packets, count.bytes), (FRAMES, FRAMES * length), "{category:?}");
    }
    println!("{:.0} frames/s", report.rate());
    Ok(())
}

/// Each kind of frame is one that the kernel's own stack takes for good, with drawn sources and ports.
#[test]
fn a_real_stack_accepts_the_frames() -> Result<()> {
    if !is_privileged("a_real_stack_accepts_the_frames") {
        return Ok(());
    }
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    let _pass = lab.attach(Program::Pass)?;
    let v4 = Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 };
    let v6 = Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 };
    let hosts = Sources::Ipv6Hosts { network: FLOOD_V6 };
    let (from4, to4, from6, to6) = (FLOOD_V4.into(), SERVER_V4.into(), FLOOD_V6.into(), SERVER_V6.into());
    let ports = (4000, 9);
    let cases = [
        ("UDP", v4, Template::udp(from4, to4, ports, 31)?, "UdpNoPorts"),
        ("UDP6", v6, Template::udp(from6, to6, ports, 31)?, ""),
        ("UDP6 hosts", hosts, Template::udp(from6, to6, ports, 31)?, ""),
        ("SYN", v4, Template::syn(from4, to4, ports)?, "TcpOutRsts"),
        ("SYN6", v6, Template::syn(from6, to6, ports)?, "TcpOutRsts"),
        ("data", v4, Template::data(from4, to4, ports, b"GET / HTTP/1.1\r\n")?, "TcpOutRsts"),
        ("echo", v4, Template::echo(from4, to4, 56)?, "IcmpInEchos"),
        ("fixed", Sources::Fixed, Template::udp(ATTACKER_V4.into(), to4, ports, 0)?, "UdpNoPorts"),
    ];
    for (name, sources, template, counter) in cases {
        let before = Counters::read(&lab.server)?;
        let flood = Flood { sources, random_ports: true, frames: Some(1_000), ..Flood::new(template) };
        assert_eq!(lab.flood(&flood)?.wait()?.delivered, 1_000, "{name}");
        let counted = Counters::read(&lab.server)?.since(&before);
        for bad in [
            "IpInHdrErrors",
            "IpInAddrErrors",
            "TcpInCsumErrors",
            "UdpInCsumErrors",
            "IcmpInCsumErrors",
            "IpExtInCsumErrors",
        ] {
            assert_eq!(counted.get(bad), 0, "{name}: {bad}");
        }
        // At least: on a busy machine the kernel was once seen to send one reset more than it got segments.
        if !counter.is_empty() {
            assert!(counted.get(counter) >= 1_000, "{name}: {counter}: {}", counted.get(counter));
        }
    }
    Ok(())
}

#[test]
fn a_pace_is_kept() -> Result<()> {
    if !is_privileged("a_pace_is_kept") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let _drop = lab.attach(Program::DropFlood)?;
    let template = Template::syn(FLOOD_V4.into(), SERVER_V4.into(), (4000, 443))?;
    for pace in [Pace::Bursts(20_000), Pace::Smooth(20_000)] {
        let flood = Flood { pace, duration: Duration::from_secs(2), ..Flood::new(template.clone()) };
        let report = lab.flood(&flood)?.wait()?;
        assert!((38_000..=40_000).contains(&report.sent), "{pace:?}: {report:?}");
        assert!(report.elapsed < Duration::from_millis(2_500), "{pace:?}: {report:?}");
    }
    Ok(())
}

#[test]
fn a_flood_can_be_stopped() -> Result<()> {
    if !is_privileged("a_flood_can_be_stopped") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let _drop = lab.attach(Program::Drop)?;
    let template = Template::syn(FLOOD_V4.into(), SERVER_V4.into(), (4000, 443))?;
    for pace in [Pace::Unlimited, Pace::Bursts(1_000), Pace::Smooth(1_000)] {
        let flooding = lab.flood(&Flood { pace, ..Flood::new(template.clone()) })?;
        let start = Instant::now();
        while flooding.sent()? < 100 {
            ensure!(start.elapsed() < Duration::from_secs(5), "{pace:?}: nothing is sent");
        }
        let stopped = Instant::now();
        assert!(flooding.stop()?.sent >= 100);
        assert!(stopped.elapsed() < Duration::from_secs(3), "{pace:?}: {:?}", stopped.elapsed());
    }
    Ok(())
}

#[test]
fn the_listener_keeps_what_reached_it() -> Result<()> {
    if !is_privileged("the_listener_keeps_what_reached_it") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let address = SocketAddr::new(SERVER_V4.into(), 443);
    let listener = PlainListener::start(&lab.server, address)?;
    lab.client.enter(|| -> Result<()> { Ok(TcpStream::connect(address)?.write_all(b"hello")?) })??;
    let start = Instant::now();
    while !listener.delivered().first().is_some_and(|delivered| delivered.closed) {
        ensure!(start.elapsed() < Duration::from_secs(5), "nothing came");
    }
    let delivered = listener.delivered();
    let one = delivered.first().context("no connection")?;
    assert_eq!((one.bytes.as_slice(), one.total, delivered.len()), (b"hello".as_slice(), 5, 1));
    Ok(())
}

#[test]
fn nothing_stays() -> Result<()> {
    if !is_privileged("nothing_stays") {
        return Ok(());
    }
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let files = nginx.certificate();
    let inside = lab.server.enter(|| std::fs::read_link("/proc/thread-self/ns/net"))??;
    let names =
        [&lab.client, &lab.attacker, &lab.server].map(|space| Path::new("/run/netns").join(space.name()));
    assert!(names.iter().all(|name| name.exists()));
    drop((nginx, lab));
    assert!(!names.iter().any(|name| name.exists()));
    assert!(!files.exists());
    for process in std::fs::read_dir("/proc")? {
        let space = std::fs::read_link(process?.path().join("ns/net"));
        assert!(space.is_err() || space.is_ok_and(|space| space != inside), "a process is still inside");
    }
    Ok(())
}
