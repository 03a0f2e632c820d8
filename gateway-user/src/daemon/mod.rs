//! `gateway run`: load, attach, serve, end.
//!
//! One task owns all state ([`state::Gateway`]) and takes requests, scrapes, signals and the next expiry one by one;
//! sockets are other tasks that ask it through channels.

mod answer;
mod bans;
mod commit;
mod connections;
mod cookies;
mod drops;
mod endpoints;
mod escalation;
mod events;
mod expiry;
mod guards;
mod interfaces;
mod lifecycle;
mod lists;
mod lockout;
mod own;
mod part;
mod reload;
mod report;
mod state;
pub mod trial;

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::libc::SIGXFSZ;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    bans::strikes::POLL,
    config::{Config, FromOutside, Report},
    control::{
        protocol::{Done, Reply},
        server::Call,
    },
    escalation::LOOK,
    live,
    metrics::Scrape,
};

pub use part::options::Options;

use answer::Answer;
use endpoints::Endpoints;
use part::service_manager;
use state::Gateway;

/// Why a run did not begin, or ended.
#[derive(Debug)]
pub enum RunError {
    /// The configuration is wrong.
    Configuration(Report),
    /// Something else.
    Failed(anyhow::Error),
}

/// Runs until it is told to end.
///
/// # Errors
/// When the configuration is wrong, or something fails without which nothing is protected.
pub fn run(options: Options) -> Result<(), RunError> {
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).parse_default_env().init();
    let config = options.load(FromOutside::LeftOut).map_err(RunError::Configuration)?;
    for problem in &config.warnings.problems {
        log::warn!("{problem}");
    }
    part::open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Failed(anyhow::anyhow!("cannot start: {error}")))?;
    runtime.block_on(serve(config, options)).map_err(RunError::Failed)
}

async fn serve(config: Config, options: Options) -> Result<()> {
    // Held, so that a file that may not grow is an error like a full disk, and does not end the process (setrlimit(2), RLIMIT_FSIZE).
    let _too_long = signal(SignalKind::from_raw(SIGXFSZ))?;
    anyhow::ensure!(
        !config.attach.interfaces.is_empty(),
        "no interface to protect; name one with --interface, or in attach.interfaces of {}",
        options.config.display()
    );
    let (mut endpoints, mut asked) = Endpoints::new(&config);
    let closed = endpoints.open().await?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut gateway = Gateway::start(config, options)?;
    gateway.tell_closed(closed);
    let follow = tokio::spawn(follow_log(gateway.log()?));

    log::info!("{}", gateway.greeting());
    service_manager::ready(&gateway.greeting());
    let mut strikes = interval(POLL);
    strikes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pressure = interval(LOOK);
    pressure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples = interval(SAMPLES_EVERY);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(HOST_EVERY);
    let mut surge = interval(SURGE_EVERY);
    surge.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settle = None;
    let keep = loop {
        let expiry = gateway.next_expiry().map(|at| at.saturating_sub(live::now()));
        let wake = Instant::now() + Duration::from_secs(expiry.unwrap_or(3_600).min(3_600));
        // Once for each change, or requests without end would put it off.
        settle = gateway.is_unsettled().then(|| settle.unwrap_or_else(|| Instant::now() + SETTLE_AFTER));
        // In this order: nobody's questions hold up what is to be done in time, and those of others not root's.
        tokio::select! {
            biased;
            _ = terminate.recv() => break gateway.keeps(),
            _ = interrupt.recv() => break gateway.keeps(),
            _ = strikes.tick(), if gateway.counts_strikes() => gateway.judge_strikes(),
            _ = pressure.tick() => {
                gateway.follow_clock();
                gateway.follow_interfaces();
                gateway.follow_own();
                gateway.look_at_drops();
                service_manager::alive();
                if !gateway.closed.is_empty() {
                    // Another gateway took the socket meanwhile: its word holds.
                    gateway.tell_closed(endpoints.open().await.unwrap_or_else(|error| vec![error.to_string()]));
                }
            }
            () = sleep_until(wake) => gateway.expire(),
            _ = look.tick() => {
                gateway.follow_host();
            }
            _ = samples.tick() => gateway.take_samples(),
            _ = surge.tick(), if gateway.follows_surges() => gateway.follow_surge(),
            () = sleep_until(settle.unwrap_or(wake)), if settle.is_some() => gateway.settle(),
            Some(call) = asked.of_root.recv() => {
                if let Some(keep) = answer(&mut gateway, call) {
                    break keep;
                }
            }
            _ = hangup.recv() => gateway.reload_on_signal(),
            Some(scrape) = asked.scrapes.recv() => answer_scrape(&gateway, scrape),
            Some(call) = asked.calls.recv() => {
                if let Some(keep) = answer(&mut gateway, call) {
                    break keep;
                }
            }
        }
    };
    service_manager::stopping();
    gateway.end(keep).context("cannot take the program off")?;
    drop(asked);
    follow.abort();
    endpoints.close().await
}

/// Answers a request; whether the program stays, if the gateway is to end. A change is answered once it is on the disk, or
/// it is clear that it is not yet: other requests go on meanwhile.
fn answer(gateway: &mut Gateway, call: Call) -> Option<bool> {
    let Answer { mut reply, written, stop } = gateway.answer(&call.request, call.user, call.caller);
    let Some(written) = written else {
        // The one who asked may have gone.
        let _ = call.reply.send(reply);
        return stop;
    };
    tokio::spawn(async move {
        let is_written = matches!(timeout(WRITTEN_WITHIN, written).await, Ok(Ok(true)));
        if let Reply::Done(Done::Changed(changed)) = &mut reply {
            changed.durable = is_written;
        }
        let _ = call.reply.send(reply);
    });
    stop
}

fn answer_scrape(gateway: &Gateway, scrape: Scrape) {
    // Whoever asked may have gone.
    let _ = match scrape {
        Scrape::Page(reply) => match gateway.snapshot() {
            Ok(snapshot) => reply.send(snapshot).is_ok(),
            Err(error) => {
                log::error!("cannot read counters: {error}");
                false
            }
        },
        Scrape::Health(reply) => reply.send(gateway.readiness()).is_ok(),
    };
}

/// How often this host's addresses and settings are looked at: a lease or a privacy address of IPv6 changes within hours.
const HOST_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether a SYN flood begins: until then the service's SYN budget holds it.
const SURGE_EVERY: Duration = Duration::from_millis(250);
/// How often samples of drops are read: for a person who looks it is at once.
const SAMPLES_EVERY: Duration = Duration::from_millis(250);
/// How long the answer to a change waits for the disk.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// After a change the answer to it goes first.
const SETTLE_AFTER: Duration = Duration::from_millis(1);
/// How often the program's log is looked at: it is for people who wait for a line.
const LOG_EVERY: Duration = Duration::from_millis(200);

/// Prints what the program logs.
async fn follow_log(log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>) {
    let Some(mut log) = log else { return };
    let mut tick = interval(LOG_EVERY);
    loop {
        tick.tick().await;
        log.flush();
    }
}
