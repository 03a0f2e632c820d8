//! What laws and the fuzzer share: frames to start from, mutations, and a policy that has something of everything.

mod mutate;
mod watched;

use std::time::Duration;

use gateway_common::{abi::listing, limit::rate::Dimension, verdict::Verdict};
use gateway_user::host::{Cpu, HostEnv, Stand};

use crate::cases::{self, Draft, Offer, START, limit};

pub use mutate::mutate;
pub use watched::Watched;

/// Every frame of the table of cases, each once.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> =
        cases::all().into_iter().flat_map(|case| case.steps).map(|step| step.frame).collect();
    frames.sort_unstable();
    frames.dedup();
    frames
}

/// Limits in every dimension and scope, lists of both families, live entries, gated services.
#[must_use]
pub fn rich_stand() -> Stand {
    let mut stand = Stand::new();
    for (place, dimension) in Dimension::OF_SOURCES.into_iter().enumerate() {
        let burst = if dimension == Dimension::Bytes { 20_000 } else { 20 + place as u64 };
        stand = stand
            .each(dimension, limit(dimension, 1_000, burst))
            .neighbours(dimension, limit(dimension, 4_000, burst * 3));
    }
    let second = cases::instants(Duration::from_secs(1));
    stand
        .class(1, Dimension::Udp, limit(Dimension::Udp, 10, 10))
        .list("203.0.113.0/24", listing::BLOCK, 0)
        .list("2001:db8:bad::/48", listing::BLOCK, 0)
        .list("192.0.2.128/25", 0, 1)
        .list("192.0.2.77/32", listing::ALLOW, 0)
        .live("192.0.2.66/32", 0, START + second)
        .live("2001:db8::66/128", START + second, 0)
        .serve(Offer::tls(443).total(Dimension::Syn, limit(Dimension::Syn, 10_000, 10_000)))
        .serve(
            Offer::quic(443)
                .own(Dimension::Initial, limit(Dimension::Initial, 200, 200))
                .total(Dimension::Migration, limit(Dimension::Migration, 500, 500)),
        )
        .serve(Offer::udp(53).own(Dimension::Udp, limit(Dimension::Udp, 100, 100)))
        .local(cases::SERVER)
        .local(cases::SERVER_V6)
}

/// A service on TCP port 443 whose first messages are read: a PROXY header, a version, a name.
#[must_use]
pub fn reading_stand() -> Stand {
    Stand::new().serve(Offer::tls(443).proxied().min_minor(3).named(&["api.example.org", ".example.com"]))
}

/// Judges a frame through [`Watched`], so that a read outside of it ends the test.
pub fn judge_watched(env: &HostEnv, frame: &[u8], now: u64) -> Verdict {
    env.set_now(now);
    env.judge_frame(&Watched::new(frame), &mut Cpu::default())
}
