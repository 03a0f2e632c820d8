//! Set-ups: network and mount namespaces of a command's own, with a veth, and something taken away.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// How long a start may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Makes the interface. Its MTU takes the build for frames of one buffer.
const VETH: &str =
    "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up";

pub(crate) fn require_root_and_object() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root (`cargo xtask test` asks for it)");
    let is_whole = gateway_user::kernel::embedded().is_some();
    assert!(is_whole, "this test needs the eBPF object in the binary (`cargo xtask ebpf` builds it)");
}

/// A place for a gateway: its files and its pins, which go with it.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) pins: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let text = format!(
            "[control]\nsocket = \"{path}/control.sock\"\n[audit]\ndatabase = \"{path}/audit.db\"\n\
             [lists]\nblock = [\"198.51.100.0/24\", \"2001:db8:1::/48\"]\n"
        );
        fs::write(directory.path().join("gateway.toml"), text).unwrap();
        // Whoever has no privilege reads it too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), mode).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = PathBuf::from(format!("/sys/fs/bpf/gwdoctor-{}-{number}", std::process::id()));
        Self { directory, pins }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A shell with namespaces of its own that prepares them and becomes the gateway.
    fn command(&self, setup: &Setup, verb: &str) -> Command {
        let Setup { namespaces, prepare, wrap, arguments } = setup;
        let config = self.path("gateway.toml");
        let line =
            format!("{VETH} && {prepare} && exec {wrap} {GATEWAY} {verb} --config {config} {arguments}");
        let mut command = Command::new("unshare");
        command.args(namespaces.split(' ')).args(["--mount", "sh", "-c", &line]).stdin(Stdio::null());
        command
    }

    /// What doctor says: whether the gateway can run, and all of it.
    pub(crate) fn doctor(&self, setup: &Setup) -> (Option<bool>, Value, Output) {
        let output = self.command(setup, "doctor v0 --json").output().unwrap();
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (document["can_run"].as_bool(), document, output)
    }

    /// Starts the gateway; it runs, or it has ended with this log.
    pub(crate) fn run(&self, setup: &Setup) -> Result<Running, String> {
        let log = self.path("log");
        let mut command = self.command(setup, &format!("run --interface v0 --pins {}", self.pins.display()));
        let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap();
            if text.contains("protecting v0") {
                return Ok(Running { child, log: text });
            }
            if child.try_wait().unwrap().is_some() {
                return Err(fs::read_to_string(&log).unwrap());
            }
            assert!(began.elapsed() < PATIENCE, "neither started nor ended: {text}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pins);
    }
}

/// A gateway that runs; dropped, it is ended and takes its program off.
pub(crate) struct Running {
    child: Child,
    /// What it has logged until it protected.
    pub(crate) log: String,
}

impl Running {
    /// Runs a program in the gateway's network namespace.
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) -> Output {
        let pid = self.child.id().to_string();
        Command::new("nsenter").args(["--net", "--target", &pid, program]).args(arguments).output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What is special about a start.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Options of `unshare` beside those of every set-up.
    pub(crate) namespaces: String,
    /// What the shell does first.
    pub(crate) prepare: String,
    /// What stands before the gateway.
    pub(crate) wrap: String,
    /// What follows the verb.
    pub(crate) arguments: String,
}

pub(crate) fn setup(prepare: &str, wrap: &str) -> Setup {
    Setup {
        namespaces: "--net".to_owned(),
        prepare: format!("true {prepare}"),
        wrap: wrap.to_owned(),
        arguments: String::new(),
    }
}
