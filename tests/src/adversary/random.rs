//! Connections by chance: what nobody has thought of.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::{PLAIN, Read, Scenario, honest};
use crate::builder::flags;
use crate::lab::ByHand;

/// Steps of a connection.
const STEPS: std::ops::Range<usize> = 3..12;
/// How far beyond what was sent a step can begin.
const FAR: i32 = 3_000;
/// What others do meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// The connection of a seed: a handshake, with or without another SYN before, then segments of hellos, plaintext and other records at any
/// place. What an application reads of it must be lawful.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    Scenario::new(format!("random {seed}"), move |tcp, site| {
        let mut random = StdRng::seed_from_u64(seed);
        play(tcp, &mut random, site.condition.has_cookies())?;
        Ok(Read::Lawful)
    })
}

fn play(tcp: &mut ByHand<'_>, random: &mut StdRng, has_cookies: bool) -> Result<()> {
    let mut acks = Vec::new();
    // A SYN elsewhere, which a server that keeps nothing answers, too.
    if has_cookies && random.random_bool(0.3) {
        let first = tcp.syn().seq(tcp.isn.wrapping_add(random.random_range(1..2_000)));
        acks.extend(tcp.ask(&first).ok().map(|answer| answer.sequence.wrapping_add(1)));
        if random.random() {
            tcp.send(&first.flags(flags::RST))?;
        }
    }
    tcp.ask(&tcp.syn())?;
    acks.push(tcp.ack);
    let stream = stream(random);
    let mut reached = 0_i32;
    for _ in 0..random.random_range(STEPS) {
        let position = place(random, reached);
        let bytes = piece(random, &stream, position);
        let mut frame = tcp.at(position, bytes).flags(kind(random));
        if let Some(ack) = acks.choose(random) {
            let off = if random.random_bool(0.1) { random.random_range(0..3) } else { 0 };
            frame = frame.ack(ack.wrapping_sub(off));
        }
        // In order, now and then the same once more, or one more SYN.
        tcp.send(&frame)?;
        if random.random_bool(0.2) {
            tcp.send(&frame)?;
        }
        if random.random_bool(0.05) {
            tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(random.random_range(0..2_000))))?;
        }
        if position <= reached {
            reached = reached.max(position + bytes.len() as i32);
        }
        if random.random_bool(0.2) {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// A hello, plaintext, or one behind the start of the other.
fn stream(random: &mut StdRng) -> Vec<u8> {
    let hello = honest();
    let cut = random.random_range(0..16);
    match random.random_range(0..5) {
        0 => hello,
        1 => PLAIN.to_vec(),
        2 => [&hello[..cut], PLAIN].concat(),
        3 => [&PLAIN[..cut], &hello].concat(),
        // Records of a few bytes each, the last of which says nothing of the kind.
        _ => {
            let size = random.random_range(1..7);
            let mut records = Vec::new();
            for part in hello[5..].chunks(size).take(random.random_range(1..8)) {
                records.extend([22, 3, 1, 0, part.len() as u8]);
                records.extend(part);
            }
            records.extend(PLAIN);
            records
        }
    }
}

/// Where a segment begins: mostly where the last one ended, at the start, or near it.
fn place(random: &mut StdRng, reached: i32) -> i32 {
    match random.random_range(0..10) {
        0..5 => reached,
        5 | 6 => random.random_range(-6..17),
        7 => 0,
        8 => reached + random.random_range(1..20),
        _ => random.random_range(-FAR..FAR),
    }
}

/// What a segment carries: of the stream what belongs there, or else plaintext; a byte, a few, all, or none.
fn piece<'a>(random: &mut StdRng, stream: &'a [u8], position: i32) -> &'a [u8] {
    let plain: &'static [u8] = PLAIN;
    let there = usize::try_from(position).ok().and_then(|position| stream.get(position..));
    let bytes = match there {
        Some(there) if random.random_bool(0.8) => there,
        _ => plain,
    };
    let length = match random.random_range(0..6) {
        0 => 0,
        1 => 1,
        2 | 3 => random.random_range(1..14),
        _ => bytes.len(),
    };
    &bytes[..length.min(bytes.len())]
}

/// Flags of a segment.
fn kind(random: &mut StdRng) -> u8 {
    match random.random_range(0..20) {
        0 => flags::ACK | flags::FIN,
        1 => flags::RST,
        2 => flags::ACK | flags::URG,
        3 => flags::ACK | flags::SYN,
        4..8 => flags::ACK,
        _ => flags::ACK | flags::PSH,
    }
}
