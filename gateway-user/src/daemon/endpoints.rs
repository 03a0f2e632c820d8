//! The daemon's control socket and its metrics endpoint.
//!
//! Protection needs neither: what cannot be had at the start is told, and tried again.

use std::{io, net::SocketAddr};

use anyhow::Result;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    config::{Config, Control},
    control::server::{BindError, Call, Server},
    metrics::{self, Scrape},
};

/// Both, as far as they are there.
pub(super) struct Endpoints {
    config: Control,
    metrics_at: SocketAddr,
    of_root: mpsc::Sender<Call>,
    calls: mpsc::Sender<Call>,
    scrapes: mpsc::Sender<Scrape>,
    control: Option<JoinHandle<io::Result<()>>>,
    page: Option<JoinHandle<io::Result<()>>>,
}

/// What both hand on.
pub(super) struct Asked {
    /// Requests of root's, to be answered before all others.
    pub(super) of_root: mpsc::Receiver<Call>,
    /// Requests of other users.
    pub(super) calls: mpsc::Receiver<Call>,
    /// Of the metrics endpoint.
    pub(super) scrapes: mpsc::Receiver<Scrape>,
}

/// So many questions of a kind may wait.
const WAITING: usize = 16;

impl Endpoints {
    /// Neither, and what they will hand on.
    pub(super) fn new(config: &Config) -> (Self, Asked) {
        let (of_root, root_receiver) = mpsc::channel(WAITING);
        let (calls, call_receiver) = mpsc::channel(WAITING);
        let (scrapes, scrape_receiver) = mpsc::channel(WAITING);
        let (control, page) = (None, None);
        let (config, metrics_at) = (config.control.clone(), config.metrics.listen);
        let asked = Asked { of_root: root_receiver, calls: call_receiver, scrapes: scrape_receiver };
        (Self { config, metrics_at, of_root, calls, scrapes, control, page }, asked)
    }

    /// Opens what is not open; tells what cannot be.
    ///
    /// # Errors
    /// Where another gateway has the control socket: this one is not to do the same again.
    pub(super) async fn open(&mut self) -> Result<Vec<String>> {
        let mut closed = Vec::new();
        if self.control.is_none() {
            let group = Some(self.config.group.as_str()).filter(|group| !group.is_empty());
            match Server::bind(&self.config.socket, group) {
                Ok(server) => {
                    let server = server.with_root_apart(self.of_root.clone());
                    self.control = Some(tokio::spawn(server.serve(self.calls.clone())));
                }
                Err(error @ BindError::Taken(_)) => return Err(error.into()),
                Err(error) => closed.push(format!("no verb reaches this gateway: {error}")),
            }
        }
        if self.page.is_none() {
            match metrics::bind(self.metrics_at).await {
                Ok(listener) => {
                    self.page = Some(tokio::spawn(metrics::serve(listener, self.scrapes.clone())));
                }
                Err(error) => closed.push(format!("there are no metrics: {error}")),
            }
        }
        Ok(closed)
    }

    /// Closes both, once the receivers are dropped: answers under way reach their clients.
    ///
    /// # Errors
    /// Where the control socket has failed.
    pub(super) async fn close(self) -> Result<()> {
        if let Some(page) = self.page {
            page.abort();
        }
        if let Some(control) = self.control {
            control.await??;
        }
        Ok(())
    }
}
