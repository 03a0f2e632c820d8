//! The configuration: one TOML file, all of whose problems are reported at once.
//!
//! [`Config::load`] and [`Config::parse`] give either a configuration that later code need not check again, or a
//! [`Report`] with every error's file, line and column, the line with a caret, and what would be right. serde stops at
//! the first error and knows no places across tables, so [`reader`] walks over the spanned tables of the `toml` crate;
//! [`sections`] and [`services`] say what belongs there, [`check`] what must fit together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod check;
mod connections;
mod difference;
mod feed;
mod file;
mod guard;
mod limits;
mod lists;
mod policy;
mod problem;
mod reader;
mod reflection;
mod requirements;
mod sanity;
mod sections;
mod services;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

pub use difference::differences;
pub use guard::Guard;
pub use policy::{
    Ban, Class, Connections, FinerNetwork, Limits, Lists, Neighbours, Protocol, Refuse, Require, Service,
    SynCookies, TlsVersion,
};
pub use problem::{Location, Problem, Related, Report, Severity};
pub use reflection::{DropUnasked, Reflection};
pub use sanity::{ReservedSources, Sanity};

use crate::{
    model::{
        CheckpointTo, Mode,
        keyword::{Keyword, keywords},
        wrong::Wrong,
    },
    record::Sources,
};

/// Where the configuration is looked for unless another file is named.
pub const DEFAULT_PATH: &str = "/etc/gateway/gateway.toml";

/// A valid configuration. The default is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What verdicts do.
    pub mode: Mode,
    /// Where and how the program is attached.
    pub attach: Attach,
    /// Limits of each source.
    pub limits: Limits,
    /// Limits of each neighbourhood of sources.
    pub neighbours: Neighbours,
    /// Sources with other limits, at most 63, in the order of the file.
    pub classes: Vec<Class>,
    /// Services, at most 63, in the order of the file.
    pub services: Vec<Service>,
    /// Sources allowed and blocked.
    pub lists: Lists,
    /// What nobody here asked for.
    pub reflection: Reflection,
    /// Which sources are impossible.
    pub sanity: Sanity,
    /// Automatic bans, if any.
    pub ban: Option<Ban>,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// The control socket.
    pub control: Control,
    /// The audit record.
    pub audit: Audit,
    /// Bounds of what origins may claim, by their names.
    pub guards: BTreeMap<String, Guard>,
    /// What the file's author should know, though the file is valid.
    pub warnings: Report,
}

impl Config {
    /// Reads a configuration from text; `name` stands in the report as the file's name.
    ///
    /// Reads the prefix lists that the text names.
    ///
    /// # Errors
    /// Every error that the text and its prefix lists have, and the warnings.
    pub fn parse(name: &str, text: &str) -> Result<Self, Report> {
        sections::parse(name, text, FromOutside::Needed)
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// As [`Config::parse`], and where the file cannot be read or is no UTF-8.
    pub fn load(path: &Path) -> Result<Self, Report> {
        Self::load_with(path, FromOutside::Needed)
    }

    /// The same; what becomes of prefix lists that cannot be read is the caller's to say.
    ///
    /// # Errors
    /// As [`Config::load`], but for lists that can be left out.
    pub fn load_with(path: &Path, lists: FromOutside) -> Result<Self, Report> {
        Self::of_text(path, file::read(path), lists)
    }

    /// The same of a pipe too, or of standard input by the name `-`: for somebody who waits, and not for a start.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_stream(path: &Path) -> Result<Self, Report> {
        Self::of_text(path, file::read_stream(path), FromOutside::Needed)
    }

    fn of_text(path: &Path, text: Result<String, Wrong>, lists: FromOutside) -> Result<Self, Report> {
        let name = path.display().to_string();
        let text = text.map_err(|wrong| Report {
            problems: vec![Problem {
                place: Location::file(&name),
                severity: Severity::Error,
                message: wrong.message,
                help: wrong.help,
                related: None,
            }],
        })?;
        sections::parse(&name, &text, lists)
    }

    /// The bounds of what an origin may claim.
    pub fn guard(&self, origin: &str) -> Guard {
        self.guards.get(origin).or_else(|| self.guards.get(guard::DEFAULT)).cloned().unwrap_or_default()
    }

    /// The services that require TLS.
    pub fn gated(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.require == Require::Tls)
    }
}

/// What becomes of a prefix list that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromOutside {
    /// The configuration is wrong without it.
    Needed,
    /// It is left out, with a warning: at a start, since a host without one list is better off than one without protection.
    LeftOut,
}

keywords! {
    /// Where in the receive path the program runs.
    #[derive(Default)]
    Driver {
        /// In the driver, else generic with a warning.
        #[default]
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// After the kernel has allocated a socket buffer.
        Generic = "generic",
    }
}

keywords! {
    /// What becomes of the program on SIGINT or SIGTERM.
    #[derive(Default)]
    OnExit {
        /// It is taken off.
        #[default]
        Detach = "detach",
        /// It stays and goes on protecting.
        Keep = "keep",
    }
}

/// Where and how the program is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attach {
    /// Names of network interfaces, each once; whether they exist is not checked.
    pub interfaces: Vec<String>,
    /// Where in the receive path.
    pub driver: Driver,
    /// What happens at the end.
    pub on_exit: OnExit,
    /// Whether the daemon sets what SYN cookies need, while they are needed: net.ipv4.tcp_syncookies and net.ipv4.tcp_timestamps to 2.
    pub set_sysctls: bool,
    /// What describes this kernel's types where /sys/kernel/btf/vmlinux is not to be had; whether it exists is not checked.
    pub btf: Option<PathBuf>,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)) }
    }
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its absolute path, short enough for `sun_path`.
    pub socket: PathBuf,
    /// The group whose members may look and change; empty: root alone. Whether it exists is not checked.
    pub group: String,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/gateway/control.sock"), group: String::new() }
    }
}

/// The audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The database's absolute path.
    pub database: PathBuf,
    /// How long entries are kept, at least 365 days.
    pub retention: Duration,
    /// How exactly sources are kept.
    pub sources: Sources,
    /// Where checkpoints go besides the log.
    pub checkpoint: Option<CheckpointTo>,
    /// Bytes above which the record tells less of what is still to come.
    pub max_size: u64,
}

impl Keyword for Sources {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("full", Self::Full), ("subnet", Self::Subnet)];
}

/// The shortest time that the audit record must be kept.
pub(crate) const RETENTION_MIN: Duration = Duration::from_secs(365 * 86_400);

impl Default for Audit {
    fn default() -> Self {
        Self {
            database: PathBuf::from("/var/lib/gateway/audit.db"),
            retention: RETENTION_MIN,
            sources: Sources::Full,
            checkpoint: None,
            max_size: 8 << 30,
        }
    }
}
