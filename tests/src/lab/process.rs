//! A program that ends with its handle.

use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

use super::namespace::output;

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running program; dropping it asks it to end, and ends it after five seconds.
pub struct Process {
    /// The program's process, its pipes included.
    pub child: Child,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", command.get_program().to_string_lossy()))?;
        Ok(Self { child })
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        // Process numbers are at most 2^22.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal; one that has ended is left alone.
    ///
    /// # Errors
    /// Where this process may not.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            kill(self.pid(), signal).with_context(|| format!("cannot send {signal}"))?;
        }
        Ok(())
    }

    /// Waits until it has ended by itself, but no longer than `patience`.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if start.elapsed() > patience {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The calling thread, for [`pin`].
pub const THIS_THREAD: Pid = Pid::from_raw(0);

/// Keeps a thread on one CPU.
///
/// # Errors
/// Where there is no such thread or CPU.
pub fn pin(thread: Pid, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(thread, &cpus).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Lets the calling thread have its CPU before all threads that are not like it; those that it starts are like it.
pub(crate) fn run_first() -> Result<()> {
    let thread = gettid().to_string();
    output(Command::new("chrt").args(["--fifo", "--pid", "1", &thread]))
        .context("cannot run before others")?;
    Ok(())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGTERM);
        if !matches!(self.wait(PATIENCE), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
