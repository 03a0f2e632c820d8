//! What the frames before have left in a CPU's record changes nothing: each case of the table on what every other has left.

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::thread;

use gateway_common::{abi::SERVICES, stage::packet_state::PacketState, verdict::Verdict};
use gateway_tests::cases::{self, Case};
use gateway_user::host::{Cpu, HostEnv};

/// What a case's frames leave, each judged on what the one before has left.
fn left_by(case: &Case) -> PacketState {
    let mut cpu = Cpu::default();
    let ran = case.run_with(&mut |env, frame| env.judge_on(frame, &mut cpu));
    ran.unwrap_or_else(|mismatch| panic!("on its own record: {mismatch}"));
    cpu.state
}

/// The verdicts of a case, each once.
fn verdicts(case: &Case) -> Vec<Verdict> {
    let mut seen = HashSet::new();
    let verdicts = case.steps.iter().map(|step| step.expected);
    verdicts.filter(|verdict| seen.insert((verdict.action as u8, verdict.reason as u8))).collect()
}

/// How often each service was counted for each of these.
fn of_services(env: &HostEnv, verdicts: &[Verdict]) -> Vec<u64> {
    let of = |verdict: &Verdict| {
        let Verdict { action, reason } = *verdict;
        (1..SERVICES as u32).map(move |service| env.counters().service(service, action, reason))
    };
    verdicts.iter().flat_map(of).collect()
}

#[test]
fn what_others_have_left_changes_no_verdict() {
    let cases = cases::all();
    let left: Vec<PacketState> = cases.iter().map(left_by).collect();
    // On two CPUs: there are as many pairs as cases, squared.
    let failures: Vec<String> = thread::scope(|scope| {
        let halves = cases.chunks(cases.len().div_ceil(2));
        let halves: Vec<_> = halves.map(|half| scope.spawn(|| failures(half, &cases, &left))).collect();
        halves.into_iter().flat_map(|half| half.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let shown: Vec<&str> = failures.iter().take(20).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} failures, the first:\n{}", failures.len(), shown.join("\n"));
}

/// The cases of which a verdict differs on what another has left.
fn failures(cases: &[Case], others: &[Case], left: &[PacketState]) -> Vec<String> {
    let mut failures = Vec::new();
    for case in cases {
        let verdicts = verdicts(case);
        let env = case.run_on_host().unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let wanted = of_services(&env, &verdicts);
        for (other, record) in others.iter().zip(left) {
            let wrong = match case.run_with(&mut |env, frame| env.judge_on(frame, &mut Cpu::from(*record))) {
                Ok(env) if of_services(&env, &verdicts) == wanted => continue,
                Ok(_) => format!("{}: another service was counted", case.name),
                Err(mismatch) => mismatch.to_string(),
            };
            failures.push(format!("{wrong}, on what {} has left", other.name));
        }
    }
    failures
}
