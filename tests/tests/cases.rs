//! The table of cases on the host.

use std::collections::HashSet;

use gateway_common::verdict::{Action, Reason};
use gateway_tests::cases;

/// Reasons that no row can show, and why.
const NOT_IN_TABLE: [(Reason, &str); 1] =
    [(Reason::Contended, "needs other CPUs; tests/concurrency.rs shows it")];

/// Reasons that need answers of the host's sockets, which rows have on the host alone; tests/adversary.rs, tests/handshake.rs and
/// tests/gateway.rs show them to the kernel.
const OF_SOCKETS: [Reason; 10] = [
    Reason::TcpSequence,
    Reason::SynCookie,
    Reason::SynUnanswered,
    Reason::BadCookie,
    Reason::OutOfStateAck,
    Reason::OutOfStateData,
    Reason::OutOfStateFin,
    Reason::OutOfStateRst,
    Reason::OutOfStateSynAck,
    Reason::Reflection,
];

#[test]
fn every_case_holds_on_the_host() {
    let failures: Vec<String> = cases::all()
        .iter()
        .filter_map(|case| case.run_on_host().err())
        .map(|mismatch| mismatch.to_string())
        .collect();
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn names_are_unique() {
    let mut names = HashSet::new();
    for case in cases::all() {
        assert!(!case.steps.is_empty(), "{} has no frames", case.name);
        assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
    }
}

#[test]
fn every_reason_has_a_case() {
    let shown: HashSet<Reason> =
        cases::all().iter().flat_map(|case| &case.steps).map(|step| step.expected.reason).collect();
    for &reason in Reason::ALL {
        let excused = NOT_IN_TABLE.iter().any(|(known, _)| *known == reason);
        assert_ne!(shown.contains(&reason), excused, "{}", reason.name());
    }
}

#[test]
fn every_reason_that_the_kernel_can_show_is_shown_to_it() {
    let cases = cases::all();
    let shown: HashSet<Reason> = cases
        .iter()
        .filter(|case| case.runs_in_kernel())
        .flat_map(|case| &case.steps)
        .map(|step| step.expected.reason)
        .collect();
    for &reason in Reason::ALL {
        let excused = NOT_IN_TABLE.iter().any(|(known, _)| *known == reason) || OF_SOCKETS.contains(&reason);
        assert_ne!(shown.contains(&reason), excused, "{}", reason.name());
    }
}

#[test]
fn every_verdict_is_counted_once() {
    for case in cases::all() {
        let env = case.run_on_host().unwrap_or_else(|mismatch| panic!("{mismatch}"));
        for action in Action::ALL {
            for &reason in Reason::ALL {
                let of_kind =
                    |step: &&cases::Step| (step.expected.action, step.expected.reason) == (action, reason);
                let counted = env.counters().tally(action, reason);
                let packets = case.steps.iter().filter(of_kind).count() as u64;
                let bytes: usize = case.steps.iter().filter(of_kind).map(|step| step.frame.len()).sum();
                assert_eq!((counted.packets, counted.bytes), (packets, bytes as u64), "{}", case.name);
            }
        }
    }
}
