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
    calls: mpsc::Sender<Call>,
    scrapes: mpsc::Sender<Scrape>,
    control: Option<JoinHandle<io::Result<()>>>,
    page: Option<JoinHandle<io::Result<()>>>,
}

impl Endpoints {
    /// Neither; what they will hand on comes through the receivers.
    pub(super) fn new(config: &Config) -> (Self, mpsc::Receiver<Call>, mpsc::Receiver<Scrape>) {
        let (calls, call_receiver) = mpsc::channel(16);
        let (scrapes, scrape_receiver) = mpsc::channel(16);
        let (control, page) = (None, None);
        let (config, metrics_at) = (config.control.clone(), config.metrics.listen);
        (Self { config, metrics_at, calls, scrapes, control, page }, call_receiver, scrape_receiver)
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
                Ok(server) => self.control = Some(tokio::spawn(server.serve(self.calls.clone()))),
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
