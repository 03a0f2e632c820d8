//! What the frames before have left in a CPU's record changes nothing: each case of the table on what every other has left.

use gateway_common::pipeline::Scratch;
use gateway_tests::cases::{self, Case};

/// What a case's frames leave, each judged on what the one before has left.
fn left_by(case: &Case) -> Scratch {
    let mut record = Scratch::default();
    let ran = case.run_with(&mut |env, frame| env.judge_on(frame, &mut record));
    ran.unwrap_or_else(|mismatch| panic!("on its own record: {mismatch}"));
    record
}

#[test]
fn what_others_have_left_changes_no_verdict() {
    let cases = cases::all();
    let left: Vec<Scratch> = cases.iter().map(left_by).collect();
    let mut failures = Vec::new();
    for case in &cases {
        for (other, record) in cases.iter().zip(&left) {
            let ran = case.run_with(&mut |env, frame| env.judge_on(frame, &mut record.clone()));
            failures.extend(ran.err().map(|mismatch| format!("{mismatch}, on what {} has left", other.name)));
        }
    }
    let shown: Vec<&str> = failures.iter().take(20).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} failures, the first:\n{}", failures.len(), shown.join("\n"));
}
