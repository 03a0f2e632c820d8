//! What a run is told from outside the configuration file.

use std::path::{Path, PathBuf};

use crate::{
    config::{Config, DEFAULT_PATH, Driver, FromOutside, OnExit, Report, Service},
    model::Mode,
};

/// What the command line says of a run. It goes before the configuration file.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Interfaces to protect; none: those of the file.
    pub interfaces: Vec<String>,
    /// Services; none: those of the file.
    pub services: Vec<Service>,
    /// The mode.
    pub mode: Option<Mode>,
    /// How to attach.
    pub driver: Option<Driver>,
    /// Whether another XDP program that is attached already is replaced.
    pub replace: bool,
    /// Whether what the program itself cannot do is logged.
    pub debug_log: bool,
    /// What SIGINT and SIGTERM leave behind.
    pub on_exit: Option<OnExit>,
    /// Sources tracked at once.
    pub sources: u32,
    /// What describes this kernel's types.
    pub btf: Option<PathBuf>,
    /// Where maps and attachments are pinned.
    pub pins: PathBuf,
}

impl Options {
    /// The configuration that they make with the file. Without a file at the default place, the defaults hold.
    pub(in crate::daemon) fn load(&self, lists: FromOutside) -> Result<Config, Report> {
        let mut config =
            if self.lack_file() { Config::default() } else { Config::load_with(&self.config, lists)? };
        if !self.interfaces.is_empty() {
            config.attach.interfaces.clone_from(&self.interfaces);
        }
        if !self.services.is_empty() {
            config.services.clone_from(&self.services);
        }
        if let Some(mode) = self.mode {
            config.mode = mode;
        }
        if let Some(socket) = &self.socket {
            config.control.socket.clone_from(socket);
        }
        if let Some(btf) = &self.btf {
            config.attach.btf = Some(btf.clone());
        }
        if let Some(driver) = self.driver {
            config.attach.driver = driver;
        }
        if let Some(on_exit) = self.on_exit {
            config.attach.on_exit = on_exit;
        }
        Ok(config)
    }

    /// Whether there is no file at the default place.
    pub(in crate::daemon) fn lack_file(&self) -> bool {
        self.config == Path::new(DEFAULT_PATH) && !self.config.exists()
    }
}
