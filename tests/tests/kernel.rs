//! Kernel level: the verifier takes the program, it stays within its size, and policies switch as one change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gateway_common::{
    abi::{listing, mode},
    limit::rate::Dimension,
    verdict::{Action, Reason},
};
use gateway_tests::builder::ip;
use gateway_tests::cases::{CLIENT, Draft as _, Offer, SERVER, START, limit};
use gateway_tests::kernel::{Judge, Runner, policy};
use gateway_tests::lab::require_lab;
use gateway_tests::twins::LATE;
use gateway_user::host::Stand;
use gateway_user::kernel::{Kernel, LoadOptions, Program};
use gateway_user::policy::PolicySet;
use nix::sys::utsname::uname;

/// A build by its constants, and the most instructions that it may have: what the verifier goes through, of the million
/// that it allows, and what is loaded.
struct Ceiling {
    testing: bool,
    debug_log: bool,
    sockets: bool,
    /// By kernel, in the order of [`KERNELS`].
    verified: [u32; KERNELS.len()],
    loaded: u32,
}

/// Kernels that the ceilings are known of; one that lies between two is held to those of the older.
const KERNELS: [(u32, u32); 3] = [(6, 1), (6, 12), (6, 18)];

/// A few percent above what the builds have: who needs more says so here.
const CEILINGS: [Ceiling; 3] = [
    Ceiling {
        testing: false,
        debug_log: false,
        sockets: true,
        verified: [103_000, 88_000, 88_500],
        loaded: 26_400,
    },
    Ceiling {
        testing: true,
        debug_log: false,
        sockets: false,
        verified: [89_000, 78_000, 79_000],
        loaded: 23_400,
    },
    Ceiling {
        testing: false,
        debug_log: true,
        sockets: true,
        verified: [112_000, 97_000, 98_000],
        loaded: 26_800,
    },
];

/// The row of the kernel that runs.
fn kernel_row() -> usize {
    let release = uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).flat_map(str::parse);
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    KERNELS.iter().rposition(|&known| known <= version).unwrap_or(0)
}

/// Policies that are switched to.
const SWITCHES: u64 = 300;

fn options(ceiling: &Ceiling) -> LoadOptions {
    let Ceiling { testing, debug_log, sockets, .. } = *ceiling;
    LoadOptions { debug_log, testing, sockets, ..gateway_tests::kernel::options() }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn both_builds_pass_the_verifier_below_their_ceilings() {
    require_lab();
    for ceiling in &CEILINGS {
        let Ceiling { testing, debug_log, sockets, .. } = ceiling;
        let mut kernel = Kernel::load(&options(ceiling)).unwrap();
        assert_eq!(kernel.sockets_missing(), None);
        for program in Program::ALL {
            let name = format!("{program:?}, testing {testing}, log {debug_log}, sockets {sockets}");
            let loaded = kernel.program(program).unwrap_or_else(|error| panic!("{name}: {error}"));
            let info = loaded.info().unwrap();
            let verified = info.verified_instruction_count().unwrap();
            let loaded = info.size_translated().unwrap() / 8;
            println!("{name}: {verified} instructions verified, {loaded} loaded");
            let allowed = ceiling.verified[kernel_row()];
            assert!(verified <= allowed, "{name}: {verified} verified, {allowed} allowed");
            assert!(loaded <= ceiling.loaded, "{name}: {loaded} loaded, {} allowed", ceiling.loaded);
        }
    }
}

/// Enforces, and blocks the client.
fn blocking() -> Stand {
    others(Stand::new()).list("192.0.2.0/24", listing::BLOCK, 0).serve(Offer::udp(53))
}

/// Monitors, lists the client harmlessly, and the service's total is soon used up.
fn exhausted() -> Stand {
    let once = limit(Dimension::Packets, 1, 1);
    let stand = others(Stand::new()).mode(mode::MONITOR).list("192.0.2.0/24", 0, 1);
    stand.serve(Offer::udp(53).total(Dimension::Packets, once))
}

/// Prefixes of others, so that a set takes some time to fill.
fn others(stand: Stand) -> Stand {
    (0..64).fold(stand, |stand, net| stand.list(&format!("10.{net}.0.0/16"), listing::BLOCK, 0))
}

const BLOCKED: (Action, Reason) = (Action::Drop, Reason::BlockListed);
const EXHAUSTED: (Action, Reason) = (Action::WouldDrop, Reason::TotalPackets);

fn count(kernel: &Kernel, (action, reason): (Action, Reason)) -> u64 {
    kernel.tallies(0).unwrap()(action, reason).packets
}

/// Ends the frames when the test ends, in whatever way.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_until(stop: &AtomicBool, frames: &AtomicU64, runner: &Runner, frame: &[u8]) {
    while !stop.load(Ordering::Relaxed) {
        runner.run(frame).unwrap();
        frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits for some frames that are judged after now.
fn await_frames(frames: &AtomicU64) {
    let (began, enough) = (Instant::now(), frames.load(Ordering::Relaxed) + 50);
    while frames.load(Ordering::Relaxed) < enough {
        assert!(began.elapsed() < Duration::from_secs(10), "no frame is judged any more");
        thread::yield_now();
    }
}

/// The same policy under another generation, as each switch has one of its own.
fn in_generation(PolicySet { settings, prefixes }: &PolicySet, generation: u64) -> PolicySet {
    let mut settings = settings.clone();
    settings.generation = generation;
    PolicySet { settings, prefixes: Arc::clone(prefixes) }
}

/// Settings of one policy with prefixes of the other, or half of each settings, would give a third verdict: `ok`, or one of
/// the two reasons with the other's mode. The clock is late, so that each CPU keeps a blocked frame in mind, and each reading
/// holds beyond a switch.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn no_frame_sees_a_mix_of_two_policies() {
    require_lab();
    let policies = [blocking(), exhausted()].map(|stand| policy(&stand));
    let frame = ip(CLIENT, SERVER).udp(40_000, 53).payload(b"a question").build();
    let mut judge = Judge::new(Stand::new().sets, Stand::new().key).unwrap();
    judge.lay(&exhausted()).unwrap();
    assert_eq!(judge.judge(&frame, START, 0).unwrap().reason, Reason::Ok);
    let (stop, frames) = (AtomicBool::new(false), AtomicU64::new(0));
    let runner = judge.runner().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| run_until(&stop, &frames, &runner, &frame));
        let _stop = Stop(&stop);
        let kernel = judge.kernel();
        for turn in 0..SWITCHES {
            kernel.set_clock(START + turn, LATE).unwrap();
            await_frames(&frames);
            let policy = in_generation(&policies[turn as usize % 2], turn + 2);
            let old = if turn % 2 == 0 { EXHAUSTED } else { BLOCKED };
            // With and without waiting for the frame under way; what was not waited for is made good by the next switch.
            if turn % 3 == 0 {
                kernel.switch(&policy).unwrap();
                await_frames(&frames);
                assert!(kernel.is_unsettled());
            } else {
                kernel.apply(&policy).unwrap();
                assert!(!kernel.is_unsettled());
            }
            let before = count(kernel, old);
            await_frames(&frames);
            assert_eq!(count(kernel, old), before, "switch {turn}: the old policy still judges");
        }
    });
    let (blocked, exhausted) = (count(judge.kernel(), BLOCKED), count(judge.kernel(), EXHAUSTED));
    let frames = frames.into_inner();
    println!("{frames} frames over {SWITCHES} switches: {blocked} blocked, {exhausted} over the total");
    assert_eq!(blocked + exhausted, frames, "frames with a verdict of neither policy");
    assert_eq!(count(judge.kernel(), (Action::Pass, Reason::Ok)), 1);
    assert!(blocked > 0 && exhausted > 0);
}
