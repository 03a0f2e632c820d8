//! The traffic generator: BPF_PROG_TEST_RUN on live frames (Linux 5.18), several million a second from one CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Array, MapData};
use aya::{Ebpf, EbpfLoader};

use super::generator::{Generator, due, sent};
use super::namespace::Namespace;
use super::object::{load, xdp};
use super::sources::Sources;
use super::template::Template;
use super::{FLOOD_V4, SENDER, SERVER_V4};

/// How fast frames are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the CPU can.
    Unlimited,
    /// So many a second on average, in some forty bursts a second; costs no more than the frames do.
    Bursts(u64),
    /// So many a second, each at its time, but for one gap of 24 ms a second that is made up for; takes a whole CPU.
    Smooth(u64),
}

/// What to send, how fast and how long.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Every frame but for what is drawn.
    pub template: Template,
    /// Whom the frames claim to come from.
    pub sources: Sources,
    /// Whether the source port is drawn, from 1024 on.
    pub random_ports: bool,
    /// How fast.
    pub pace: Pace,
    /// Frames to send; nothing: as many as fit the time.
    pub frames: Option<u64>,
    /// The longest time to send.
    pub duration: Duration,
    /// The CPU to send from; nothing: the scheduler's choice.
    pub cpu: Option<usize>,
    /// Whether the sender has its CPU before others, so that it is never held up for long.
    pub runs_first: bool,
    /// Where the sequence of draws begins: the same seed draws the same sources.
    pub seed: u64,
}

impl Flood {
    /// The template alone, from its own source, as fast as possible, for ten seconds.
    #[must_use]
    pub const fn new(template: Template) -> Self {
        Self {
            template,
            sources: Sources::Fixed,
            random_ports: false,
            pace: Pace::Unlimited,
            frames: None,
            duration: Duration::from_secs(10),
            cpu: None,
            runs_first: false,
            seed: 0,
        }
    }

    /// SYNs to the server's port 443, from any port of 131,072 addresses that are nobody's.
    ///
    /// # Errors
    /// Never: addresses of one family make a frame.
    pub fn forged_syns(pace: Pace, duration: Duration) -> Result<Self> {
        let template = Template::syn(FLOOD_V4.into(), SERVER_V4.into(), (4_000, 443))?;
        let sources = Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 };
        Ok(Self { sources, random_ports: true, pace, cpu: Some(SENDER), duration, ..Self::new(template) })
    }

    /// Frames that are sent at most.
    pub(crate) fn limit(&self) -> u64 {
        let in_time = match self.pace {
            Pace::Unlimited => u64::MAX,
            Pace::Bursts(rate) | Pace::Smooth(rate) => due(rate, self.duration),
        };
        in_time.min(self.frames.unwrap_or(u64::MAX))
    }

    /// Time between two frames in 1/256 ns, when each is sent at its time.
    pub(crate) fn gap(&self) -> u64 {
        match self.pace {
            Pace::Smooth(rate) => (1_000_000_000 << 8) / rate.max(1),
            _ => 0,
        }
    }
}

/// What a flood came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodReport {
    /// Frames made and handed to the interface, exactly.
    pub sent: u64,
    /// Frames that the other end took and was done with, by the interface's own counter; other traffic of the interface included.
    pub delivered: u64,
    /// Frames that the other end had no room for.
    pub dropped: u64,
    /// Time from the first frame to the last.
    pub elapsed: Duration,
}

impl FloodReport {
    /// Frames sent in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// A flood under way; dropping it stops it.
pub struct Flooding {
    /// Ends the call that is under way.
    stop: Array<MapData, u32>,
    /// Ends the sequence of calls.
    stopping: Arc<AtomicBool>,
    ebpf: Arc<Ebpf>,
    thread: Option<JoinHandle<Result<FloodReport>>>,
}

impl Flooding {
    /// Starts sending out of an interface.
    pub(crate) fn start(namespace: &Namespace, interface: &'static str, flood: &Flood) -> Result<Self> {
        let config = flood.template.config(flood)?;
        let mut loader = EbpfLoader::new();
        loader.override_global("FLOOD", &config, true).map_max_entries("BUCKETS", 1);
        let mut ebpf = load(&mut loader)?;
        xdp(&mut ebpf, "flood")?;
        let stop = Array::try_from(ebpf.take_map("STOP").context("the object has no map STOP")?)?;
        let ebpf = Arc::new(ebpf);
        let stopping = Arc::new(AtomicBool::new(false));
        let generator =
            Generator { ebpf: Arc::clone(&ebpf), stopping: Arc::clone(&stopping), flood: flood.clone() };
        let inside = namespace.handle()?;
        let thread = thread::Builder::new()
            .name("flood".to_owned())
            .spawn(move || generator.run(&inside, interface))
            .context("cannot start the generator's thread")?;
        Ok(Self { stop, stopping, ebpf, thread: Some(thread) })
    }

    /// Frames sent so far.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn sent(&self) -> Result<u64> {
        sent(&self.ebpf)
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end that the flood was given.
    ///
    /// # Errors
    /// Where the kernel refused to send.
    pub fn wait(mut self) -> Result<FloodReport> {
        self.join()
    }

    /// Ends it now.
    ///
    /// # Errors
    /// Where the kernel refused to send.
    pub fn stop(mut self) -> Result<FloodReport> {
        self.halt();
        self.join()
    }

    fn halt(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Without it the call that is under way takes its time, and ends all the same.
        let _ = self.stop.set(0, STOPPED, 0);
    }

    fn join(&mut self) -> Result<FloodReport> {
        let thread = self.thread.take().context("the flood has ended before")?;
        thread.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.halt();
            let _ = self.join();
        }
    }
}

/// Any value but zero.
const STOPPED: u32 = 1;
