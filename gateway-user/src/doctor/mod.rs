//! `gateway doctor`: whether the gateway can run here, and what on this host helps or hinders, each with its fix.
//!
//! * `trial`: loads the program on this kernel and lets it go again; what it finds decides, all else explains
//! * `host`: kernel, memory file system of BPF, privileges, settings
//! * `interface`: what an interface and its driver allow
//! * `render`: findings as text
//!
//! Checks are functions of what was read, so that they are tested without the host that they speak of. Nothing is
//! changed, and nothing but the trial needs privilege; what only root may see or try is told as such.

mod host;
mod interface;
mod render;
#[cfg(test)]
mod tests;
mod trial;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::cli::args::DoctorArgs;
use crate::cli::error::Status;
use crate::cli::render::Style;
use crate::cli::{CliError, Global, print, print_json};
use crate::config::{Attach, Config};
use crate::net;

pub use render::render;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The gateway works, but less well than it could, or not everywhere.
    Warning,
    /// The gateway does not start, or does not protect.
    Problem,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    /// Of which interface; none: of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// What there is.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(check: &'static str, level: Level, found: impl Into<String>) -> Self {
        Self { check, interface: None, level, found: found.into(), remedy: None }
    }

    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, found)
    }

    fn warning(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, found)
    }

    fn problem(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Level::Problem, found)
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What the gateway is on this host.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The eBPF object in the binary, if it was built with one.
    pub object: Option<&'a [u8]>,
    /// Where its maps and links are pinned; the link of an interface is `links/IF` in there.
    pub pins: &'a Path,
}

/// The `--json` document.
#[derive(Serialize)]
struct Document<'a> {
    /// Whether the gateway can run; nothing where that was not tried.
    can_run: Option<bool>,
    findings: &'a [Finding],
}

impl<'a> Document<'a> {
    fn of(findings: &'a [Finding], trial: Trial) -> Self {
        let has_problem = findings.iter().any(|finding| finding.level == Level::Problem);
        let can_run = match trial {
            _ if has_problem => Some(false),
            Trial::Done => Some(true),
            Trial::NotDone => None,
        };
        Self { can_run, findings }
    }
}

/// Whether the program was loaded on this kernel to see whether that can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It was, and findings tell what came of it.
    Done,
    /// It was not, and a finding tells why.
    NotDone,
}

/// Looks at the host and at these interfaces, as they are configured.
pub fn examine(interfaces: &[String], own: &Own<'_>, attach: &Attach) -> Vec<Finding> {
    let mut findings = host::examine(own, attach.btf.as_deref());
    if interfaces.is_empty() {
        let found = "none is named, and none is up but the loopback";
        findings.push(
            Finding::warning("interface", found)
                .remedy("name one: `gateway doctor IF`, or attach.interfaces of the configuration"),
        );
    }
    for name in interfaces {
        findings.extend(interface::examine(name, own, attach.driver));
    }
    findings
}

/// Does the verb: looks at the interface that is named, else at those of the configuration, else at all that are up.
///
/// # Errors
/// With status 1 when there is a problem, after telling it; when the output cannot be written.
pub fn run(args: &DoctorArgs, global: &Global, own: &Own<'_>) -> Result<(), CliError> {
    let (mut config, finding) = configuration(&global.config);
    let interfaces = match &args.interface {
        Some(name) => vec![name.clone()],
        None if config.attach.interfaces.is_empty() => those_up(),
        None => config.attach.interfaces.clone(),
    };
    config.attach.btf = args.btf.clone().or(config.attach.btf);
    let (trial, tried) = trial::examine(&config, &interfaces, own);
    let mut findings = vec![finding];
    findings.extend(tried);
    findings.extend(examine(&interfaces, own, &config.attach));
    config.attach.interfaces.clone_from(&interfaces);
    findings.extend(host::gaps(&config));
    let document = Document::of(&findings, trial);
    if args.output.json {
        print_json(&document)?;
    } else {
        print(&render(&findings, document.can_run, Style::detect()))?;
    }
    match document.can_run {
        Some(false) => Err(CliError::reported(Status::Failed)),
        _ => Ok(()),
    }
}

/// The configuration, that without a file where it is no good, and how the file is.
fn configuration(path: &Path) -> (Config, Finding) {
    const CHECK: &str = "configuration";
    let file = path.display();
    if matches!(path.try_exists(), Ok(false)) {
        let finding = Finding::warning(CHECK, format!("there is no {file}"))
            .remedy("write it, or name another with --config; `gateway run --help` tells what goes without");
        return (Config::default(), finding);
    }
    if File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        let finding =
            Finding::warning(CHECK, format!("{file} may not be read by you")).remedy("`sudo gateway doctor`");
        return (Config::default(), finding);
    }
    let check = format!("`gateway check {file}` shows each with its place");
    match Config::load(path) {
        Err(report) => {
            let found = format!("{file}: {} error(s)", report.errors());
            (Config::default(), Finding::problem(CHECK, found).remedy(check))
        }
        Ok(config) if config.warnings.is_empty() => (config, Finding::ok(CHECK, format!("{file} is valid"))),
        Ok(config) => {
            let found = format!("{file} is valid, with warnings");
            (config, Finding::warning(CHECK, found).remedy(check))
        }
    }
}

/// All interfaces that are up, but for the loopback.
fn those_up() -> Vec<String> {
    let all = net::interfaces().unwrap_or_default();
    all.into_iter().filter(|one| one.up && one.name != "lo").map(|one| one.name).collect()
}
