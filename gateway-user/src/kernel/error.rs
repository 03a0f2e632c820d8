//! What can go wrong with the kernel, each with what to do next. The messages tell their causes themselves, so none has a
//! `source`, which would be told twice.

mod call;
#[cfg(test)]
mod tests;
mod verifier;

use aya::pin::PinError;
use thiserror::Error;

use super::btf::BtfError;

pub use call::{Failed, Refused};
pub(super) use call::{in_words, on};

/// An error from loading, attaching or talking to the kernel program.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The binary holds no eBPF object.
    #[error(
        "this binary was built without the eBPF object; build it with `cargo xtask ebpf`, then build the gateway again"
    )]
    NoObject,
    /// The object is not what the loader understands.
    #[error("cannot read the eBPF object: {0}; build object and binary together with `cargo xtask run`")]
    Object(String),
    /// A call of the kernel failed.
    #[error(transparent)]
    Call(Box<Failed>),
    /// The verifier or the kernel refused the program.
    #[error(transparent)]
    Program(Box<Refused>),
    /// A map that the object should have is not there.
    #[error(
        "the eBPF object has no map `{0}`; object and binary are of different builds: build both with `cargo xtask run`"
    )]
    NoMap(&'static str),
    /// The description of the kernel's types that was named is no good.
    #[error(
        "{0}; name another with --btf or attach.btf, or none: without one the gateway does not ask sockets"
    )]
    Btf(#[from] BtfError),
    /// The program's log cannot be read.
    #[error("cannot read the program's log: {0}")]
    Log(String),
    /// Pinning failed.
    #[error("cannot pin below {path}: {}; mount bpffs with `mount -t bpf bpf /sys/fs/bpf`", in_words(cause))]
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

impl From<Refused> for KernelError {
    fn from(refused: Refused) -> Self {
        Self::Program(Box::new(refused))
    }
}

impl KernelError {
    /// What is wrong, and apart from it what to do: all messages have that after the first semicolon.
    pub fn told(&self) -> (String, Option<String>) {
        if let Self::Program(refused) = self {
            return refused.told();
        }
        let text = self.to_string();
        match text.split_once("; ") {
            Some((found, remedy)) => (found.to_owned(), Some(remedy.to_owned())),
            None => (text, None),
        }
    }
}
