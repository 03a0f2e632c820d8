//! How connections begin: data in the SYN, SYNs sent again, with other sequence numbers, and into the middle of a connection.

use anyhow::Result;

use super::{Condition, PLAIN, Read, Scenario, honest};
use crate::builder::{Frame, flags};
use crate::lab::ByHand;
use Read::{All, Lawful};

/// The option of TCP Fast Open without a cookie (RFC 7413 section 4.1.1), and an MSS.
const FAST_OPEN: [u8; 8] = [34, 2, 1, 1, 2, 4, 5, 180];

pub(super) fn scenarios() -> Vec<Scenario> {
    [data_in_the_syn(), synacks(), second_syns(), bursts()].into_iter().flatten().collect()
}

/// A SYN with data that asks for Fast Open.
fn fast(tcp: &ByHand<'_>, bytes: &[u8]) -> Frame {
    tcp.syn().tcp_options(&FAST_OPEN).payload(bytes)
}

/// Ends the handshake. Gives the position behind the data of the SYN that the server took; no data, where it took none.
fn finish(tcp: &mut ByHand<'_>, syn: &Frame) -> Result<i32> {
    let answer = tcp.ask(syn)?;
    let taken = answer.ack.wrapping_sub(tcp.isn).wrapping_sub(1) as i32;
    tcp.write(taken, &[])?;
    Ok(taken)
}

fn data_in_the_syn() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new("plaintext in the SYN", |tcp, _| {
            tcp.send(&fast(tcp, PLAIN))?;
            tcp.connect()?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a hello in the SYN, then plaintext in its place", |tcp, _| {
            finish(tcp, &fast(tcp, &honest()))?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new(
            "a hello in a SYN with a wrong checksum, then a SYN without data and plaintext",
            |tcp, _| {
                tcp.send(&fast(tcp, &honest()).poke_transport(16, &[0, 0]))?;
                tcp.connect()?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            },
        ),
        Scenario::new("half a hello in the SYN, plaintext behind", |tcp, _| {
            let taken = finish(tcp, &fast(tcp, &honest()[..4]))?;
            tcp.write(taken, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a SYN with half a hello, then one with other data", |tcp, _| {
            finish(tcp, &fast(tcp, &honest()[..3]))?;
            tcp.send(&fast(tcp, PLAIN))?;
            tcp.send(&fast(tcp, &honest()))?;
            tcp.write(3, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a hello in the SYN without asking for Fast Open", |tcp, _| {
            let taken = finish(tcp, &tcp.syn().payload(&honest()))?;
            let stream = honest();
            tcp.write(taken, &stream[taken as usize..])?;
            Ok(All(stream))
        }),
    ];
    for length in [1, 2, 3, 4, 5, 6, 9, 11, 100] {
        all.push(Scenario::new(
            format!("{length} bytes of a hello in the SYN, the rest behind"),
            move |tcp, _| {
                let stream = honest();
                let taken = finish(tcp, &fast(tcp, &stream[..length]))?;
                tcp.write(taken, &stream[taken as usize..])?;
                Ok(All(stream))
            },
        ));
    }
    all
}

/// SYN-ACKs from a client: data of theirs would begin one byte later than their sequence number says.
fn synacks() -> Vec<Scenario> {
    let shifted = || [&[0], PLAIN].concat();
    let synack = flags::SYN | flags::ACK;
    vec![
        Scenario::new("an unasked SYN-ACK with a hello, then plaintext", move |tcp, _| {
            tcp.send(&tcp.at(-1, &honest()).flags(synack))?;
            tcp.connect()?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a SYN-ACK with plaintext as the handshake's end", move |tcp, _| {
            tcp.ask(&tcp.syn())?;
            for position in [-1, 0, -2] {
                tcp.send(&tcp.at(position, PLAIN).flags(synack))?;
                tcp.send(&tcp.at(position, &shifted()).flags(synack))?;
                tcp.send(&tcp.at(position, &honest()).flags(synack))?;
            }
            tcp.write(0, &[])?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a SYN-ACK in the middle, then plaintext", move |tcp, _| {
            tcp.connect()?;
            tcp.send(&tcp.at(-1, &honest()).flags(synack))?;
            tcp.send(&tcp.at(-1, &shifted()).flags(synack))?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
    ]
}

/// A second SYN tells the gate of another beginning than the one that TCP keeps.
fn second_syns() -> Vec<Scenario> {
    let mut all = Vec::new();
    for off in [1, 5, 6, 11, 64, 1_000, 1 << 20, 1 << 31] {
        for (direction, off) in [("before", 0_u32.wrapping_sub(off)), ("behind", off)] {
            let forged = move |tcp: &ByHand<'_>| tcp.syn().seq(tcp.isn.wrapping_add(off));
            let distance = if direction == "before" { off.wrapping_neg() } else { off };
            all.extend([
                Scenario::new(
                    format!("a SYN {distance} {direction}, in the middle, then plaintext"),
                    move |tcp, _| {
                        tcp.connect()?;
                        tcp.send(&forged(tcp))?;
                        tcp.write(0, PLAIN)?;
                        tcp.write(0, PLAIN)?;
                        Ok(Lawful)
                    },
                )
                .best_effort_when(Condition::Forwarded),
                Scenario::new(
                    format!("a SYN {distance} {direction}, in the handshake, then plaintext"),
                    move |tcp, _| {
                        tcp.ask(&tcp.syn())?;
                        tcp.send(&forged(tcp))?;
                        tcp.write(0, &[])?;
                        tcp.write(0, PLAIN)?;
                        tcp.write(0, PLAIN)?;
                        Ok(Lawful)
                    },
                )
                .best_effort_when(Condition::Forwarded),
                Scenario::new(
                    format!("a SYN {distance} {direction}, in the middle, does not cut a hello off"),
                    move |tcp, _| {
                        let stream = honest();
                        tcp.connect()?;
                        tcp.write(0, &stream[..7])?;
                        tcp.acknowledged(7)?;
                        tcp.send(&forged(tcp))?;
                        tcp.write(7, &stream[7..])?;
                        Ok(All(stream))
                    },
                )
                .best_effort_when(Condition::Forwarded),
            ]);
        }
    }
    all
}

/// The ends of handshakes and what comes right behind them.
fn bursts() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new("a hello as the handshake's end", |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.write(0, &honest())?;
            Ok(All(honest()))
        }),
        Scenario::new("plaintext as the handshake's end", |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.write(0, PLAIN)?;
            tcp.write(0, &[])?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("a hello's half as the handshake's end, the other half behind", |tcp, _| {
            let stream = honest();
            tcp.ask(&tcp.syn())?;
            tcp.write(0, &stream[..50])?;
            tcp.write(50, &stream[50..])?;
            Ok(All(stream))
        }),
    ];
    for shift in [6, 11, 64] {
        all.push(Scenario::new(
            format!("{shift} bytes of a hello before the stream, plaintext behind, as the handshake's end"),
            move |tcp, _| {
                tcp.ask(&tcp.syn())?;
                tcp.write(-shift, &[&honest()[..shift as usize], PLAIN].concat())?;
                Ok(Lawful)
            },
        ));
    }
    // The pure ACK names a beginning that is not the stream's, and the right one follows.
    for off in [-64, -11, -6, -1, 1, 6] {
        all.push(Scenario::new(
            format!("an ACK {off} beside, the right one, plaintext from there"),
            move |tcp, _| {
                tcp.ask(&tcp.syn())?;
                tcp.write(off, &[])?;
                tcp.write(0, &[])?;
                tcp.write(off, &[&honest()[..off.unsigned_abs() as usize], PLAIN].concat())?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            },
        ));
    }
    all
}
