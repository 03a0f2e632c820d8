//! Whether the program can be loaded on this kernel, found by loading it.

use super::{Finding, Level, Own, Trial};
use crate::config::Config;
use crate::daemon::trial::{self, Part, build_for};
use crate::kernel::cause::Surroundings;
use crate::kernel::{KernelError, Program};
use crate::net::{self, Interface};

const CHECK: &str = "trial";

/// Loads the program and lets it go again, where this process may.
pub(super) fn examine(config: &Config, interfaces: &[String], own: &Own<'_>) -> (Trial, Vec<Finding>) {
    if own.object.is_none_or(<[u8]>::is_empty) {
        // That is told already, as what stands in the way.
        return (Trial::NotDone, Vec::new());
    }
    if let Some(finding) = lack(&Surroundings::look()) {
        return (Trial::NotDone, vec![finding]);
    }
    let interfaces: Vec<_> = interfaces.iter().filter_map(|name| net::interface(name).ok()).collect();
    let trial = trial::Trial::of(config, &interfaces);
    (Trial::Done, told(&trial, &interfaces))
}

/// What keeps somebody else than root from trying.
pub(super) fn lack(host: &Surroundings) -> Option<Finding> {
    let missing = host.missing_capabilities().filter(|missing| !missing.is_empty() && !host.is_root())?;
    let found = format!(
        "not tried whether the gateway can run here: to load its program takes {}",
        missing.join(", ")
    );
    Some(Finding::warning(CHECK, found).remedy("`sudo gateway doctor` tries it"))
}

pub(super) fn told(trial: &trial::Trial, interfaces: &[Interface]) -> Vec<Finding> {
    let failed = trial.failed.iter();
    // What is wrong with a description of the kernel's types is told where that is looked at.
    let is_of_types = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(KernelError::Btf(_)));
    if failed.clone().any(|(_, error)| is_of_types(error)) {
        return Vec::new();
    }
    let mut findings: Vec<_> = failed.map(|(part, error)| failure(*part, error, interfaces)).collect();
    findings.extend(trial.smaller.as_deref().map(smaller));
    if findings.iter().all(|finding| finding.level != Level::Problem) {
        let builds = trial.verified.iter().map(|(build, count)| match count {
            0 => build.name().to_owned(),
            count => format!("{} ({count} instructions verified)", build.name()),
        });
        let builds = builds.collect::<Vec<_>>().join(", ");
        let found = format!(
            "loaded on this kernel and let go again: maps, {builds}, a policy with prefixes of IPv4 and IPv6"
        );
        findings.push(Finding::ok(CHECK, found));
    }
    findings
}

fn failure(part: Part, error: &anyhow::Error, interfaces: &[Interface]) -> Finding {
    let (found, remedy) = match error.downcast_ref::<KernelError>() {
        Some(error) => error.told(),
        None => (format!("{error:#}"), None),
    };
    let (is_needed, what) = match part {
        Part::Maps => (true, "making maps and giving the program its constants"),
        Part::Program(build) => (is_needed(build, interfaces), what(build)),
        Part::Policy => (true, "switching a policy in"),
        Part::Live => (true, "writing live entries"),
    };
    let remedy =
        remedy.unwrap_or_else(|| "docs/kernels.md tells what the program needs of a kernel".to_owned());
    let found = format!("{what}: {found}");
    if is_needed {
        return Finding::problem(CHECK, found).remedy(remedy);
    }
    Finding::warning(CHECK, format!("{found}\nno interface that was looked at needs it")).remedy(remedy)
}

/// What the operator should know of tables that find too little memory, without what to do.
fn smaller(told: &str) -> Finding {
    match told.rsplit_once(": ") {
        Some((found, remedy)) => Finding::warning(CHECK, found).remedy(remedy),
        None => Finding::warning(CHECK, told),
    }
}

/// Whether an interface takes this build; where there is none to look at, most would take the plain one.
fn is_needed(build: Program, interfaces: &[Interface]) -> bool {
    match interfaces {
        [] => build == Program::Plain,
        all => all.iter().any(|interface| build_for(interface) == build),
    }
}

const fn what(build: Program) -> &'static str {
    match build {
        Program::Plain => "the build for frames of one buffer",
        Program::Frags => "the build for frames of several buffers, for MTUs above 3400",
        Program::Bare => {
            "the build for packets without an Ethernet header, for tun, WireGuard, PPP and IP tunnels"
        }
    }
}
