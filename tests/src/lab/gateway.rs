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
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::metrics::Metrics;
use super::namespace::{output, scratch};
use super::process::Process;
use super::{Lab, driver};

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
    /// What becomes the daemon, if that is not the program itself.
    script: Option<PathBuf>,
    /// More arguments of `gateway run`.
    arguments: Vec<String>,
}

impl<'a> Gateway<'a> {
    /// Writes the configuration and waits until the daemon protects. Where its socket, state and metrics are is added to
    /// the configuration, so the sections `control`, `audit` and `metrics` are not for callers.
    ///
    /// # Errors
    /// Where the daemon does not start; with its log.
    pub fn start(lab: &'a Lab, config: &str) -> Result<Self> {
        let mut gateway = Self::prepare(lab, config, &[])?;
        gateway.run()?;
        Ok(gateway)
    }

    /// Writes the configuration for a daemon that is started later, with these arguments of `gateway run`.
    ///
    /// # Errors
    /// Where the configuration cannot be written.
    pub fn prepare(lab: &'a Lab, config: &str, arguments: &[&str]) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new(BPFFS).join(format!("{PREFIX}{}-{number}", std::process::id()));
        let (directory, program) = (scratch()?, program()?);
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let gateway = Self { lab, process: None, directory, pins, program, script: None, arguments };
        gateway.write_config(config)?;
        Ok(gateway)
    }

    /// Writes another configuration, which holds after the next reload or restart.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_config(&self, config: &str) -> Result<()> {
        let directory = self.directory.path().display();
        let text = format!(
            "{config}\n[metrics]\nlisten = \"{}:{}\"\n[control]\nsocket = \"{directory}/run/control.sock\"\n\
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
        let mut process = self.spawn()?;
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

    /// Starts the daemon, and does not wait until it is ready.
    ///
    /// # Errors
    /// Where it cannot be started, or runs already.
    pub fn begin(&mut self) -> Result<()> {
        self.process = Some(self.spawn()?);
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        ensure!(self.process.is_none(), "the gateway runs already");
        let log = File::create(self.path("log"))?;
        let mut command = match &self.script {
            None => self.command(&["run"]),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.arg(script);
                self.with_arguments(shell, &["run"])
            }
        };
        command.arg("--pins").arg(&self.pins).args(&self.arguments);
        if driver() == "generic" {
            command.args(["--driver", "generic"]);
        }
        for interface in self.lab.interfaces() {
            command.args(["--interface", interface]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        self.lab.server.spawn(&mut command)
    }

    /// The daemon's process.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pid(&self) -> Result<Pid> {
        Ok(self.process.as_ref().context("the gateway is not running")?.pid())
    }

    /// Has the daemon be what a shell becomes that has done this before; verbs are given as ever.
    ///
    /// # Errors
    /// Where its script cannot be written.
    pub fn through(&mut self, shell: &str) -> Result<()> {
        let script = self.path("daemon.sh");
        fs::write(&script, format!("{shell}\nexec '{}' \"$@\"\n", self.program.display()))?;
        self.script = Some(script);
        Ok(())
    }

    /// Where its maps and links are pinned.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Has the next daemon pin below another directory.
    pub fn pin_at(&mut self, pins: &Path) {
        pins.clone_into(&mut self.pins);
    }

    /// How its program is on an interface: `native` or `generic`.
    ///
    /// # Errors
    /// Where the daemon does not answer, or does not have the interface.
    pub fn driver(&self, interface: &str) -> Result<String> {
        let status: Value = self.document(&["status", "--json"])?;
        let rows = status["interfaces"].as_array().context("no interfaces")?;
        let row = rows.iter().find(|row| row["name"] == interface).context("it is not in status")?;
        Ok(row["driver"].as_str().context("no driver")?.to_owned())
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

    /// Runs a verb of the command line that reads this.
    ///
    /// # Errors
    /// Where it cannot be started; that it fails is in the output's status.
    pub fn cli_with(&self, arguments: &[&str], input: &str) -> Result<Output> {
        fed(&mut self.command(arguments), input)
    }

    /// Runs a verb by way of a shell: `script` has the verb as `"$@"`. The environment is this alone, and a search path.
    ///
    /// # Errors
    /// Where it cannot be started; that it fails is in the output's status.
    pub fn cli_by(
        &self,
        script: &str,
        environment: &[(&str, &str)],
        arguments: &[&str],
        input: &str,
    ) -> Result<Output> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(&self.program);
        let mut shell = self.with_arguments(shell, arguments);
        shell.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(environment.iter().copied());
        fed(&mut shell, input)
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

    /// The rows of its block list.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn blocked(&self) -> Result<Vec<Value>> {
        self.rows(&["block", "list", "--json"])
    }

    /// Runs a verb that prints a document, as `--json` has it.
    ///
    /// # Errors
    /// Where it fails, or prints something else.
    pub fn document(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.done(arguments)?)?)
    }

    /// The same of one that prints a document a line.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub fn rows(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.done(arguments)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Reads the metrics.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&self.lab.server.enter(|| page("/metrics"))??))
    }

    /// Asks for the metrics so many times; how long each answer took, its connection included.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub fn scrapes(&self, times: usize) -> Result<Vec<Duration>> {
        self.lab.server.enter(|| {
            let scrape = |_| {
                let start = Instant::now();
                page("/metrics").map(|_| start.elapsed())
            };
            (0..times).map(scrape).collect()
        })?
    }

    /// Waits until the daemon answers that it is ready.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait_ready(&self) -> Result<()> {
        let start = Instant::now();
        self.lab.server.enter(|| {
            while let Err(error) = page("/readyz") {
                ensure!(start.elapsed() < PATIENCE, "the gateway is not ready: {error:#}; {}", self.log());
                thread::sleep(Duration::from_micros(500));
            }
            Ok(())
        })?
    }

    /// Whether the daemon says that it is ready.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn is_ready(&self) -> Result<bool> {
        self.lab.server.enter(|| page("/readyz").is_ok())
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
        self.with_arguments(Command::new(&self.program), arguments)
    }

    fn with_arguments(&self, mut command: Command, arguments: &[&str]) -> Command {
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

/// Runs a program that reads this.
fn fed(command: &mut Command, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the gateway's command line")?;
    let mut stdin = child.stdin.take().context("it reads nothing")?;
    // One that ends without reading says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Ok(child.wait_with_output()?)
}

/// A page of the daemon's, from inside of the server's namespace.
fn page(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(METRICS))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, page) = answer.split_once("\r\n\r\n").context("the answer has no end of header")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    Ok(page.to_owned())
}

/// The daemon's program: beside the test's own, and built there where it is missing.
///
/// # Errors
/// Where it cannot be built.
pub fn program() -> Result<PathBuf> {
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
