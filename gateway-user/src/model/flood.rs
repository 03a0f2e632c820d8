//! Many packets that are dropped for one reason.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Outcome, keyword::keywords};

keywords! {
    /// How far a flood is.
    Phase {
        /// It has begun.
        Begun = "begun",
        /// It goes on.
        GoesOn = "goes_on",
        /// It is over.
        Over = "over",
    }
}

/// Many packets that are dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// How far it is.
    pub phase: Phase,
    /// What happens to its packets.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// The service; nothing: none, or the reason is one of before services are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Since when: Unix milliseconds.
    pub since: u64,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far: of all packets with this reason, shared out by packets.
    pub bytes: u64,
    /// The most packets in a second.
    pub peak: u64,
    /// Where most of the sampled packets are from: an estimate.
    pub sources: Vec<Share>,
}

/// A source's share of a flood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The source.
    pub source: IpAddr,
    /// Its part of the samples, in percent.
    pub percent: u8,
}

/// `flood of limit_syn at api: over after 2m 5s, 44250 packets, 3 MB, at most 9800/s, from 192.0.2.9 (97 %)`.
impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flood of {}", self.reason)?;
        if let Some(service) = &self.service {
            write!(f, " at {service}")?;
        }
        if self.verdict == Outcome::WouldDrop {
            f.write_str(" (monitored, and passed)")?;
        }
        let lasted = humantime::format_duration(Duration::from_secs(self.seconds.max(1)));
        match self.phase {
            Phase::Begun => f.write_str(": begun")?,
            Phase::GoesOn => write!(f, ": goes on for {lasted}")?,
            Phase::Over => write!(f, ": over after {lasted}")?,
        }
        write!(f, ", {} packets, {} kB, at most {}/s", self.packets, self.bytes / 1_000, self.peak)?;
        for (place, share) in self.sources.iter().enumerate() {
            let before = if place == 0 { ", from about" } else { "," };
            write!(f, "{before} {} ({} %)", share.source, share.percent)?;
        }
        Ok(())
    }
}

/// One for tests.
#[cfg(test)]
pub(super) fn example() -> Flood {
    Flood {
        phase: Phase::Over,
        verdict: Outcome::Drop,
        reason: "limit_syn".to_owned(),
        service: Some("api".to_owned()),
        since: 1,
        seconds: 125,
        packets: 44_250,
        bytes: 2_655_000,
        peak: 9_800,
        sources: vec![Share { source: "192.0.2.9".parse().unwrap(), percent: 97 }],
    }
}

#[cfg(test)]
mod tests {
    use super::example;

    #[test]
    fn a_flood_is_a_sentence() {
        let text = example().to_string();
        assert_eq!(
            text,
            "flood of limit_syn at api: over after 2m 5s, 44250 packets, 2655 kB, at most 9800/s, from about 192.0.2.9 (97 %)"
        );
    }
}
