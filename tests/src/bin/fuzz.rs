//! Mutates the table's frames and judges them on the host: no panic, no read outside of a frame, one verdict each.
//!
//! ```text
//! fuzz [--seconds N] [--seed N]
//! ```
//!
//! The seed is printed, and gives the same frames again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use gateway_common::env::Socket;
use gateway_common::verdict::{Action, Reason};
use gateway_tests::cases::START;
use gateway_tests::laws::{frames, judge_watched, mutate, reading_stand, rich_stand};
use gateway_tests::options::numbers;
use gateway_user::host::HostEnv;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Frames between two looks at the clock.
const BATCH: u64 = 10_000;

fn main() -> Result<()> {
    let [seconds, seed] = numbers([("--seconds", 10), ("--seed", rand::random())])?;
    println!("seed {seed}");
    let judged = fuzz(seed, Duration::from_secs(seconds))?;
    println!("{judged} frames, each with its verdict");
    Ok(())
}

fn fuzz(seed: u64, time: Duration) -> Result<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let seeds = frames();
    // One looks at prefixes, lists, limits and QUIC, the other reads first messages.
    let envs = [rich_stand(), reading_stand()].map(|stand| HostEnv::new(stand).with_sockets(answer));
    let (mut now, mut judged) = (START, 0);
    let began = Instant::now();
    while began.elapsed() < time {
        for _ in 0..BATCH {
            let mut frame = seeds[random.random_range(0..seeds.len())].clone();
            let other = &seeds[random.random_range(0..seeds.len())];
            mutate(&mut random, &mut frame, other);
            now += random.random_range(0..1 << 24);
            for env in &envs {
                let verdict = judge_watched(env, &frame, now);
                if verdict.action != verdict.reason.action() {
                    bail!("frame {judged}: {verdict:?} for {frame:02x?}");
                }
            }
            judged += 1;
        }
    }
    for env in &envs {
        let counted: u64 = Reason::ALL
            .iter()
            .flat_map(|&reason| Action::ALL.map(|action| (action, reason)))
            .map(|(action, reason)| env.counters().tally(action, reason).packets)
            .sum();
        if counted != judged {
            bail!("{judged} frames, but {counted} verdicts were counted");
        }
    }
    Ok(judged)
}

/// Some of everything that a host's TCP can say, by the source's port.
fn answer(packet: &gateway_common::packet::Packet) -> Socket {
    match packet.source_port % 4 {
        0 => Socket::Unknown,
        1 => Socket::Listening,
        2 => Socket::Open { base: packet.sequence.wrapping_sub(2), received: 2 },
        _ => Socket::Open { base: packet.sequence, received: 600 },
    }
}
