//! One round: the same honest, plaintext and flood traffic, with the gateway or without.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use gateway_tests::lab::{
    Attached, Category, FLOOD_V4, Flood, Https, Interface, Lab, Nginx, Outcome, Pace, PlainListener, Program,
    SERVER_V4, Sources, Template,
};

use crate::gateway::Gateway;
use crate::plaintext::{self, REQUEST};

/// A second port of the gated service, behind which an application reads whatever comes.
const APPLICATION: u16 = 8443;
/// Honest requests a second.
const HONEST_RATE: u32 = 20;
/// Addresses that the second flood claims to come from: all of 198.18.0.0/15.
pub(crate) const FORGED: u32 = 1 << 17;

/// How much traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Honest requests in each part.
    pub(crate) honest: u32,
    /// Plaintext requests to each of the two ports.
    pub(crate) plaintext: usize,
    /// Frames of a flood in a second.
    pub(crate) flood_rate: u64,
}

/// What stands between the network and the server.
pub(crate) enum Guard {
    /// A program that counts what it lets through: everything.
    Nothing(Attached),
    /// The gateway.
    Gateway(Box<Gateway>),
}

impl Guard {
    /// Nothing but a counter.
    pub(crate) fn nothing(lab: &Lab) -> Result<Self> {
        Ok(Self::Nothing(lab.attach(Program::CountPass)?))
    }

    /// Frames from the attacker's cable that went on to the server so far.
    fn passed(&self, lab: &Lab) -> Result<u64> {
        match self {
            Self::Nothing(counter) => Ok(counter.count(Category::Flood)?.packets),
            Self::Gateway(gateway) => gateway.passed(lab.attack_side()),
        }
    }
}

/// What became of plaintext.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plaintext {
    /// Requests to nginx.
    pub(crate) sent: usize,
    /// Those of them that it answered.
    pub(crate) answered: usize,
    /// Bytes sent to the application on the other port.
    pub(crate) bytes_sent: u64,
    /// Bytes that it read.
    pub(crate) bytes_read: u64,
}

/// What became of a flood, and of honest requests beside it.
#[derive(Clone, Debug)]
pub(crate) struct Flooded {
    /// Frames sent.
    pub(crate) sent: u64,
    /// Frames that went on to the server.
    pub(crate) reached: u64,
    /// Frames that the server sent in answer, to whoever has these addresses.
    pub(crate) answers: u64,
    /// The requests.
    pub(crate) honest: Outcome,
}

/// What a round came to.
pub(crate) struct Round {
    /// Honest requests, and nothing else.
    pub(crate) at_rest: Outcome,
    /// HTTP without TLS.
    pub(crate) plaintext: Plaintext,
    /// A UDP flood from one address.
    pub(crate) one_source: Flooded,
    /// A SYN flood from many.
    pub(crate) forged: Flooded,
}

/// The things that a round needs.
pub(crate) struct Scene<'a> {
    /// The network.
    pub(crate) lab: &'a Lab,
    /// The server.
    pub(crate) nginx: &'a Nginx,
    /// What stands before it.
    pub(crate) guard: &'a Guard,
    /// How much traffic.
    pub(crate) load: Load,
    /// When the demo began.
    pub(crate) began: Instant,
}

impl Scene<'_> {
    /// Plays all parts.
    pub(crate) fn play(&self) -> Result<Round> {
        let Load { honest, plaintext, flood_rate } = self.load;
        self.tell(&format!("{honest} honest HTTPS requests, and nothing else"));
        let at_rest = self.honest()?;
        self.tell(&format!("{plaintext} plain HTTP requests to each of ports 443 and {APPLICATION}"));
        let plaintext = self.plaintext()?;
        self.tell(&format!(
            "a UDP flood from one address, {flood_rate} packets a second, and {honest} honest requests"
        ));
        let template = Template::udp(FLOOD_V4.into(), SERVER_V4.into(), (4_000, 443), 18)?;
        let one_source = self.flooded(&Flood::new(template))?;
        self.tell(&format!(
            "a SYN flood from {FORGED} addresses, {flood_rate} packets a second, and {honest} honest requests"
        ));
        let template = Template::syn(FLOOD_V4.into(), SERVER_V4.into(), (4_000, 443))?;
        let sources = Sources::Ipv4 { first: FLOOD_V4, count: FORGED };
        let forged = self.flooded(&Flood { sources, random_ports: true, ..Flood::new(template) })?;
        Ok(Round { at_rest, plaintext, one_source, forged })
    }

    fn tell(&self, what: &str) {
        println!("[{:3.0} s]   {what}", self.began.elapsed().as_secs_f64());
    }

    fn honest(&self) -> Result<Outcome> {
        let https =
            Https { rate: Some(HONEST_RATE), timeout: Duration::from_secs(3), ..Https::new(self.nginx) };
        // Pieces, so that a server that answers nothing costs seconds, not minutes.
        let (mut sum, began) = (Outcome::default(), Instant::now());
        let longest = self.duration() * 3;
        while sum.ok + sum.failed < u64::from(self.load.honest) {
            let left = self.load.honest - (sum.ok + sum.failed) as u32;
            if began.elapsed() > longest {
                sum.failed += u64::from(left);
                break;
            }
            let piece = https.run(&self.lab.client, left.min(HONEST_RATE / 4))?;
            sum.ok += piece.ok;
            sum.failed += piece.failed;
            sum.error = sum.error.or(piece.error);
            sum.latencies.extend(piece.latencies);
        }
        sum.latencies.sort_unstable();
        Ok(sum)
    }

    /// How long honest requests take at their rate.
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.load.honest) / f64::from(HONEST_RATE))
    }

    fn plaintext(&self) -> Result<Plaintext> {
        let sent = self.load.plaintext;
        let application =
            PlainListener::start(&self.lab.server, SocketAddr::new(SERVER_V4.into(), APPLICATION))?;
        let answered = plaintext::send(&self.lab.attacker, 443, sent)?;
        plaintext::send(&self.lab.attacker, APPLICATION, sent)?;
        let bytes_read = application.delivered().iter().map(|connection| connection.total).sum();
        Ok(Plaintext { sent, answered, bytes_sent: (sent * REQUEST.len()) as u64, bytes_read })
    }

    fn flooded(&self, flood: &Flood) -> Result<Flooded> {
        let (before, sent_before) = (self.guard.passed(self.lab)?, self.answers()?);
        // Bursts cost no more CPU than their frames do: a server that starves beside the generator would show nothing.
        let pace = Pace::Bursts(self.load.flood_rate);
        let flooding = self.lab.flood(&Flood { pace, duration: Duration::from_secs(60), ..flood.clone() })?;
        // The first requests shall meet a flood that is under way.
        thread::sleep(Duration::from_millis(500));
        let honest = self.honest()?;
        let sent = flooding.stop()?.sent;
        let (reached, answers) = (self.guard.passed(self.lab)? - before, self.answers()? - sent_before);
        Ok(Flooded { sent, reached, answers, honest })
    }

    /// Frames that the server has sent towards the attacker.
    fn answers(&self) -> Result<u64> {
        let counters = Interface::read(&self.lab.server, self.lab.attack_side())?;
        Ok(counters.tx_packets + counters.tx_dropped)
    }
}
