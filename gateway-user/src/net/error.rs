//! What can be wrong with an interface, and what to do about it.

use std::io;

use thiserror::Error;

/// Why an interface could not be looked at or changed.
#[derive(Debug, Error)]
pub enum NetError {
    /// There is none of this name.
    #[error("there is no interface `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The name there is that looks most like it.
        near: Option<String>,
        /// All names that there are.
        there: Vec<String>,
    },
    /// Netlink takes off only what came by netlink.
    #[error("the XDP program on interface {index} is held by a BPF link, which alone can take it off")]
    HeldByLink {
        /// The interface's number.
        index: u32,
    },
    /// It needs a capability.
    #[error("not permitted to change interface {index}")]
    Denied {
        /// The interface's number.
        index: u32,
    },
    /// The kernel has another reason.
    #[error("the kernel does not {action}: {source}{}", .said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default())]
    Refused {
        /// What it was asked to do.
        action: &'static str,
        /// Its error number.
        source: io::Error,
        /// Its reason in words.
        said: Option<String>,
    },
    /// No netlink socket.
    #[error("cannot talk to the kernel over netlink: {0}")]
    Socket(#[from] io::Error),
    /// The answer makes no sense.
    #[error("cannot read the kernel's answer about interfaces: {0}")]
    Answer(String),
}

/// How alike two names must be for one to be meant by the other, from 0 to 1: `eth1` and `eth0` are 0.75.
const ALIKE: f64 = 0.6;

impl NetError {
    /// An unknown interface, with the name that may have been meant.
    pub(super) fn unknown(name: &str, there: Vec<String>) -> Self {
        let alike = |other: &String| strsim::normalized_damerau_levenshtein(name, other);
        let near = there.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        let near = near.filter(|other| alike(other) >= ALIKE).cloned();
        Self::Unknown { name: name.to_owned(), near, there }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { near, there, .. } => {
                let near = near.as_ref().map(|near| format!("did you mean `{near}`? "));
                Some(format!("{}there are: {}", near.unwrap_or_default(), there.join(", ")))
            }
            Self::HeldByLink { index } => Some(format!(
                "end the program that attached it, or find the link with `bpftool link` (type xdp, ifindex {index}), \
                 then run `bpftool link detach id ID`, and remove its pin if it has one"
            )),
            Self::Denied { .. } => Some("run it as root, or with the capability CAP_NET_ADMIN".into()),
            Self::Socket(_) => Some(
                "in a systemd unit RestrictAddressFamilies must name AF_NETLINK; a container may forbid it too"
                    .into(),
            ),
            Self::Refused { .. } | Self::Answer(_) => None,
        }
    }
}
