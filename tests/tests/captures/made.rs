//! Captures made by the packet builder, of which every frame's fate is known: in every format and link layer that `gateway replay`
//! reads, cut off anywhere, damaged, and with the capture's own clock.

use std::fs;
use std::process::Command;

use anyhow::Result;
use gateway_common::{limit::rate::Dimension, verdict::Reason};
use gateway_tests::builder::{Frame, flags, hello, ip};
use gateway_tests::cases::{CLIENT, CLIENT_V6, Draft as _, SERVER, SERVER_V6, limit};
use gateway_tests::kernel::Judge;
use gateway_tests::lab::{program, require_lab};
use gateway_tests::pcap::{Capture, Format, Link};
use gateway_user::host::{Sets, Stand};
use gateway_user::replay::capture::{self, CaptureError};
use gateway_user::replay::{PolicyChoice, Replay, stand};

/// When the captures begin: microseconds after 1970.
const BEGAN: u64 = 1_700_000_000_000_000;
const FORMATS: [Format; 3] = [Format::Pcap, Format::PcapBigNanos, Format::PcapNg];
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n";

/// A connection of the capture, by its client's port, and what must become of it.
struct Fate {
    port: u16,
    passed: u64,
    dropped: u64,
    payload: usize,
    reason: Option<Reason>,
}

/// Who talks to whom, on which ports.
struct Talk<'a> {
    ends: [&'a str; 2],
    ports: [u16; 2],
}

impl Talk<'_> {
    /// A segment of the client.
    fn segment(&self, flags: u8, sequence: u32, payload: &[u8]) -> Frame {
        let ([client, server], [from, to]) = (self.ends, self.ports);
        ip(client, server).tcp(from, to).flags(flags).seq(sequence).payload(payload)
    }

    /// A segment of the server.
    fn answer(&self, flags: u8, payload: &[u8]) -> Frame {
        let ([client, server], [from, to]) = (self.ends, self.ports);
        ip(server, client).tcp(to, from).flags(flags).seq(9_000).payload(payload)
    }

    /// A handshake, then these parts of the client's stream one after the other, with an answer to each.
    fn frames(&self, parts: &[&[u8]]) -> Vec<Frame> {
        let mut frames = vec![
            self.segment(flags::SYN, 1_000, b""),
            self.answer(flags::SYN | flags::ACK, b""),
            self.segment(flags::ACK, 1_001, b""),
        ];
        let mut sequence = 1_001;
        for part in parts {
            frames.push(self.segment(flags::ACK | flags::PSH, sequence, part));
            frames.push(self.answer(flags::ACK | flags::PSH, b"some bytes"));
            sequence += part.len() as u32;
        }
        frames
    }
}

/// Connections of both families, frame by frame in turns.
fn connections() -> (Capture, Vec<Fate>) {
    let [v4, v6] = [[CLIENT, SERVER], [CLIENT_V6, SERVER_V6]];
    let (today, older) = (hello::tls13("api.example.org"), hello::tls12("api.example.org"));
    let (first, rest) = older.split_at(100);
    let ssl3 = b"\x16\x03\x00\0\x30\x01\0\0\x2c\x03\x00";
    let (mut fates, mut sequences) = (Vec::new(), Vec::new());
    let mut talk = |ends, port, parts: &[&[u8]], reason: Option<Reason>| {
        let (all, is_dropped) = (parts.len() as u64, reason.is_some());
        let payload = if is_dropped { 0 } else { parts.iter().map(|part| part.len()).sum() };
        let (passed, dropped) = if is_dropped { (0, all) } else { (all, 0) };
        let from = 40_000 + fates.len() as u16;
        fates.push(Fate { port: from, passed: 2 + passed, dropped, payload, reason });
        sequences.push(Talk { ends, ports: [from, port] }.frames(parts).into_iter());
    };
    talk(v4, 443, &[&today, &[23; 300]], None);
    talk(v6, 443, &[&first[..5], &first[5..], rest], None);
    talk(v4, 443, &[HTTP], Some(Reason::PlaintextHttp));
    talk(v6, 443, &[b"SSH-2.0-OpenSSH_9.7\r\n"], Some(Reason::NotTls));
    talk(v4, 443, &[ssl3], Some(Reason::TlsVersion));
    talk(v4, 80, &[HTTP], None);
    let mut capture = Capture::default();
    while sequences.iter().any(|frames| frames.len() != 0) {
        for frame in sequences.iter_mut().filter_map(Iterator::next) {
            capture.push(BEGAN + capture.len() as u64 * 1_000, frame);
        }
    }
    (capture, fates)
}

/// TLS is required on port 443, and nothing else is asked.
fn gated() -> Replay {
    let choice = "tls:443".parse().expect("a service");
    let (stand, names) = stand(&PolicyChoice::configuration(&[choice]), Sets::default()).expect("it fits");
    Replay::new(stand, names, None)
}

/// Shows a file to a gateway; gives back the reasons in order, and how the reading ended.
fn show(replay: &mut Replay, file: &[u8]) -> (Vec<Option<Reason>>, Result<(), CaptureError>) {
    let mut reasons = Vec::new();
    let read = capture::read_from(file, &mut |captured| {
        reasons.push(replay.judge(captured).map(|judged| judged.verdict.reason));
    });
    (reasons, read)
}

#[test]
fn connections_get_what_they_are_to_get() {
    let (capture, fates) = connections();
    let mut replay = gated();
    show(&mut replay, &capture.file(Format::Pcap, Link::Ethernet).0).1.expect("a whole file");
    assert_eq!(replay.connections().count(), fates.len());
    for Fate { port, passed, dropped, payload, reason } in fates {
        let connection =
            replay.connections().find(|connection| connection.client.1 == port).expect("it is there");
        assert_eq!(
            (connection.packets_passed, connection.packets_dropped),
            (passed, dropped),
            "{connection:?}"
        );
        assert_eq!(connection.payload_bytes_passed, payload as u64, "{connection:?}");
        let dropped_for: Vec<&str> =
            connection.reasons.keys().copied().filter(|name| *name != "ok").collect();
        assert_eq!(dropped_for, reason.iter().map(|reason| reason.name()).collect::<Vec<_>>());
    }
    let totals = replay.totals();
    assert_eq!(totals.packets, capture.len() as u64);
    assert_eq!(totals.passed + totals.dropped + totals.from_server, totals.packets);
    assert_eq!((totals.dropped, totals.unknown_link, totals.truncated), (3, 0, 0));
}

#[test]
fn every_format_and_link_layer_says_the_same() {
    let (capture, _) = connections();
    let (wanted, _) = show(&mut gated(), &capture.file(Format::Pcap, Link::Ethernet).0);
    assert!(wanted.contains(&Some(Reason::PlaintextHttp)) && wanted.contains(&None));
    for format in FORMATS {
        for link in Link::ALL {
            let (reasons, read) = show(&mut gated(), &capture.file(format, link).0);
            read.unwrap_or_else(|error| panic!("{format:?} of {link:?}: {error}"));
            assert_eq!(reasons, wanted, "{format:?} of {link:?}");
        }
    }
}

#[test]
fn what_comes_before_a_cut_is_read() {
    let capture = connections().0.first(12);
    for format in FORMATS {
        let (file, ends) = capture.file(format, Link::Ethernet);
        for length in 0..=file.len() {
            let mut packets = 0;
            let read = capture::read_from(&file[..length], &mut |captured| {
                packets += 1;
                assert_eq!(captured.number, packets);
                assert_eq!(captured.bytes.len(), captured.length as usize);
            });
            let whole = ends.iter().filter(|end| **end <= length).count() as u64;
            assert_eq!(packets, whole, "{format:?} cut at {length}");
            if ends.contains(&length) {
                read.unwrap_or_else(|error| panic!("{format:?} cut at {length}: {error}"));
            } else if whole > 0 {
                let is_cut = matches!(read, Err(CaptureError::CutShort { packets, .. }) if packets == whole);
                assert!(is_cut, "{format:?} cut at {length}: {read:?}");
            }
        }
    }
}

#[test]
fn no_damage_is_more_than_an_error() {
    let (capture, _) = connections();
    // One gateway for all: what came before is to do no harm either.
    let mut replay = gated();
    for (start, format) in FORMATS.into_iter().enumerate() {
        let (mut file, ends) = capture.file(format, Link::Ethernet);
        for place in (start..file.len()).step_by(FORMATS.len()) {
            let damage = [0x01, 0x80, 0xff][place / FORMATS.len() % 3];
            file[place] ^= damage;
            let (reasons, _) = show(&mut replay, &file);
            file[place] ^= damage;
            // What is before the damage is not harmed by it.
            let before = ends.iter().filter(|end| **end <= place).count();
            assert!(reasons.len() >= before, "{format:?}, byte {place}: {} of {before}", reasons.len());
        }
    }
    assert!(matches!(show(&mut replay, b"no capture at all").1, Err(CaptureError::NoCapture)));
}

#[test]
fn what_was_not_captured_counts_as_zeros() {
    let (capture, _) = connections();
    let capture = capture.cut_to(54);
    let mut replay = gated();
    show(&mut replay, &capture.file(Format::PcapNg, Link::Ethernet).0).1.expect("a whole file");
    let totals = replay.totals();
    assert!(totals.truncated > 10, "{totals:?}");
    // IPv4 headers are there, and no byte of what they carry.
    assert_eq!(replay.reason(Reason::PlaintextHttp), 0);
    assert!(replay.reason(Reason::NotTls) >= 3, "{totals:?}");
}

#[test]
fn limits_go_by_the_clock_of_the_capture() {
    let mut capture = Capture::default();
    let question = ip(CLIENT, SERVER).udp(40_000, 53).payload(b"a question").build();
    // A burst at once, another after two seconds, a step back, and one after a year's pause.
    let burst = |capture: &mut Capture, at: u64| (0..15).for_each(|_| capture.push(at, question.clone()));
    for at in [0, 2_000_000, 1_000_000, 31_536_000_000_000] {
        burst(&mut capture, BEGAN + at);
    }
    for format in FORMATS {
        let stand = Stand::new().each(Dimension::Udp, limit(Dimension::Udp, 5, 10));
        let mut replay = Replay::new(stand, Vec::new(), None);
        let (reasons, read) = show(&mut replay, &capture.file(format, Link::Raw).0);
        read.expect("a whole file");
        let passed: Vec<usize> = reasons
            .chunks(15)
            .map(|burst| burst.iter().filter(|reason| **reason == Some(Reason::Ok)).count())
            .collect();
        assert_eq!(passed, [10, 10, 0, 10], "{format:?}");
    }
}

#[test]
fn the_command_tells_it() -> Result<()> {
    let (capture, fates) = connections();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.pcapng");
    fs::write(&path, capture.file(Format::PcapNg, Link::LinuxSll2).0)?;
    let replay = |arguments: &[&str]| {
        Command::new(program()?)
            .arg("replay")
            .arg(&path)
            .args(arguments)
            .output()
            .map_err(anyhow::Error::from)
    };
    let told = replay(&["--service", "tls:443", "--json"])?;
    assert!(told.status.success(), "{told:?}");
    let lines: Vec<serde_json::Value> =
        String::from_utf8(told.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let connections = lines.iter().filter(|line| line.get("connection").is_some());
    assert_eq!(connections.count(), fates.len());
    let summary = &lines.last().expect("a summary")["summary"];
    assert_eq!(
        (summary["packets"].as_u64(), summary["dropped"].as_u64()),
        (Some(capture.len() as u64), Some(3))
    );
    let people = String::from_utf8(replay(&["--service", "tls:443"])?.stdout)?;
    assert!(people.contains("plaintext_http") && people.contains("3 dropped"), "{people}");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn the_kernel_says_the_same() -> Result<()> {
    require_lab();
    let (capture, _) = connections();
    let mut replay = gated();
    let mut judge = Judge::new(replay.env().stand().sets, replay.env().stand().key)?;
    judge.lay(replay.env().stand())?;
    let mut judged_by_both = 0;
    capture::read_from(capture.file(Format::Pcap, Link::Ethernet).0.as_slice(), &mut |captured| {
        if let Some(judged) = replay.judge(captured) {
            let kernel = judge.judge(&judged.ethernet, judged.now, 0).expect("a frame that a test run takes");
            assert_eq!(kernel, judged.verdict, "frame {}", judged.frame);
            judged_by_both += 1;
        }
    })?;
    assert!(judged_by_both > 15);
    Ok(())
}
