//! Kernel level: the program in the kernel judges as the stages on the host do.

use gateway_common::verdict::{Action, Reason};
use gateway_tests::cases;
use gateway_tests::kernel::counts::Counts;
use gateway_tests::kernel::tables::compare_tables;
use gateway_tests::kernel::{Judge, parity};
use gateway_tests::lab::require_lab;
use gateway_user::host::Stand;

/// Frames of a run that everybody waits for; the long run is `cargo run --release --bin parity`.
const FRAMES: u64 = 1_000_000;
/// Lists of a run.
const LISTS: u64 = 64;
/// A run's frames are the same every time.
const SEED: u64 = 20_260_117;

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn every_case_holds_in_the_kernel() {
    require_lab();
    let stand = Stand::new();
    let mut judge = Judge::new(stand.sets, stand.key).unwrap();
    let (mut counted, mut failures, mut ran) = (Counts::default(), Vec::new(), 0);
    for case in cases::all().iter().filter(|case| case.runs_in_kernel()) {
        ran += 1;
        judge.lay(&case.stand).unwrap();
        if let Err(mismatch) = case.run(&mut |step| judge.judge(&step.frame, step.now, 0).unwrap()) {
            failures.push(mismatch.to_string());
        }
        let host = case.run_on_host().unwrap_or_else(|mismatch| panic!("{mismatch}"));
        if let Err(error) = compare_tables(&host, judge.kernel()) {
            failures.push(format!("{}: {error}", case.name));
        }
        counted.add(&Counts::of_host(host.counters()));
    }
    assert!(failures.is_empty(), "{} of {ran} cases fail:\n{}", failures.len(), failures.join("\n"));
    let differences = counted.differences(&Counts::of_kernel(judge.kernel()).unwrap());
    assert!(differences.is_empty(), "counters of host and kernel:\n{}", differences.join("\n"));
    println!("{ran} cases");
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn random_frames_get_the_same_verdict_in_the_kernel() {
    require_lab();
    let counts = parity::run(FRAMES, SEED).unwrap_or_else(|error| panic!("{error:#}"));
    let shown = |reason: &&Reason| Action::ALL.iter().any(|&action| counts.packets(action, **reason) != 0);
    let shown = Reason::ALL.iter().filter(shown).count();
    println!("{FRAMES} frames, {shown} reasons");
    assert!(shown >= 35, "the frames show only {shown} reasons");
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn lists_say_the_same_in_the_kernel() {
    require_lab();
    parity::run_lists(LISTS, SEED).unwrap_or_else(|error| panic!("{error:#}"));
}
