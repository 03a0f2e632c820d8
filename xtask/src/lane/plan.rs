//! What is run in the machine.

use std::time::Duration;

use anyhow::Result;

use super::image::Image;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// For every change: the program loads, and keeps its promises, briefly.
    Short,
    /// All that a long run has time for.
    Full,
}

/// A machine, and what it does.
pub(super) struct Plan {
    /// What tells its log from others of the same kernel.
    pub(super) name: String,
    pub(super) cpus: u32,
    /// MiB.
    pub(super) memory: u32,
    pub(super) kernel_options: String,
    pub(super) devices: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// One thing to run.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) limit: Duration,
    /// A test's executable, and the tests of it; none: all.
    executable: &'static str,
    tests: Vec<&'static str>,
}

impl Step {
    fn new(executable: &'static str, tests: &[&'static str]) -> Self {
        let name = format!("{executable} {}", tests.join(" "));
        Self { name: name.trim_end().to_owned(), limit: Duration::from_secs(300), executable, tests: tests.to_vec() }
    }
}

impl Plan {
    /// The plan as the machine's first process reads it.
    pub(super) fn script(&self, image: &Image) -> Result<String> {
        let mut script = String::from("export GATEWAY_ROOT_TESTS=1 RUST_BACKTRACE=0\n");
        for Step { name, limit, executable, tests } in &self.steps {
            let path = image.executable(executable)?.display();
            let tests = tests.join(" ");
            script += &format!(
                "step '{name}' {} '{path}' {tests} --exact --nocapture --test-threads 1\n",
                limit.as_secs()
            );
        }
        Ok(script)
    }
}

/// The plan for a kernel.
pub(super) fn of(_version: &str, _length: Length, only: &[String]) -> Plan {
    let mut plan = Plan {
        name: String::new(),
        cpus: 2,
        memory: 3_072,
        kernel_options: String::new(),
        devices: Vec::new(),
        steps: vec![
            Step::new("kernel", &["both_builds_pass_the_verifier_below_their_ceilings"]),
            Step::new("parity", &["every_case_holds_in_the_kernel", "lists_say_the_same_in_the_kernel"]),
            Step::new("gateway", &[
                "honest_requests_are_answered",
                "no_plaintext_reaches_a_gated_socket",
                "limits_are_exact",
                "reloads_disturb_nobody",
                "a_killed_daemon_goes_on_protecting",
                "who_proves_himself_an_offender_is_banned",
            ]),
            Step::new("handshake", &["cookies_answer_honest_clients"]),
        ],
    };
    plan.steps.retain(|step| only.is_empty() || only.iter().any(|name| step.name.contains(name)));
    plan
}
