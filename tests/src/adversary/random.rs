//! Connections by chance: what nobody has thought of.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
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

/// A step of a connection.
#[derive(Clone, Debug)]
struct Step {
    position: i32,
    bytes: Vec<u8>,
    flags: u8,
    /// Which of the server's answers it acknowledges: the last, or the one before.
    answer: usize,
    /// How far behind that.
    off: u32,
    /// Its acknowledgment is moved as far as its start: as a SYN cookie it is good for a stream from there on.
    is_moved: bool,
    twice: bool,
    /// A SYN behind it, so far from the first.
    syn: Option<u32>,
    pause: bool,
}

/// What a seed makes.
#[derive(Clone, Debug)]
struct Plan {
    /// Another SYN before the first, so far from it, and whether it is reset.
    before: Option<(u32, bool)>,
    steps: Vec<Step>,
}

/// The connection of a seed: a handshake, with or without another SYN before, then segments of hellos, plaintext and other records at any
/// place. What an application reads of it must be lawful.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let plan = plan(&mut StdRng::seed_from_u64(seed));
    Scenario::new(format!("random {seed}"), move |tcp, site| {
        play(tcp, &plan, site.condition.has_cookies())?;
        Ok(Read::Lawful)
    })
}

/// What the connection of a seed does, for people.
#[must_use]
pub fn describe(seed: u64) -> String {
    format!("{:#?}", plan(&mut StdRng::seed_from_u64(seed)))
}

fn plan(random: &mut StdRng) -> Plan {
    let before = random.random_bool(0.3).then(|| (random.random_range(1..2_000), random.random()));
    let stream = stream(random);
    let mut reached = 0_i32;
    let steps = (0..random.random_range(STEPS)).map(|_| {
        let position = place(random, reached);
        let bytes = piece(random, &stream, position).to_vec();
        if position <= reached {
            reached = reached.max(position + bytes.len() as i32);
        }
        Step {
            position,
            bytes,
            flags: kind(random),
            answer: random.random_range(0..2),
            off: if random.random_bool(0.1) { random.random_range(0..3) } else { 0 },
            is_moved: random.random_bool(0.1),
            twice: random.random_bool(0.2),
            syn: random.random_bool(0.05).then(|| random.random_range(0..2_000)),
            pause: random.random_bool(0.2),
        }
    });
    Plan { before, steps: steps.collect() }
}

fn play(tcp: &mut ByHand<'_>, plan: &Plan, has_cookies: bool) -> Result<()> {
    let mut acks = Vec::new();
    // A SYN elsewhere, which a server that keeps nothing answers, too.
    if let Some((off, is_reset)) = plan.before.filter(|_| has_cookies) {
        let first = tcp.syn().seq(tcp.isn.wrapping_add(off));
        acks.extend(tcp.ask(&first).ok().map(|answer| answer.sequence.wrapping_add(1)));
        if is_reset {
            tcp.send(&first.flags(flags::RST))?;
        }
    }
    tcp.ask(&tcp.syn())?;
    acks.insert(0, tcp.ack);
    for step in &plan.steps {
        let ack = acks[step.answer.min(acks.len() - 1)];
        let moved = if step.is_moved { step.position } else { 0 };
        let ack = ack.wrapping_sub(step.off).wrapping_add_signed(moved);
        let frame = tcp.at(step.position, &step.bytes).flags(step.flags).ack(ack);
        tcp.send(&frame)?;
        if step.twice {
            tcp.send(&frame)?;
        }
        if let Some(off) = step.syn {
            tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(off)))?;
        }
        if step.pause {
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
