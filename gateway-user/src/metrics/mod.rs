//! The metrics endpoint: `GET /metrics` for Prometheus, `/healthz` and `/readyz` for whoever watches the process.
//!
//! Nothing is counted here: each request asks the daemon's main task for a [`Snapshot`] through a channel and renders it.
//! A connection carries one request and lives at most [`LIFETIME`], so neither slow nor idle clients can hold the
//! [`CONNECTIONS`] that are served at once.

mod listener;
mod page;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::model::document::{
    ConnectionRow, Escalated, InterfaceRow, ResetRow, ServiceRow, TableRow, TrafficRow,
};

pub use page::render;

/// Connections served at once; for further ones those go that say nothing.
pub const CONNECTIONS: usize = 16;
/// The longest life of a connection: Prometheus gives up on a scrape after 10 s by default.
pub const LIFETIME: Duration = Duration::from_secs(10);
/// How long the daemon may take for a snapshot.
const ANSWER: Duration = Duration::from_secs(5);

/// Everything that the page tells, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the daemon.
    pub version: String,
    /// Version of the layout shared with the kernel.
    pub abi: u32,
    /// Interfaces.
    pub interfaces: Vec<InterfaceRow>,
    /// Traffic: every (interface, verdict, reason) that can occur, zeros included, each once.
    pub traffic: Vec<TrafficRow>,
    /// Services: every (service, verdict, reason) that can occur, zeros included, each once.
    pub services: Vec<ServiceRow>,
    /// Tables.
    pub tables: Vec<TableRow>,
    /// Bans in force by origin: every origin that can occur, zeros included, each once.
    pub bans: Vec<(String, u64)>,
    /// What became of bans, by origin and what: every pair that can occur, zeros included, each once.
    pub ban_changes: Vec<(String, &'static str, u64)>,
    /// The mode in force, and all modes.
    pub modes: Vec<(String, bool)>,
    /// Floods by service, or nothing, and reason: how many have begun, and whether one is under way; each pair once.
    pub floods: Vec<(String, String, u64, bool)>,
    /// Rows of the record.
    pub record_rows: u64,
    /// For how many seconds the oldest row waits that the record has not yet.
    pub record_lag: u64,
    /// Rows that were lost.
    pub record_lost: u64,
    /// Neighbourhoods whose sources share one budget.
    pub escalated: Escalated,
    /// Connections that were refused and therefore reset, by service.
    pub refused_reset: Vec<ResetRow>,
    /// Connections of services that are counted or have their time.
    pub connections: Vec<ConnectionRow>,
    /// Whether the program asks this host's sockets.
    pub asks_sockets: bool,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Reloads that were applied, the start not counted.
    pub reloads_ok: u64,
    /// Reloads that were refused.
    pub reloads_failed: u64,
    /// When the policy in force was applied, in seconds since the Unix epoch; the start counts.
    pub last_reload_at: u64,
}

/// Whether the gateway holds its policy on every interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is attached, and a policy is in force (in monitor mode too).
    Ready,
    /// It does not, and this is why, in a few words.
    NotReady(String),
}

/// What the endpoint asks the daemon's main task, with where the answer goes.
#[derive(Debug)]
pub enum Scrape {
    /// All numbers. Costs a reading of every counter.
    Page(oneshot::Sender<Snapshot>),
    /// Whether it is ready. To be answered at once.
    Health(oneshot::Sender<Readiness>),
}

/// Listens on the configured address.
///
/// # Errors
/// When the address cannot be had; the message names it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen on {address} for metrics: {error}; set another metrics.listen");
        io::Error::new(error.kind(), message)
    })
}

/// Serves until the future is dropped.
///
/// # Errors
/// When the listener has no address any more.
pub async fn serve(listener: TcpListener, scrapes: mpsc::Sender<Scrape>) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .fallback(|| async { answer(StatusCode::NOT_FOUND, "see /metrics, /healthz and /readyz\n".into()) })
        .with_state(scrapes);
    // A page on another name that resolves to this host is not to read it: a browser here would let it (DNS rebinding).
    let router = if listener.local_addr()?.ip().is_loopback() {
        router.layer(axum::middleware::from_fn(only_for_this_host))
    } else {
        router
    };
    axum::serve(listener::Bounded::new(listener, CONNECTIONS, LIFETIME), router).await
}

/// Refuses requests to another name than this host's address or `localhost`.
async fn only_for_this_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let is_here = host.is_none_or(|host| {
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let name = name.map_or(host, |(name, _)| name);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
    });
    if is_here {
        return next.run(request).await;
    }
    answer(StatusCode::MISDIRECTED_REQUEST, "ask by this host's address, or as localhost\n".into())
}

async fn metrics(State(scrapes): State<mpsc::Sender<Scrape>>) -> Response {
    let Some(snapshot) = ask(&scrapes, Scrape::Page).await else {
        return no_answer();
    };
    match render(&snapshot) {
        Ok(page) => (CLOSE, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn health(State(scrapes): State<mpsc::Sender<Scrape>>) -> Response {
    match ask(&scrapes, Scrape::Health).await {
        Some(_) => answer(StatusCode::OK, "ok\n".into()),
        None => no_answer(),
    }
}

async fn ready(State(scrapes): State<mpsc::Sender<Scrape>>) -> Response {
    match ask(&scrapes, Scrape::Health).await {
        Some(Readiness::Ready) => answer(StatusCode::OK, "ready\n".into()),
        Some(Readiness::NotReady(why)) => {
            answer(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
        }
        None => no_answer(),
    }
}

/// One request a connection.
const CLOSE: [(HeaderName, &str); 1] = [(header::CONNECTION, "close")];

fn answer(status: StatusCode, text: String) -> Response {
    (status, CLOSE, text).into_response()
}

fn no_answer() -> Response {
    answer(StatusCode::SERVICE_UNAVAILABLE, "the gateway does not answer\n".into())
}

async fn ask<T>(
    scrapes: &mpsc::Sender<Scrape>,
    question: impl FnOnce(oneshot::Sender<T>) -> Scrape,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        scrapes.send(question(sender)).await.ok()?;
        receiver.await.ok()
    };
    timeout(ANSWER, asked).await.ok().flatten()
}
