//! The gateway in the server's namespace: the real program, with a configuration of the demo's own.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gateway_tests::lab::{Lab, Process};
use serde_json::Value;
use tempfile::TempDir;

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// New connections that a neighbourhood, a /24, may ask for in a second.
pub(crate) const NEIGHBOURS_SYN: u64 = 40;

/// A running `gateway run`; it ends with the handle, and its files go.
pub(crate) struct Gateway {
    /// Before the directory, so that it ends before its files go.
    process: Process,
    program: PathBuf,
    directory: TempDir,
}

impl Gateway {
    /// Starts it on both of the server's interfaces, and waits until it answers.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let program = program()?;
        // The lab removes what is named after the process, even when that is interrupted.
        let prefix = format!("gwlab-{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let path = directory.path();
        fs::write(path.join("gateway.toml"), configuration(lab, path)?)?;
        let log = File::create(path.join("gateway.log"))?;
        // A BPF file system of its own: what it pins meets no gateway of this machine's, and goes with it.
        let script = "mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(&program).arg("run");
        command.arg("--config").arg(path.join("gateway.toml")).arg("--socket").arg(path.join("control.sock"));
        for interface in lab.interfaces() {
            command.args(["--interface", interface]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = lab.server.spawn(&mut command)?;
        let mut gateway = Self { process, program, directory };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Packets by interface, verdict and reason, as `gateway status --json` tells them.
    pub(crate) fn status(&self) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(self.directory.path().join("control.sock")).args(["status", "--json"]);
        let ended = command.stdin(Stdio::null()).output().context("cannot start the gateway's command")?;
        if !ended.status.success() {
            bail!("`gateway status` failed: {}", String::from_utf8_lossy(&ended.stderr).trim());
        }
        serde_json::from_slice(&ended.stdout).context("`gateway status --json` printed no JSON")
    }

    /// Packets of an interface that it let through.
    pub(crate) fn passed(&self, interface: &str) -> Result<u64> {
        let status = self.status()?;
        let rows = status["traffic"].as_array().context("the status tells of no traffic")?;
        let passed = rows.iter().filter(|row| row["interface"] == interface && row["verdict"] == "pass");
        Ok(passed.filter_map(|row| row["packets"].as_u64()).sum())
    }

    /// Packets of all interfaces that it did not let through, by reason, most first.
    pub(crate) fn not_passed(&self) -> Result<Vec<(String, u64)>> {
        let status = self.status()?;
        let mut sums: Vec<(String, u64)> = Vec::new();
        for row in status["traffic"].as_array().into_iter().flatten() {
            let (Some(reason), Some(packets)) = (row["reason"].as_str(), row["packets"].as_u64()) else {
                continue;
            };
            if row["verdict"] == "pass" || packets == 0 {
                continue;
            }
            match sums.iter_mut().find(|(known, _)| known == reason) {
                Some((_, sum)) => *sum += packets,
                None => sums.push((reason.to_owned(), packets)),
            }
        }
        sums.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
        Ok(sums)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let Err(error) = self.status() else { return Ok(()) };
            if self.process.child.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.path().join("gateway.log")).unwrap_or_default();
                bail!("the gateway does not answer ({error:#}); it wrote:\n{}", log.trim());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What `GATEWAY_PROGRAM` names, or the program beside this one: where `cargo xtask demo` builds both.
fn program() -> Result<PathBuf> {
    let beside = env::current_exe()?.with_file_name("gateway");
    let program = env::var_os("GATEWAY_PROGRAM").map_or(beside, PathBuf::from);
    if !program.is_file() {
        bail!("there is no {}: `cargo xtask demo` builds it", program.display());
    }
    Ok(program)
}

/// Limits that leave room for the demo's honest client, and for little else.
fn configuration(lab: &Lab, directory: &Path) -> Result<String> {
    let directory = directory.to_str().context("the directory for temporary files has no UTF-8 name")?;
    let [client, attacker] = lab.interfaces();
    let mut text = format!(
        "mode = \"enforce\"\n\n[attach]\ninterfaces = [\"{client}\", \"{attacker}\"]\nset_sysctls = true\n\n\
         [limits]\npackets = {{ rate = \"5k/s\", burst = \"10k\" }}\nsyn = {{ rate = \"40/s\", burst = \"80\" }}\n\
         udp = {{ rate = \"200/s\", burst = \"400\" }}\n\n"
    );
    write!(
        text,
        "[limits.neighbours]\npackets = {{ rate = \"10k/s\" }}\nsyn = {{ rate = \"{NEIGHBOURS_SYN}/s\" }}\n\n\
         [[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443, 8443]\nrequire = \"tls\"\n\
         total.syn = {{ rate = \"50k/s\" }}\n\n"
    )?;
    write!(
        text,
        "[control]\nsocket = \"{directory}/control.sock\"\n\n[audit]\ndatabase = \"{directory}/audit.db\"\n"
    )?;
    Ok(text)
}
