//! Finding and starting other programs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

/// Variables that cargo sets for the program it runs; inherited, they would bend the builds started from here.
const LEAKING: [&str; 9] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// The workspace's directory.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// All programs of this name in PATH, then in the directories that PATH lacks for users other than root.
pub(crate) fn find_all(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]) {
        let candidate = directory.join(program);
        if is_executable(&candidate) && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The first program of this name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_all(program).into_iter().next()
}

/// Whether this is a file that may be executed.
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The cargo that runs this program, in the workspace's directory.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The programs that are started afterwards are looked for there.
    command.current_dir(workspace()).env("CARGO_TARGET_DIR", workspace().join("target"));
    command
}

/// Where cargo keeps what it has fetched.
pub(crate) fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Takes the variables away that would bend a build for another target or with another compiler.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for name in LEAKING {
        command.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether this process has root's rights.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A command with root's rights: as it is for root, through sudo for others. `keep` are variables it shall see.
pub(crate) fn as_root(program: impl AsRef<OsStr>, keep: &[&str]) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = find("sudo").context("this step needs root, and there is no sudo: run the command as root")?;
    let mut command = Command::new(sudo);
    if !keep.is_empty() {
        command.arg(format!("--preserve-env={}", keep.join(",")));
    }
    command.arg(program);
    Ok(command)
}

/// Prints a command as one would type it, runs it, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("+ {}", typed(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", typed(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", typed(command));
    }
    Ok(())
}

/// The same; what it complained of is shown when it has ended, and handed on.
pub(crate) fn run_and_read(command: &mut Command) -> Result<String> {
    println!("+ {}", typed(command));
    let child = command.stderr(Stdio::piped()).spawn();
    let ended = child.and_then(Child::wait_with_output);
    let ended = ended.with_context(|| format!("cannot start `{}`", typed(command)))?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    eprint!("{said}");
    if !ended.status.success() {
        bail!("`{}` ended with {}", typed(command), ended.status);
    }
    Ok(said)
}

/// Prints a command and becomes it; returns only when that fails.
pub(crate) fn become_it(command: &mut Command) -> anyhow::Error {
    println!("+ {}", typed(command));
    anyhow!(command.exec()).context(format!("cannot start `{}`", typed(command)))
}

/// What a command writes to its standard output; its last line of complaint when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", typed(command)))?;
    if !out.status.success() {
        let complaint = String::from_utf8_lossy(&out.stderr);
        bail!("`{}`: {}", typed(command), complaint.trim().lines().last().unwrap_or("failed"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Program and arguments, separated by spaces; a script is not shown whole.
fn typed(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy);
    words.map(|word| if word.contains('\n') { "'...'".into() } else { word }).collect::<Vec<_>>().join(" ")
}
