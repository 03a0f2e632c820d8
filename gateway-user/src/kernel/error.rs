//! What can go wrong with the kernel, each with what to do next. The messages tell their causes themselves, so none has a
//! `source`, which would be told twice.

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};
use thiserror::Error;

/// An error from loading, attaching or talking to the kernel program.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The binary holds no eBPF object.
    #[error(
        "this binary was built without the eBPF object; build it with `cargo xtask ebpf`, then build the gateway again"
    )]
    NoObject,
    /// The object could not be loaded.
    #[error(
        "cannot load the eBPF object: {0}; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and see `gateway doctor`"
    )]
    Load(Box<EbpfError>),
    /// The verifier or the kernel refused the program.
    #[error("the kernel refused the program: {0}; see `gateway doctor` for what this kernel lacks")]
    Program(ProgramError),
    /// A map that the object should have is not there.
    #[error(
        "the eBPF object has no map `{0}`; object and binary are of different builds: build both with `cargo xtask run`"
    )]
    NoMap(&'static str),
    /// The program's log cannot be read.
    #[error("cannot read the program's log: {0}")]
    Log(String),
    /// A map operation failed.
    #[error("map operation failed: {0}")]
    Map(MapError),
    /// Pinning failed.
    #[error("cannot pin below {path}: {cause}; mount bpffs with `mount -t bpf bpf /sys/fs/bpf`")]
    Pin {
        /// Where.
        path: String,
        /// Why.
        cause: PinError,
    },
    /// The pin directory cannot be made or read.
    #[error(
        "cannot use {path}: {cause}; mount bpffs with `mount -t bpf bpf /sys/fs/bpf` (`ip netns exec` hides it, `nsenter --net` does not), and run as root"
    )]
    PinDirectory {
        /// Where.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// No room for another ban.
    #[error(
        "there is no room for another ban; take some away with `gateway block del`, or list prefixes in lists.block"
    )]
    BansFull,
    /// No room for so many prefixes.
    #[error("there is no room for so many IPv4 prefixes; join neighbouring ones, or leave some out")]
    PrefixesFull,
    /// What only tests may ask for.
    #[error("this kernel program was not loaded for testing")]
    NotTesting,
    /// A link operation failed.
    #[error("cannot attach: {0}")]
    Link(LinkError),
    /// A program that is not ours is on the interface.
    #[error(
        "{interface} already has an XDP program; take it off with `ip link set dev {interface} xdp off`, or run with --replace"
    )]
    Foreign {
        /// The interface.
        interface: String,
    },
    /// The driver cannot do native XDP as the interface stands.
    #[error(
        "{interface} takes no native XDP program: {reason}; see `gateway doctor {interface}`, or set `driver = \"generic\"`"
    )]
    Native {
        /// The interface.
        interface: String,
        /// The kernel's word.
        reason: String,
    },
    /// The attached link cannot be kept over the end of this process.
    #[error(
        "{interface}: the kernel attached without a BPF link, which nothing could hold after the daemon's end; Linux 5.9 or later is needed"
    )]
    NoLink {
        /// The interface.
        interface: String,
    },
    /// A table cannot be mapped.
    #[error("cannot map table `{table}`: {cause}")]
    Mmap {
        /// The table.
        table: &'static str,
        /// Why.
        cause: std::io::Error,
    },
}

impl From<EbpfError> for KernelError {
    fn from(error: EbpfError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<ProgramError> for KernelError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl From<MapError> for KernelError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<LinkError> for KernelError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}
