//! An emulated machine: qemu with its CPU in software, of which nothing is read but the serial line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::directory;
use super::image::Image;
use super::kernel::Kernel;
use super::plan::{Plan, Step};

/// How long the machine may take to start, on a busy host too.
const START: Duration = Duration::from_secs(180);
/// Lines of a failed step that are shown.
const SHOWN: usize = 60;

/// How a plan went.
pub(super) struct Outcome {
    /// Steps that passed.
    pub(super) passed: usize,
    /// Names of those that did not, or were not reached.
    pub(super) failed: Vec<String>,
}

/// Starts the machine and runs a plan in it.
///
/// # Errors
/// When it does not start.
pub(super) fn run(version: &str, kernel: &Kernel, image: &Image, plan: &Plan) -> Result<Outcome> {
    let name = format!("{}{}", kernel.release, plan.name);
    let initrd = image.with(kernel, &name, &plan.script(image)?)?;
    let mut command = Command::new("qemu-system-x86_64");
    // One thread for all CPUs: with a thread for each, qemu 7.2 has run a breakpoint that the kernel had taken away already, while
    // it changed its XDP dispatcher (`Oops: int3` in bpf_dispatcher_xdp_func).
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-nographic", "-no-reboot", "-nodefaults"]);
    command.args(["-serial", "stdio", "-smp", &plan.cpus.to_string(), "-m", &plan.memory.to_string()]);
    command.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd).args(Plan::devices());
    let mut machine = Machine(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start qemu")?,
    );
    let log = directory()?.join(format!("{name}.log"));
    println!("{version}: {name}; its serial line goes to {}", log.display());
    let mut log = File::create(log)?;
    let serial = machine.0.stdout.take().context("qemu without a serial line")?;
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if writeln!(log, "{line}").is_err() || sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut reader = Reader::new(version, &plan.steps);
    let mut until = Instant::now() + START;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => match reader.read(&line) {
                Said::Done => return Ok(reader.outcome()),
                Said::Begun(limit) => until = Instant::now() + limit,
                Said::Nothing => {}
            },
            Err(_) if !reader.is_up => bail!("the machine did not start:\n{}", reader.tail()),
            Err(RecvTimeoutError::Timeout) => {
                println!("{version}: the machine is silent: it is ended");
                return Ok(reader.outcome());
            }
            Err(RecvTimeoutError::Disconnected) => {
                println!("{version}: the machine has ended too early:\n{}", reader.tail());
                return Ok(reader.outcome());
            }
        }
    }
}

/// A qemu that ends with its handle.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a line means.
enum Said {
    /// A step has begun, and may take so long.
    Begun(Duration),
    /// The plan is done.
    Done,
    Nothing,
}

/// Reads the serial line.
struct Reader<'a> {
    version: &'a str,
    steps: &'a [Step],
    /// The last lines.
    tail: VecDeque<String>,
    began: Instant,
    is_up: bool,
    passed: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(version: &'a str, steps: &'a [Step]) -> Self {
        Self {
            version,
            steps,
            tail: VecDeque::new(),
            began: Instant::now(),
            is_up: false,
            passed: Vec::new(),
        }
    }

    fn read(&mut self, line: &str) -> Said {
        let Some(said) = line.strip_prefix("@@ ") else {
            self.tail.push_back(line.to_owned());
            if self.tail.len() > SHOWN {
                self.tail.pop_front();
            }
            return Said::Nothing;
        };
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "up" => {
                println!("{}: up after {:.1} s", self.version, self.began.elapsed().as_secs_f64());
                self.is_up = true;
            }
            "begin" => {
                self.began = Instant::now();
                self.tail.clear();
                let step = self.steps.iter().find(|step| step.name == rest);
                // The machine ends a step that takes too long by itself, if it still can.
                let limit = step.map_or(START, |step| step.limit);
                return Said::Begun(limit + Duration::from_secs(30));
            }
            "end" => {
                let (status, name) = rest.split_once(' ').unwrap_or((rest, ""));
                let seconds = self.began.elapsed().as_secs_f64();
                if status == "0" {
                    println!("{}: ok      {name} ({seconds:.1} s)", self.version);
                    self.passed.push(name.to_owned());
                } else {
                    println!(
                        "{}: FAILED  {name} ({seconds:.1} s, status {status}):\n{}",
                        self.version,
                        self.tail()
                    );
                }
                return Said::Begun(START);
            }
            "done" => return Said::Done,
            _ => println!("{}: {line}", self.version),
        }
        Said::Nothing
    }

    fn tail(&self) -> String {
        self.tail.iter().map(|line| format!("    {line}\n")).collect()
    }

    fn outcome(&self) -> Outcome {
        let names = self.steps.iter().map(|step| step.name.to_owned());
        let failed = names.filter(|name| !self.passed.contains(name)).collect();
        Outcome { passed: self.passed.len(), failed }
    }
}
