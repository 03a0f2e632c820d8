//! The thread that runs the generator's program.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::maps::Array;
use aya::programs::{ProgramError, TestRun as _, Xdp};
use aya::{Ebpf, TestRunAttrs, TestRunOptions};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use super::config::Progress;
use super::counters::Interface;
use super::flood::{Flood, FloodReport, Pace};
use super::process::{THIS_THREAD, pin, run_first};

/// Frames that the kernel hands on together: fewer than the 256 that a veth's queue holds.
const BATCH: u32 = 64;
/// The first call's frames; later calls are as long as [`CALL`].
const FIRST: u64 = 65_536;
/// Frames a call at most.
const MOST: u64 = 1 << 24;
/// How long a call shall take. The kernel needs 24 ms (at HZ=250) to end one, whatever it sent, and sends nothing meanwhile.
const CALL: Duration = Duration::from_secs(1);
/// How long a paced generator sleeps when nothing is due.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the far end's stack may take for what the receiver has let through.
const DRAIN: Duration = Duration::from_millis(50);
/// How long the receiver may take for what is under way: on a busy machine its thread waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the generator's thread owns.
pub(super) struct Generator {
    pub(super) ebpf: Arc<Ebpf>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) flood: Flood,
}

impl Generator {
    pub(super) fn run(self, inside: &File, interface: &str) -> Result<FloodReport> {
        setns(inside, CloneFlags::CLONE_NEWNET).context("cannot enter the attacker's namespace")?;
        if let Some(cpu) = self.flood.cpu {
            pin(THIS_THREAD, cpu)?;
        }
        if self.flood.runs_first {
            run_first()?;
        }
        let index = if_nametoindex(interface).with_context(|| format!("there is no {interface}"))?;
        let before = interface_now(interface)?;
        let start = Instant::now();
        self.send(&context(self.flood.template.bytes().len(), index), start)?;
        let elapsed = start.elapsed();
        let (sent, ended) = (sent(&self.ebpf)?, Instant::now());
        loop {
            thread::sleep(DRAIN);
            let after = interface_now(interface)?;
            let delivered = after.tx_packets - before.tx_packets;
            let dropped = after.tx_dropped - before.tx_dropped;
            if delivered + dropped >= sent || ended.elapsed() > PATIENCE {
                return Ok(FloodReport { sent, delivered, dropped, elapsed });
            }
        }
    }

    fn send(&self, context: &[u8], start: Instant) -> Result<()> {
        let (limit, duration) = (self.flood.limit(), self.flood.duration);
        let (mut done, mut chunk) = (0, FIRST);
        while done < limit && start.elapsed() < duration && !self.stopping.load(Ordering::Relaxed) {
            let wanted = match self.flood.pace {
                Pace::Unlimited => limit - done,
                Pace::Bursts(rate) => due(rate, start.elapsed()).min(limit).saturating_sub(done),
                // The program passes over what is not due.
                Pace::Smooth(_) => u64::MAX,
            };
            let frames = wanted.min(chunk);
            if frames == 0 {
                thread::sleep(PAUSE);
                continue;
            }
            let called = Instant::now();
            self.call(context, frames as u32)?;
            done = sent(&self.ebpf)?;
            let left = CALL.min(duration.saturating_sub(start.elapsed()));
            chunk = next_chunk(frames, called.elapsed(), left);
        }
        Ok(())
    }

    /// Runs the program so many times.
    fn call(&self, context: &[u8], frames: u32) -> Result<()> {
        let program: &Xdp = self.ebpf.program("flood").context("the object has no generator")?.try_into()?;
        let options = TestRunOptions {
            data_in: Some(self.flood.template.bytes()),
            ctx_in: Some(context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(frames.min(BATCH)),
            ..TestRunOptions::new()
        };
        match program.test_run(options) {
            Ok(_) => Ok(()),
            // A signal ends a run early; what it sent is counted all the same.
            Err(ProgramError::SyscallError(error)) if error.io_error.kind() == ErrorKind::Interrupted => {
                Ok(())
            }
            Err(error) => Err(error).context("the kernel refused to send (live frames need Linux 5.18)"),
        }
    }
}

/// Frames for the next call, so that it takes `left`; the last one's frames took `elapsed`.
fn next_chunk(frames: u64, elapsed: Duration, left: Duration) -> u64 {
    let scaled = u128::from(frames) * left.as_nanos() / elapsed.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(MOST).clamp(u64::from(BATCH), MOST)
}

/// Frames that a generator has sent.
pub(super) fn sent(ebpf: &Ebpf) -> Result<u64> {
    let map = ebpf.map("PROGRESS").context("the object has no map PROGRESS")?;
    Ok(Array::<_, Progress>::try_from(map)?.get(&0, 0)?.sent)
}

/// Frames that should have been sent after some time.
pub(super) fn due(rate: u64, elapsed: Duration) -> u64 {
    u64::try_from(u128::from(rate) * elapsed.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

fn interface_now(name: &str) -> Result<Interface> {
    let text =
        fs::read_to_string("/proc/thread-self/net/dev").context("cannot read the interfaces' counters")?;
    Interface::parse(&text, name)
}

/// The `struct xdp_md` of the run: the frame is all data, and goes out by this interface.
fn context(length: usize, interface: u32) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or_default();
    [0, length, 0, interface, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
}
