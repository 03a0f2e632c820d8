//! Connections as an attacker makes them, packet by packet, to a real server behind the gateway.
//!
//! Each [`Scenario`] is a script of segments made by hand. Whatever it does, what the application reads either starts with a
//! ClientHello or is nothing: [`law`] judges that and knows nothing of the gate. Scenarios of honest clients say in
//! addition what must have been read. Every scenario is played over IPv4 and IPv6 and under every [`Condition`].

mod batch;
mod closing;
mod first_bytes;
pub mod law;
mod multipath;
mod network;
mod opening;
mod order;
pub mod random;
mod refused;
mod stage;
mod table;
mod urgent;

use anyhow::Result;

use crate::builder::hello;
use crate::lab::ByHand;

pub use stage::{CONFIG, Condition, Played, Site, play};
pub use table::table;

/// What an application must have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Whatever is lawful.
    Lawful,
    /// All of this: the client is honest, and loses nothing.
    All(Vec<u8>),
}

type Script = dyn Fn(&mut ByHand<'_>, &Site<'_>) -> Result<Read> + Send + Sync;

/// What somebody sends.
pub struct Scenario {
    /// What it is about; unique.
    pub name: String,
    /// Where the law is best effort: [`Condition::Forwarded`], because the gate knows no more of such connections than the
    /// segments that it saw, or [`Condition::Multipath`], because it does not read what says where data belong.
    pub best_effort: Option<Condition>,
    /// Whether it can be played behind a PROXY header.
    can_be_proxied: bool,
    /// A part comes before what is ahead of it among the bytes that decide: it is dropped, and an honest client sends it again.
    overtakes: bool,
    script: Box<Script>,
}

impl Scenario {
    fn new(
        name: impl Into<String>,
        script: impl Fn(&mut ByHand<'_>, &Site<'_>) -> Result<Read> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            best_effort: None,
            can_be_proxied: false,
            overtakes: false,
            script: Box::new(script),
        }
    }

    /// The law is best effort in these circumstances.
    fn best_effort_when(self, condition: Condition) -> Self {
        Self { best_effort: Some(condition), ..self }
    }

    /// A connection on which parts of a stream are sent, each with its position, in this order.
    fn parts(name: impl Into<String>, parts: Vec<(i32, Vec<u8>)>, read: Read) -> Self {
        let mut reached = 0;
        let overtakes = parts.iter().any(|(position, bytes)| {
            let is_early = *position > reached && *position < DECIDING;
            if *position <= reached {
                reached = reached.max(position + bytes.len() as i32);
            }
            is_early
        });
        let script = move |tcp: &mut ByHand<'_>, _: &Site<'_>| {
            tcp.connect()?;
            for (position, bytes) in &parts {
                tcp.write(*position, bytes)?;
            }
            Ok(read.clone())
        };
        Self { can_be_proxied: true, overtakes, ..Self::new(name, script) }
    }
}

/// All scenarios.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let groups = [
        first_bytes::scenarios(),
        order::scenarios(),
        refused::scenarios(),
        opening::scenarios(),
        batch::scenarios(),
        closing::scenarios(),
        urgent::scenarios(),
        network::scenarios(),
        multipath::scenarios(),
    ];
    groups.into_iter().flatten().collect()
}

/// Bytes of a stream that decide whether it starts with a ClientHello: up to the version in it.
const DECIDING: i32 = 11;

/// What an attacker wants the application to read.
const PLAIN: &[u8] = b"GET /secret HTTP/1.1\r\nHost: api.example.org\r\n\r\n";

/// A whole ClientHello, and some bytes behind it.
fn honest() -> Vec<u8> {
    let mut stream = hello::tls12("api.example.org");
    // A record of encrypted data, as clients send it later.
    stream.extend([23, 3, 3, 0, 32]);
    stream.extend([0x5a; 32]);
    stream
}
