//! What is run in the machine.

use std::time::Duration;

use anyhow::Result;

use super::image::Image;
use super::kernel::Flavor;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// For every change: the program loads, and keeps its promises, briefly.
    Short,
    /// All that a long run has time for.
    Full,
}

/// Network cards of the machine, as the lab's cables want them: hardware addresses that name cable and end.
const CARDS: [(u8, u8); 4] = [(1, 1), (1, 2), (2, 1), (2, 2)];

/// A machine, and what it does.
pub(super) struct Plan {
    /// What tells it from others of the same kernel.
    pub(super) name: &'static str,
    pub(super) flavor: Flavor,
    pub(super) cpus: u32,
    /// MiB.
    pub(super) memory: u32,
    pub(super) steps: Vec<Step>,
}

/// One thing to run.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) limit: Duration,
    /// Variables, as a shell has them.
    variables: &'static str,
    /// A name of [`Image::executable`].
    executable: &'static str,
    arguments: String,
}

impl Step {
    /// A program of the project.
    fn program(
        name: &'static str,
        executable: &'static str,
        arguments: &str,
        variables: &'static str,
    ) -> Self {
        let limit = Duration::from_secs(400);
        Self { name, limit, variables, executable, arguments: arguments.to_owned() }
    }

    /// Tests by their names; none: all of the executable.
    fn tests(name: &'static str, executable: &'static str, tests: &str) -> Self {
        let exact = if tests.is_empty() { "" } else { "--exact" };
        let arguments = format!("{tests} {exact} --include-ignored --nocapture --test-threads 1");
        Self::program(name, executable, &arguments, "")
    }

    const fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }
}

impl Plan {
    /// The plan as the machine's first process reads it.
    pub(super) fn script(&self, image: &Image) -> Result<String> {
        let mut script = String::from("export CI=1 RUST_BACKTRACE=0 OPENSSL_CONF=/etc/ssl/openssl.cnf\n");
        for Step { name, limit, variables, executable, arguments } in &self.steps {
            let (seconds, path) = (limit.as_secs(), image.executable(executable)?.display());
            script += &format!("step '{name}' {seconds} env {variables} '{path}' {arguments}\n");
        }
        Ok(script)
    }

    /// The machine's network cards, the ends of a cable on one hub.
    pub(super) fn devices() -> Vec<String> {
        let card = |(cable, end): (u8, u8)| {
            let name = format!("card{cable}{end}");
            [
                "-netdev".to_owned(),
                format!("hubport,id={name},hubid={cable}"),
                "-device".to_owned(),
                format!("virtio-net-pci,netdev={name},mac=02:00:00:00:{cable:02x}:{end:02x}"),
            ]
        };
        CARDS.into_iter().flat_map(card).collect()
    }
}

/// The machines for a kernel; of their steps those whose names hold one of `only`, if there are any.
pub(super) fn of(version: &str, length: Length, only: &[String]) -> Vec<Plan> {
    let is_older = version == OLDER;
    let steps = if is_older { older() } else { short() };
    let mut plans = vec![Plan { name: "", flavor: Flavor::Cloud, cpus: 2, memory: 3_072, steps }];
    if length == Length::Full && !is_older {
        plans[0].steps.extend(long());
        plans.extend([
            Plan { name: "-cpus-1", flavor: Flavor::Cloud, cpus: 1, memory: 3_072, steps: short() },
            Plan { name: "-cpus-64", flavor: Flavor::Cloud, cpus: 64, memory: 6_144, steps: short() },
            Plan { name: "-devices", flavor: Flavor::Full, cpus: 2, memory: 3_072, steps: devices() },
        ]);
    }
    let is_wanted =
        |step: &Step| only.is_empty() || only.iter().any(|name| step.name.contains(name.as_str()));
    plans.iter_mut().for_each(|plan| plan.steps.retain(is_wanted));
    plans.retain(|plan| !plan.steps.is_empty());
    plans
}

/// A kernel on which the gateway does not start.
const OLDER: &str = "5.10";

/// There it says why.
fn older() -> Vec<Step> {
    vec![Step::tests("older", "doctor", "machine::what_an_older_kernel_lacks_is_told")]
}

/// What every change must pass.
fn short() -> Vec<Step> {
    vec![
        Step::tests("load", "kernel", "both_builds_pass_the_verifier_below_their_ceilings"),
        Step::program("smoke-veth", "bin/soak", "--short smoke", ""),
        Step::program("smoke-generic", "bin/soak", "--short smoke", "GATEWAY_LAB_DRIVER=generic"),
        Step::program("smoke-virtio", "bin/soak", "--short smoke", "GATEWAY_LAB_CABLES=cards"),
        Step::tests("vlan", "handshake", "machine::connections_come_about_where_tags_are_taken_off"),
    ]
}

/// Kinds of devices, under the kernel that has all of them.
fn devices() -> Vec<Step> {
    vec![Step::tests("devices", "devices", "").within(1_200)]
}

/// What takes longer. The last step changes the machine.
fn long() -> Vec<Step> {
    const PROMISES: &str = "--short https plaintext adoption reloads kill bans quic-nonsense";
    const MACHINE: &str = "machine::its_word_holds_whatever_the_machine_allows";
    vec![
        Step::tests("cases", "parity", "every_case_holds_in_the_kernel").within(600),
        Step::program("parity", "bin/parity", "--frames 100000", "").within(1_800),
        Step::tests("lists", "parity", "lists_say_the_same_in_the_kernel").within(1_800),
        Step::tests("policies", "kernel", "no_frame_sees_a_mix_of_two_policies").within(600),
        Step::tests("handshake", "handshake", "").within(1_800),
        Step::tests("gate", "adversary", "").within(1_800),
        Step::program("promises", "bin/soak", PROMISES, "").within(1_800),
        Step::program("doctor", "doctor", "--include-ignored --skip machine:: --test-threads 1", "")
            .within(600),
        Step::program(
            "smoke-virtio-generic",
            "bin/soak",
            "--short smoke",
            "GATEWAY_LAB_CABLES=cards GATEWAY_LAB_DRIVER=generic",
        ),
        Step::tests("clock", "clock", ""),
        Step { variables: "GATEWAY_OWN_MACHINE=1", ..Step::tests("machine", "doctor", MACHINE) },
    ]
}
