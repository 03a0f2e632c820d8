//! The real daemon in the server's namespace.

use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::Lab;
use super::metrics::Metrics;
use super::namespace::{output, scratch};
use super::process::Process;

/// Where BPF objects are pinned.
const BPFFS: &str = "/sys/fs/bpf";
/// What the labs' directories there begin with; the process number of their owner follows.
const PREFIX: &str = "gwlab-";
/// How long the daemon may take to start or to answer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the metrics are, in the server's namespace.
const METRICS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9464);

/// A running `gateway run` on both of the server's interfaces; dropping it ends it, and takes its program off.
pub struct Gateway<'a> {
    lab: &'a Lab,
    process: Option<Process>,
    directory: TempDir,
    pins: PathBuf,
    program: PathBuf,
}

impl<'a> Gateway<'a> {
    /// Writes the configuration and waits until the daemon protects. Where its socket, state and metrics are is added to
    /// the configuration, so the sections `control`, `audit` and `metrics` are not for callers.
    ///
    /// # Errors
    /// Where the daemon does not start; with its log.
    pub fn start(lab: &'a Lab, config: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new(BPFFS).join(format!("{PREFIX}{}-{number}", std::process::id()));
        let (directory, program) = (scratch()?, program()?);
        let mut gateway = Self { lab, process: None, directory, pins, program };
        gateway.write_config(config)?;
        gateway.run()?;
        Ok(gateway)
    }

    /// Writes another configuration, which holds after the next reload or restart.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_config(&self, config: &str) -> Result<()> {
        let directory = self.directory.path().display();
        let text = format!(
            "{config}\n[metrics]\nlisten = \"{}:{}\"\n[control]\nsocket = \"{directory}/control.sock\"\n\
             [audit]\ndatabase = \"{directory}/audit.db\"\n",
            METRICS.0, METRICS.1
        );
        // Readers see the old file or the new one.
        let next = self.path("next.toml");
        fs::write(&next, text).context("cannot write the gateway's configuration")?;
        fs::rename(next, self.path("gateway.toml")).context("cannot replace the gateway's configuration")
    }

    /// Starts the daemon again after [`Self::kill`] and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not start; with its log.
    pub fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the gateway runs already");
        let log = File::create(self.path("log"))?;
        let mut command = self.command(&["run"]);
        command.arg("--pins").arg(&self.pins);
        for interface in self.lab.interfaces() {
            command.args(["--interface", interface]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = self.lab.server.spawn(&mut command)?;
        let start = Instant::now();
        while !self.cli(&["status", "--json"])?.status.success() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                bail!("the gateway does not start ({ended:?}): {}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Ends the daemon as `kill -9` does; its program stays.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the gateway is not running")?;
        process.signal(Signal::SIGKILL)?;
        process.child.wait()?;
        Ok(())
    }

    /// Runs a verb of the command line and waits for its end.
    ///
    /// # Errors
    /// Where it cannot be started; that it fails is in the output's status.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("cannot start the gateway's command line")
    }

    /// Starts a verb of the command line, whose output is read as it comes.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_cli(&self, arguments: &[&str]) -> Result<Child> {
        self.command(arguments).stdout(Stdio::piped()).spawn().context("cannot start the command line")
    }

    /// A file of the daemon's state.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Runs a verb that must succeed, and gives what it writes.
    ///
    /// # Errors
    /// Where it fails; with what it complains of.
    pub fn done(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments))
    }

    /// Reads the metrics.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        let answer = self.lab.server.enter(|| -> Result<String> {
            let mut stream = TcpStream::connect(SocketAddr::from(METRICS))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })??;
        let (head, page) =
            answer.split_once("\r\n\r\n").context("the metrics' answer has no end of header")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "metrics: {head}");
        Ok(Metrics::parse(page))
    }

    /// What the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.path("gateway.toml"));
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        drop(self.process.take());
        remove_pins(&self.pins);
    }
}

/// The daemon's program: beside the test's own, and built there where it is missing.
fn program() -> Result<PathBuf> {
    let own = env::current_exe().context("this program has no path")?;
    let directory = own
        .ancestors()
        .skip(1)
        .find(|directory| !directory.ends_with("deps"))
        .context("this program is in no directory")?;
    let program = directory.join("gateway");
    if !program.is_file() {
        let mut command = Command::new("cargo");
        command.args(["build", "--quiet", "-p", "gateway-user", "--bin", "gateway"]);
        if directory.ends_with("release") {
            command.arg("--release");
        }
        output(command.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    }
    ensure!(program.is_file(), "there is no {}", program.display());
    Ok(program)
}

/// Removes a directory of pins; what fails is left to the next gateway.
fn remove_pins(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_pins(&entry.path());
        } else {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

/// Removes the pins of labs whose processes are no more.
fn remove_leftovers() {
    for entry in fs::read_dir(BPFFS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let owner = owner.and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            remove_pins(&entry.path());
        }
    }
}
