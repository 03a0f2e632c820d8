//! Segments that the gate sees and TCP refuses: what they carry must prove nothing.

use anyhow::Result;

use super::{Condition, DECIDING, PLAIN, Read, Scenario, honest};
use crate::builder::{Frame, flags};
use crate::lab::ByHand;
use Read::{All, Lawful};

/// Offset of TCP's checksum.
const CHECKSUM: usize = 16;
/// TCP options: two that pad, then timestamps (RFC 7323), with room for the value.
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

/// A way to make a segment that TCP refuses.
type Spoil = fn(&ByHand<'_>, Frame) -> Frame;

const WAYS: [(&str, Spoil); 10] = [
    ("a wrong checksum", |_, frame| frame.poke_transport(CHECKSUM, &[0x47, 0x11])),
    ("an acknowledgment of what was not sent", |tcp, frame| frame.ack(tcp.ack.wrapping_add(100_000))),
    ("an acknowledgment of long ago", |tcp, frame| frame.ack(tcp.ack.wrapping_sub(1 << 30))),
    ("no ACK but a SYN", |tcp, frame| frame.flags(flags::SYN).seq(tcp.isn)),
    ("a SYN and an ACK", |_, frame| frame.flags(flags::SYN | flags::ACK)),
    ("a SYN and an ACK of its own sequence number", |tcp, frame| {
        frame.flags(flags::SYN | flags::ACK).seq(tcp.isn)
    }),
    ("no flag at all", |_, frame| frame.flags(0)),
    ("only PSH", |_, frame| frame.flags(flags::PSH)),
    ("an MD5 signature that nobody wants", |_, frame| {
        let mut option = vec![19, 18];
        option.extend([7; 16]);
        option.extend([1, 1]);
        frame.tcp_options(&option)
    }),
    ("RST", |_, frame| frame.flags(flags::ACK | flags::RST).ack(0)),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, spoil) in WAYS {
        all.extend([
            Scenario::new(format!("a hello with {name}, then plaintext"), move |tcp, _| {
                tcp.connect()?;
                tcp.send(&spoil(tcp, tcp.at(0, &honest())))?;
                tcp.write(0, PLAIN)?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            }),
            Scenario::new(
                format!("a hello with {name} before the handshake's end, then plaintext"),
                move |tcp, _| {
                    tcp.ask(&tcp.syn())?;
                    tcp.send(&spoil(tcp, tcp.at(0, &honest())))?;
                    tcp.write(0, &[])?;
                    tcp.write(0, PLAIN)?;
                    Ok(Lawful)
                },
            ),
            Scenario::new(format!("plaintext with {name}, then again in order"), move |tcp, _| {
                tcp.connect()?;
                tcp.send(&spoil(tcp, tcp.at(0, PLAIN)))?;
                tcp.write(0, PLAIN)?;
                Ok(Lawful)
            }),
        ]);
        if name != "RST" {
            all.push(Scenario::new(format!("plaintext with {name}, then a hello"), move |tcp, _| {
                let stream = honest();
                tcp.connect()?;
                tcp.send(&spoil(tcp, tcp.at(0, PLAIN)))?;
                tcp.write(0, &stream)?;
                Ok(All(stream))
            }));
        }
    }
    all.extend(outside());
    all.extend([old_timestamp(), no_handshake(), guessed_ack(), far_ahead()]);
    all
}

/// A hello outside of the window, also just at its edges, then plaintext where the stream begins.
fn outside() -> Vec<Scenario> {
    let places =
        [-1, -300, -70_000, i32::MIN, i32::MAX, 1 << 30, 3 << 29, 65_535, 70_000, 64, DECIDING, -(3 << 29)];
    let mut all = Vec::new();
    for place in places {
        all.push(Scenario::parts(
            format!("a hello at {place}, then plaintext"),
            vec![(place, honest()), (0, PLAIN.to_vec()), (place, honest()), (0, PLAIN.to_vec())],
            Lawful,
        ));
    }
    let walk = (0..9).map(|step: i32| (step.wrapping_mul(1 << 29), honest()));
    let behind = [(0, PLAIN.to_vec())];
    let mut once = walk.clone().skip(1).take(7).collect::<Vec<_>>();
    once.extend(behind.clone());
    all.push(Scenario::parts("hellos all over the sequence space, then plaintext", once, Lawful));
    all
}

/// PAWS (RFC 7323 section 5): TCP refuses a segment whose timestamp is older than the last one.
fn old_timestamp() -> Scenario {
    fn stamped(frame: Frame, value: u32, echo: u32) -> Frame {
        frame.tcp_options(&[&TIMESTAMPS[..], &value.to_be_bytes(), &echo.to_be_bytes()].concat())
    }
    Scenario::new("a hello with a timestamp of the past, then plaintext", |tcp, _| {
        let now = 0x4000_0000;
        let answer = tcp.ask(&stamped(tcp.syn(), now, 0))?;
        let echo = echo(&answer.options);
        tcp.send(&stamped(tcp.at(0, &[]), now + 1, echo))?;
        tcp.send(&stamped(tcp.at(0, &honest()), now - 100_000, echo))?;
        tcp.send(&stamped(tcp.at(0, PLAIN), now + 2, echo))?;
        Ok(Lawful)
    })
}

/// The value of the timestamps among a SYN-ACK's options; without them any will do, nobody checks it.
fn echo(options: &[u8]) -> u32 {
    let at = options.windows(2).position(|option| option == [8, 10]);
    let value = at.and_then(|at| options.get(at + 2..at + 6)?.first_chunk());
    value.map_or(0, |value| u32::from_be_bytes(*value))
}

fn no_handshake() -> Scenario {
    Scenario::new("plaintext without a handshake, and in the middle of one", |tcp, _| {
        tcp.write(0, PLAIN)?;
        tcp.write(0, &honest())?;
        tcp.ask(&tcp.syn())?;
        tcp.write(0, PLAIN)?;
        tcp.write(6, PLAIN)?;
        tcp.write(-6, PLAIN)?;
        Ok(Lawful)
    })
}

/// What is far ahead comes after a hello, the gate may think; TCP took none.
fn far_ahead() -> Scenario {
    Scenario::new("a hello with a wrong checksum, data far ahead, then plaintext", |tcp, _| {
        tcp.connect()?;
        tcp.send(&tcp.at(0, &honest()).poke_transport(CHECKSUM, &[0x47, 0x11]))?;
        for step in 1..8 {
            tcp.write(step << 28, PLAIN)?;
        }
        tcp.write(0, PLAIN)?;
        Ok(Lawful)
    })
    .best_effort_when(Condition::Forwarded)
}

fn guessed_ack() -> Scenario {
    Scenario::new(
        "a hundred guesses of the server's sequence number with a hello, then plaintext",
        |tcp, _| {
            tcp.ask(&tcp.syn())?;
            guess(tcp, &honest())?;
            tcp.write(0, &[])?;
            tcp.write(0, PLAIN)?;
            Ok(Lawful)
        },
    )
}

fn guess(tcp: &ByHand<'_>, bytes: &[u8]) -> Result<()> {
    (1..100).try_for_each(|off| tcp.send(&tcp.at(0, bytes).ack(tcp.ack.wrapping_add(off))))
}
