//! How connections end, and new ones with the same addresses and ports.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{PLAIN, Read, Scenario, Site, honest};
use crate::builder::flags;
use crate::lab::ByHand;
use Read::{All, Lawful};

const FIN: u8 = flags::FIN | flags::ACK;
/// How far the sequence numbers of the next connection are ahead.
const NEXT: u32 = 1_000_000;
/// What a server's sequence number is ahead of the last one's when a SYN ends its TIME-WAIT (Linux's
/// `tcp_timewait_state_process`).
const REUSED: u32 = 65_535 + 2;
/// Time for what is under way.
const PAUSE: Duration = Duration::from_millis(30);
/// How long the server may take to answer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the first connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It does not.
    None,
    /// The client resets it.
    Reset,
    /// The client closes first, and the server at once.
    Client,
    /// The server closes first, and keeps it in TIME-WAIT.
    Server,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    [reused(), forged(), probes(), late(), twice()].into_iter().flatten().collect()
}

/// A connection that has shown a hello; gives its length.
fn proven(tcp: &mut ByHand<'_>) -> Result<i32> {
    let stream = honest();
    let length = stream.len() as i32;
    tcp.connect()?;
    tcp.write(0, &stream)?;
    tcp.acknowledged(length)?;
    // A second segment, so that the gate asks TCP, and remembers the answer.
    tcp.write(length, &[1])?;
    tcp.acknowledged(length + 1)?;
    Ok(length + 1)
}

/// Ends it, so that nothing is under way any more.
fn end(tcp: &mut ByHand<'_>, site: &Site<'_>, length: i32, end: End) -> Result<()> {
    match end {
        End::None => {}
        End::Reset => tcp.send(&tcp.at(length, &[]).flags(flags::RST))?,
        End::Client => {
            tcp.send(&tcp.at(length, &[]).flags(FIN))?;
            closed(tcp)?;
            tcp.ack = tcp.ack.wrapping_add(1);
            tcp.write(length + 1, &[])?;
        }
        End::Server => {
            site.listener.hang_up(tcp.local);
            closed(tcp)?;
            tcp.ack = tcp.ack.wrapping_add(1);
            tcp.send(&tcp.at(length, &[]).flags(FIN))?;
        }
    }
    thread::sleep(PAUSE);
    Ok(())
}

/// Waits until the server closes.
fn closed(tcp: &ByHand<'_>) -> Result<()> {
    let answer = tcp.answer(PATIENCE, |answer| answer.flags & flags::FIN != 0)?;
    ensure!(answer.is_some(), "{} does not close {}", tcp.remote, tcp.local);
    Ok(())
}

/// A second connection of the same ports.
fn reused() -> Vec<Scenario> {
    let mut all = Vec::new();
    for how in [End::Reset, End::Client, End::Server] {
        all.push(Scenario::new(
            format!("plaintext on the ports of a connection that ended: {how:?}"),
            move |tcp, site| {
                let length = proven(tcp)?;
                end(tcp, site, length, how)?;
                tcp.isn = tcp.isn.wrapping_add(NEXT);
                tcp.connect()?;
                tcp.write(0, PLAIN)?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            },
        ));
        all.push(Scenario::new(
            format!("a hello on the ports of a connection that ended: {how:?}"),
            move |tcp, site| {
                let length = proven(tcp)?;
                end(tcp, site, length, how)?;
                tcp.isn = tcp.isn.wrapping_add(NEXT);
                tcp.connect()?;
                tcp.write(0, &honest())?;
                Ok(All(honest()))
            },
        ));
    }
    all.push(Scenario::new(
        "a SYN into a connection that lives, and plaintext where it would begin",
        |tcp, site| {
            let length = proven(tcp)?;
            end(tcp, site, length, End::None)?;
            let next = NEXT as i32;
            tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(NEXT)))?;
            tcp.write(next, PLAIN)?;
            tcp.write(length, b"and on")?;
            Ok(All([&honest()[..], &[1], b"and on"].concat()))
        },
    ));
    all
}

/// FIN and RST that are not in order, then plaintext.
fn forged() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, flags) in [("FIN", FIN), ("RST", flags::RST), ("RST and ACK", flags::RST | flags::ACK)] {
        for position in [0, 1, 100, -1, -100, 1 << 20, i32::MIN] {
            all.push(Scenario::new(format!("{name} at {position}, then plaintext"), move |tcp, _| {
                tcp.connect()?;
                tcp.send(&tcp.at(position, &[]).flags(flags))?;
                tcp.write(0, PLAIN)?;
                tcp.write(1, PLAIN)?;
                Ok(Lawful)
            }));
            all.push(Scenario::new(
                format!("{name} with a hello at {position}, then plaintext"),
                move |tcp, _| {
                    tcp.connect()?;
                    tcp.send(&tcp.at(position, &honest()).flags(flags))?;
                    tcp.write(0, PLAIN)?;
                    Ok(Lawful)
                },
            ));
        }
        for position in [1 << 20, -100, i32::MIN] {
            all.push(Scenario::new(
                format!("{name} at {position} in the middle of a hello"),
                move |tcp, _| {
                    let stream = honest();
                    tcp.connect()?;
                    tcp.write(0, &stream[..3])?;
                    tcp.send(&tcp.at(position, &[]).flags(flags))?;
                    tcp.write(3, &stream[3..])?;
                    Ok(All(stream))
                },
            ));
        }
    }
    all.push(Scenario::new("plaintext with a FIN", |tcp, _| {
        tcp.connect()?;
        tcp.send(&tcp.at(0, PLAIN).flags(FIN))?;
        Ok(Lawful)
    }));
    all.push(Scenario::new("a hello with a FIN", |tcp, _| {
        tcp.connect()?;
        tcp.send(&tcp.at(0, &honest()).flags(FIN))?;
        Ok(All(honest()))
    }));
    all
}

/// Probes of a closed window (RFC 9293 section 3.8.6.1) and windows of zero.
fn probes() -> Vec<Scenario> {
    vec![
        Scenario::new("probes of one byte of a hello", |tcp, _| {
            let stream = honest();
            tcp.connect()?;
            for _ in 0..3 {
                tcp.write(0, &stream[..1])?;
            }
            tcp.send(&tcp.at(1, &stream[1..]).window(0))?;
            Ok(All(stream))
        }),
        Scenario::new("probes of one byte of plaintext", |tcp, _| {
            tcp.send(&tcp.syn().window(0))?;
            tcp.connect()?;
            for (position, byte) in (0..).zip(PLAIN) {
                tcp.send(&tcp.at(position, &[*byte]).window(0))?;
            }
            Ok(Lawful)
        }),
    ]
}

/// What passes the gate before TCP has seen the end of the connection before; without delay it is merely reuse.
fn late() -> Vec<Scenario> {
    let old_data = |how: fn(&ByHand<'_>, i32) -> crate::builder::Frame| {
        move |tcp: &mut ByHand<'_>, _: &Site<'_>| {
            let length = proven(tcp)?;
            tcp.forget()?;
            // One burst: the end, a new SYN, and data of the old connection.
            tcp.send(&how(tcp, length))?;
            let old = tcp.at(length, &[2]);
            tcp.isn = tcp.isn.wrapping_add(NEXT);
            tcp.send(&tcp.syn())?;
            tcp.send(&old)?;
            // No second SYN: the gate would begin anew.
            if let Some(answer) = tcp.answer(PAUSE * 30, |answer| answer.flags & flags::SYN != 0)? {
                tcp.ack = answer.sequence.wrapping_add(1);
            }
            tcp.write(0, &[])?;
            thread::sleep(PAUSE);
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }
    };
    let mut all = vec![Scenario::new(
        "RST, a new SYN and old data at once, then plaintext",
        old_data(|tcp, length| tcp.at(length, &[]).flags(flags::RST)),
    )];
    for shift in [6, 11, 32] {
        all.push(Scenario::new(
            format!("TIME-WAIT's next sequence number guessed, {shift} bytes of hello in front"),
            move |tcp, site| {
                let length = proven(tcp)?;
                end(tcp, site, length, End::Server)?;
                tcp.isn = tcp.isn.wrapping_add(NEXT);
                tcp.send(&tcp.syn())?;
                // The server's FIN has taken one number; the next connection's first byte is one behind its SYN.
                tcp.ack = tcp.ack.wrapping_add(REUSED + 1);
                tcp.write(-shift, &[&honest()[..shift as usize], PLAIN].concat())?;
                thread::sleep(PAUSE);
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            },
        ));
    }
    all
}

/// A SYN cookie that is used for a second connection, or a second cookie, while the gate still hears of the first connection: the
/// end of that and what begins the next come at once.
fn twice() -> Vec<Scenario> {
    let mut all = Vec::new();
    for has_two in [false, true] {
        for how in [End::Reset, End::Server] {
            for is_bare in [false, true] {
                let name = format!(
                    "{} SYN cookie, {how:?} and plaintext at once{}",
                    if has_two { "a second" } else { "the same" },
                    if is_bare { " behind an ACK" } else { "" }
                );
                all.push(Scenario::new(name, move |tcp, site| {
                    let (second, ack) = if has_two { second_cookie(tcp)? } else { (0, None) };
                    let length = proven(tcp)?;
                    let ack = ack.unwrap_or(tcp.ack);
                    if matches!(how, End::Server) {
                        end(tcp, site, length, how)?;
                    }
                    let position = length + i32::from(matches!(how, End::Server));
                    tcp.send(&tcp.at(position, &[]).flags(flags::RST))?;
                    if is_bare {
                        tcp.send(&tcp.at(second, &[]).ack(ack))?;
                        // An acknowledgment that is a little old counts (RFC 5961 section 5.2), and shows no cookie.
                        tcp.send(&tcp.at(second, PLAIN).ack(ack.wrapping_sub(1)))?;
                    }
                    tcp.send(&tcp.at(second, PLAIN).ack(ack))?;
                    thread::sleep(PAUSE);
                    tcp.send(&tcp.at(second, PLAIN).ack(ack))?;
                    Ok(Lawful)
                }));
            }
        }
    }
    all
}

/// Has the server answer another SYN first: where the second stream would begin, and what would acknowledge the answer. A server
/// that keeps no state for it answers the next one too.
fn second_cookie(tcp: &ByHand<'_>) -> Result<(i32, Option<u32>)> {
    tcp.forget()?;
    tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(NEXT)))?;
    let expected = tcp.isn.wrapping_add(NEXT + 1);
    let answer = tcp.answer(PAUSE * 10, |answer| answer.flags & flags::SYN != 0 && answer.ack == expected)?;
    // Without cookies the first SYN's handshake is under way: it is given up.
    tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(NEXT + 1)).flags(flags::RST))?;
    thread::sleep(PAUSE);
    Ok((NEXT as i32, answer.map(|answer| answer.sequence.wrapping_add(1))))
}
