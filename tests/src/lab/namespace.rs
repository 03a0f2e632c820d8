//! Network namespaces that do not outlive their process.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::TempDir;

use super::process::Process;

/// What the names of all namespaces of labs begin with; the process number of their owner follows.
const PREFIX: &str = "gwlab-";
/// Where iproute2 keeps named namespaces.
const DIRECTORY: &str = "/run/netns";

/// The namespaces of this process, for the end by a signal.
static ALIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network namespace; dropping it ends the programs in it, and removes it.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Creates one, named after this process and `label`.
    ///
    /// # Errors
    /// Without root, or without iproute2.
    pub fn new(label: &str) -> Result<Self> {
        WATCH.call_once(watch_signals);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{label}", std::process::id());
        alive().push(name.clone());
        let created = output(Command::new("ip").args(["netns", "add", &name]))
            .and_then(|_| File::open(Path::new(DIRECTORY).join(&name)).context("cannot open the namespace"));
        let file = created.inspect_err(|_| forget(&name))?;
        let namespace = Self { name, file };
        namespace.sysctl(&[
            // Forged sources come from anywhere.
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            // No frames but those that a test sends.
            ("net/ipv6/conf/default/accept_ra", "0"),
            ("net/ipv6/conf/default/addr_gen_mode", "1"),
        ])?;
        namespace.ip(&["link set dev lo up".to_owned()])?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` inside, on a thread of its own, and waits for it. Sockets stay in the namespace that they were made in, and
    /// programs in the one that they were started in. Unlike `ip netns exec`, /sys is still that of the machine.
    ///
    /// # Errors
    /// Where the thread may not enter, or panicked.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}", self.name))
                    .map(|()| work())
            });
            thread.join().map_err(|_| anyhow!("the work in {} panicked", self.name))?
        })
    }

    /// Another handle to the namespace, for a thread that outlives the borrow.
    pub(crate) fn handle(&self) -> Result<File> {
        self.file.try_clone().context("cannot copy the namespace's handle")
    }

    /// Runs a program inside and gives what it writes.
    ///
    /// # Errors
    /// Where it cannot be started or fails; with what it complained of.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.enter(|| output(Command::new(program).args(arguments)))?
    }

    /// Starts a program inside; it ends when the handle is dropped, or with the namespace.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        self.enter(|| Process::spawn(command))?
    }

    /// Hands lines to `ip -batch`.
    ///
    /// # Errors
    /// Where a line fails.
    pub fn ip(&self, lines: &[String]) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `ip`")?;
        let mut input = child.stdin.take().context("no pipe to `ip`")?;
        input.write_all((lines.join("\n") + "\n").as_bytes()).context("cannot write to `ip`")?;
        drop(input);
        let ended = child.wait_with_output()?;
        if !ended.status.success() {
            bail!("ip in {}: {}", self.name, String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(())
    }

    /// Writes settings below /proc/sys, each name a path.
    ///
    /// # Errors
    /// Where one cannot be written.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (name, value) in settings {
                fs::write(Path::new("/proc/sys").join(name), value)
                    .with_context(|| format!("cannot set {name} to {value}"))?;
            }
            Ok(())
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        forget(&self.name);
    }
}

/// A directory for the files of a lab; it goes with the handle, at the end by a signal, or with the leftovers.
pub(crate) fn scratch() -> Result<TempDir> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().context("cannot make a directory for temporary files")
}

/// Removes namespaces and directories of processes that are no more, and ends the programs in them.
pub(crate) fn remove_leftovers() {
    let is_left = |owner: &str| !Path::new("/proc").join(owner).exists();
    for name in names(Path::new(DIRECTORY), is_left) {
        remove(&name);
    }
    remove_scratch(is_left);
}

/// Removes the directories for temporary files whose owners are of this kind.
fn remove_scratch(is_owner: impl Fn(&str) -> bool) {
    for name in names(&env::temp_dir(), is_owner) {
        let _ = fs::remove_dir_all(env::temp_dir().join(name));
    }
}

/// The labs' names in a directory whose owners are of this kind; none where there is no such directory.
fn names(directory: &Path, is_owner: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let all = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(|name| {
        name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).is_some_and(&is_owner)
    })
    .collect()
}

fn alive() -> std::sync::MutexGuard<'static, Vec<String>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes one of this process's namespaces.
fn forget(name: &str) {
    remove(name);
    alive().retain(|other| other != name);
}

/// Ends the programs in a namespace, then removes it. What fails is left to the next lab.
fn remove(name: &str) {
    let pids = output(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    let own = Pid::this();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw) {
        if pid != own {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
    let _ = output(Command::new("ip").args(["netns", "delete", name]));
}

/// Removes all namespaces when the process is told to end, then ends as it would have.
fn watch_signals() {
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else {
        return;
    };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for name in alive().iter() {
                remove(name);
            }
            remove_scratch(|owner| owner == std::process::id().to_string());
            let _ = emulate_default_handler(signal);
        }
    });
}

/// What a program writes, or what it complains of.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`"))?;
    if !ended.status.success() {
        bail!("`{name}` ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
