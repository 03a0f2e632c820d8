//! `gateway replay` and the kernel program over captures of others, against the truth that others found in them.

mod hellos;

use std::path::Path;

use anyhow::Result;
use gateway_common::hash::Key;
use gateway_common::verdict::{Reason, Stage};
use gateway_tests::captures::{self, Truth};
use gateway_tests::kernel::{FRAME_LENGTHS, Judge};
use gateway_tests::lab::require_lab;
use gateway_user::host::{Sets, Stand};
use gateway_user::replay::{AllPorts, Connection, PolicyChoice, Replay, capture, stand};

/// Browsers that send two bytes of padding which the IP header counts as data, then their hello at the same place of the stream.
/// The padding is dropped, so the server reads a hello; the truth counts the padding as the connection's first bytes.
const PADDED: &str = "heuristic_tcp_ack_payload.pcap";
/// Below TLS 1.0.
const SSL3: u16 = 0x0300;
/// Room for all connections of one capture.
const SETS: Sets = Sets {
    sources: 64,
    service_sources: 16,
    neighbours: 16,
    connections: 512,
    hellos: 16,
    tuples: 512,
    clients: 16,
    drops: 256,
};

/// Every TCP port requires TLS, and nothing else is asked.
fn gated() -> (Stand, Vec<String>) {
    let config = PolicyChoice::configuration(&[AllPorts::Tls.into()]);
    let (mut stand, names) = stand(&config, SETS).expect("one service fits");
    stand.key = Key([20_260_117, 7]);
    (stand, names)
}

fn replay(path: &Path) -> Replay {
    let (stand, names) = gated();
    let mut replay = Replay::new(stand, names, None);
    let _ = capture::read(path, &mut |captured| {
        let _ = replay.judge(captured);
    });
    replay
}

/// Packets that the TLS gate dropped.
fn gate_drops(connection: &Connection) -> u64 {
    let gate = Reason::ALL.iter().filter(|reason| matches!(reason.stage(), Stage::Tls | Stage::Hello));
    gate.filter_map(|reason| connection.reasons.get(reason.name())).sum()
}

/// What is wrong with the fate of a connection; nothing if it is right.
fn wrong(truth: &Truth, connection: &Connection) -> Option<String> {
    let is_tls = truth.class == "tls_client_hello" && truth.max_version.is_none_or(|version| version > SSL3);
    if is_tls && !truth.is_fragmented && gate_drops(connection) > 0 {
        return Some(format!("a hello, and dropped: {:?}", connection.reasons));
    }
    let is_other = truth.verdict == "drop" || truth.max_version == Some(SSL3);
    if is_other && connection.payload_bytes_passed > 0 {
        return Some(format!(
            "no hello ({}), and {} bytes passed",
            truth.class, connection.payload_bytes_passed
        ));
    }
    None
}

#[test]
#[ignore = "needs captures of others: GATEWAY_CAPTURES names their folder"]
fn connections_get_what_the_truth_says() -> Result<()> {
    let folder = captures::folder();
    let (mut judged, mut failures) = (0, Vec::new());
    for (name, truths) in captures::all(&folder)? {
        let truths: Vec<_> =
            truths.iter().filter(|truth| truth.protocol == "tcp" && !truth.is_inner).collect();
        if truths.is_empty() || name.ends_with(PADDED) {
            continue;
        }
        let replay = replay(&folder.join(&name));
        for truth in truths {
            let connection = replay.connections().find(|connection| {
                connection.first_frame == Some(truth.first_frame) && connection.client == truth.client
            });
            match connection {
                Some(connection) => {
                    judged += 1;
                    failures.extend(
                        wrong(truth, connection)
                            .map(|wrong| format!("{name}, frame {}: {wrong}", truth.first_frame)),
                    );
                }
                // A SYN that the parser refuses, and no data.
                None if truth.class == "none" => {}
                None => failures
                    .push(format!("{name}, frame {}: no connection ({})", truth.first_frame, truth.class)),
            }
        }
    }
    println!("{judged} connections");
    assert!(failures.is_empty(), "{} of {judged}:\n{}", failures.len(), failures.join("\n"));
    assert!(judged > 500, "only {judged} connections");
    Ok(())
}

#[test]
#[ignore = "needs captures of others: GATEWAY_CAPTURES names their folder"]
fn padding_before_a_hello_is_dropped_and_the_hello_passes() -> Result<()> {
    let folder = captures::folder();
    let name = captures::all(&folder)?.into_keys().find(|name| name.ends_with(PADDED)).expect("it is there");
    let replay = replay(&folder.join(name));
    let connections: Vec<_> = replay.connections().collect();
    assert_eq!(connections.len(), 6);
    for connection in connections {
        let ok = connection.reasons.get("ok").copied().unwrap_or_default();
        assert_eq!(connection.packets_passed, ok);
        assert_eq!(gate_drops(connection), connection.packets_dropped);
        if connection.server.1 == 443 {
            assert!(
                connection.packets_dropped <= 2 && connection.payload_bytes_passed > 500,
                "{connection:?}"
            );
        } else {
            // One of them speaks HTTP behind its padding.
            assert_eq!(connection.payload_bytes_passed, 0, "{connection:?}");
            assert!(connection.reasons.contains_key("plaintext_http"), "{connection:?}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs captures of others: GATEWAY_CAPTURES names their folder"]
fn the_kernel_says_the_same() -> Result<()> {
    let folder = captures::folder();
    require_lab();
    let mut judge = Judge::new(SETS, gated().0.key)?;
    let (mut frames, mut differences) = (0, Vec::new());
    for name in captures::all(&folder)?.into_keys() {
        let (stand, names) = gated();
        judge.lay(&stand)?;
        let mut replay = Replay::new(stand, names, None);
        let _ = capture::read(&folder.join(&name), &mut |captured| {
            // What a test run takes.
            if !FRAME_LENGTHS.contains(&(captured.length as usize)) {
                return;
            }
            let Some(judged) = replay.judge(captured) else { return };
            let Ok(kernel) = judge.judge(&judged.ethernet, judged.now, 0) else { return };
            frames += 1;
            if kernel != judged.verdict {
                differences
                    .push(format!("{name}, frame {}: {:?}, kernel {kernel:?}", judged.frame, judged.verdict));
            }
        });
    }
    println!("{frames} frames");
    assert!(differences.is_empty(), "{} of {frames}:\n{}", differences.len(), differences.join("\n"));
    assert!(frames > 20_000, "only {frames} frames");
    Ok(())
}
