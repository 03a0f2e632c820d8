//! The lab's BPF programs: loading and attaching them, and reading what they counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::maps::PerCpuArray;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use nix::unistd::Pid;

use super::config;
use super::namespace::{Namespace, output};
use super::process::pin;

/// Frames, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes of the frames; for [`Category::Tls`] of the data.
    pub bytes: u64,
}

/// A program that the lab puts on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Lets everything through.
    Pass,
    /// Drops everything: the least that a filter can cost.
    Drop,
    /// Drops what comes from [`super::FLOOD_V4`] and [`super::FLOOD_V6`]'s networks: the best that a filter could do.
    DropFlood,
    /// Drops what goes to them: what the attacker's end has where nobody is to answer for forged addresses.
    DropAnswers,
    /// Counts, and lets everything through.
    CountPass,
    /// Counts, and drops everything.
    CountDrop,
    /// Asks the listener of a SYN for a cookie, and drops the SYN.
    CookieHelpers,
    /// Looks sources up in an LPM trie of the prefixes of [`Attached::list`], and drops everything.
    Trie,
    /// A token bucket for each IPv4 source in an LRU hash map of a million entries.
    Textbook {
        /// Packets per second and source.
        rate: u64,
        /// Packets that may come at once.
        burst: u64,
    },
}

impl Program {
    /// Its name in the object.
    const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::DropFlood => "drop_flood",
            Self::DropAnswers => "drop_answers",
            Self::CountPass => "count_pass",
            Self::CountDrop => "count_drop",
            Self::CookieHelpers => "cookie_helpers",
            Self::Trie => "trie",
            Self::Textbook { .. } => "textbook",
        }
    }
}

/// What [`Program::CountPass`] and [`Program::CountDrop`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Category {
    /// All frames.
    All = config::ALL,
    /// IPv4.
    Ipv4 = config::IPV4,
    /// IPv6.
    Ipv6 = config::IPV6,
    /// TCP segments.
    Tcp = config::TCP,
    /// UDP datagrams.
    Udp = config::UDP,
    /// ICMP and ICMPv6 messages.
    Icmp = config::ICMP,
    /// TCP segments to port 443 that carry data; bytes are those of the data.
    Tls = config::TLS,
    /// Frames from the networks that floods come from.
    Flood = config::FLOOD,
}

impl Category {
    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        config::CATEGORIES[self as usize]
    }
}

/// A program on one or more interfaces; dropping it takes it off.
pub struct Attached {
    ebpf: Ebpf,
}

impl Attached {
    /// Loads a program and attaches it in native mode.
    ///
    /// # Errors
    /// Where it cannot be loaded, or an interface is missing or has a program already.
    pub fn new(namespace: &Namespace, program: Program, interfaces: &[&str]) -> Result<Self> {
        Self::with(namespace, program, interfaces, XdpMode::Driver)
    }

    /// The same in generic mode.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn generic(namespace: &Namespace, program: Program, interfaces: &[&str]) -> Result<Self> {
        Self::with(namespace, program, interfaces, XdpMode::Skb)
    }

    fn with(namespace: &Namespace, program: Program, interfaces: &[&str], mode: XdpMode) -> Result<Self> {
        let textbook = match program {
            Program::Textbook { rate, burst } => Some(config::Textbook { rate, burst }),
            _ => None,
        };
        let mut loader = EbpfLoader::new();
        match &textbook {
            Some(textbook) => loader.override_global("TEXTBOOK", textbook, true),
            // The table of the textbook's bucket is large: only it shall pay for it.
            None => loader.map_max_entries("BUCKETS", 1),
        };
        let mut ebpf = load(&mut loader)?;
        let xdp = xdp(&mut ebpf, program.name())?;
        for interface in interfaces {
            namespace
                .enter(|| xdp.attach(interface, mode))?
                .with_context(|| format!("cannot attach `{}` to {interface}", program.name()))?;
        }
        Ok(Self { ebpf })
    }

    /// Puts prefixes into the trie of [`Program::Trie`].
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn list(&mut self, prefixes: &[([u8; 4], u8)]) -> Result<()> {
        let map = self.ebpf.map_mut("TRIE").context("the object has no map TRIE")?;
        let mut trie = LpmTrie::<_, [u8; 4], u64>::try_from(map)?;
        for &(address, length) in prefixes {
            trie.insert(&Key::new(u32::from(length), address), 1, 0)?;
        }
        Ok(())
    }

    /// What was counted, on all CPUs together. Only the counting programs count.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn count(&self, category: Category) -> Result<Count> {
        let map = self.ebpf.map("COUNTS").context("the object has no map COUNTS")?;
        let counts = PerCpuArray::<_, config::Count>::try_from(map)?.get(&(category as u32), 0)?;
        Ok(counts.iter().fold(Count::default(), |sum, count| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        }))
    }
}

/// Where the object is: what `GATEWAY_LAB_OBJECT` names, or where `cargo xtask ebpf` puts it.
pub(crate) fn object_path() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/lab.bpf.o");
    std::env::var_os("GATEWAY_LAB_OBJECT").map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// Loads the object's maps.
pub(crate) fn load(loader: &mut EbpfLoader<'_>) -> Result<Ebpf> {
    let path = object_path();
    let object = fs::read(&path)
        .with_context(|| format!("cannot read {}: `cargo xtask ebpf` builds it", path.display()))?;
    loader.load(&object).with_context(|| format!("cannot load {}", path.display()))
}

/// Hands a program of the object to the kernel.
pub(crate) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program `{name}`"))?;
    let program: &mut Xdp = program.try_into()?;
    program.load().with_context(|| format!("the kernel refuses `{name}`"))?;
    Ok(program)
}

/// Moves the receiving of an interface to kernel threads, and those to one CPU, where they go before all processes: as a card's
/// interrupt does, and unlike the threads by themselves.
pub(crate) fn receive_on(namespace: &Namespace, interface: &str, cpu: usize) -> Result<()> {
    // /sys shows the interfaces of the namespace that it was mounted in, so here `ip netns exec` is right.
    let write = format!("echo 1 > /sys/class/net/{interface}/threaded");
    output(Command::new("ip").args(["netns", "exec", namespace.name(), "sh", "-c", &write]))?;
    let wanted = format!("napi/{interface}-");
    for _ in 0..100 {
        let threads = kernel_threads(&wanted)?;
        for thread in &threads {
            pin(*thread, cpu)?;
            output(Command::new("chrt").args(["--fifo", "--pid", "1", &thread.to_string()]))?;
        }
        if !threads.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{interface} has no receiving thread: is a program attached to it in native mode?")
}

/// The threads whose names begin so.
fn kernel_threads(wanted: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        if fs::read_to_string(Path::new(&path).join("comm")).is_ok_and(|name| name.starts_with(wanted)) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
