//! What it costs to answer a SYN by a cookie, beside the kernel's helpers that make the cookie, and to drop what belongs to no
//! connection: floods of live frames at a server with a listener.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use gateway_common::{abi::cookies, limit::rate::Dimension};
use gateway_tests::builder::{between, flags};
use gateway_tests::cases::{Draft as _, Offer, limit};
use gateway_tests::lab::{
    FLOOD_V4, Flood, Lab, PlainListener, Program, ProgramClock, RECEIVER, SENDER, SERVER_V4, Sources,
    Template,
};
use gateway_user::host::Stand;
use serde_json::{Value, json};

use crate::{
    filters::Standing,
    gate::{PORT, greet},
    spread::Spread,
};

/// How long each flood lasts.
const DURATION: Duration = Duration::from_millis(1_200);

/// What takes the flood, and what the flood is.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// XDP_DROP alone.
    Drop,
    /// The helpers that look the listener up and make the cookie.
    Helpers,
    /// The gateway, which answers.
    Answer,
    /// The gateway, which has answered as many as it may.
    Unanswered,
    /// The gateway, which drops ACKs of no connection.
    OutOfState,
}

impl Case {
    const ALL: [Self; 5] = [Self::Drop, Self::Helpers, Self::Answer, Self::Unanswered, Self::OutOfState];

    const fn name(self) -> &'static str {
        match self {
            Self::Drop => "SYNs: bare XDP_DROP",
            Self::Helpers => "SYNs: the look-up and the cookie alone, then dropped",
            Self::Answer => "SYNs: the gateway answers by cookies",
            Self::Unanswered => "SYNs above what cookies answer: the gateway drops them",
            Self::OutOfState => "ACKs of no connection: the gateway drops them",
        }
    }

    /// Nanoseconds a packet in the program.
    fn sample(self, seed: u64) -> Result<f64> {
        let lab = Lab::without_answers()?;
        lab.server.sysctl(&[("net/ipv4/tcp_syncookies", "2")])?;
        let server = SocketAddr::new(SERVER_V4.into(), PORT);
        let listener = PlainListener::start(&lab.server, server)?;
        let _standing = match self {
            Self::Drop => Standing::Lab(lab.attach(Program::Drop)?),
            Self::Helpers => Standing::Lab(lab.attach(Program::CookieHelpers)?),
            Self::Answer | Self::Unanswered | Self::OutOfState => {
                let mut offer = Offer::tls(PORT).cookies(cookies::ALWAYS);
                if matches!(self, Self::Unanswered) {
                    offer = offer.answers(limit(Dimension::Syn, 1_000, 1_000));
                }
                let standing = Standing::gateway(&lab, &Stand::new().serve(offer))?;
                // From a connection the gateway learns that they end here.
                let stream = lab.attacker.enter(|| TcpStream::connect(server))?.context("no connection")?;
                greet(&stream, &listener)?;
                standing
            }
        };
        lab.receive_on(RECEIVER)?;
        let [source, target]: [IpAddr; 2] = [FLOOD_V4.into(), SERVER_V4.into()];
        let frame = between(source, target).tcp(4_000, PORT).seq(77);
        let frame = match self {
            Self::OutOfState => frame.flags(flags::ACK),
            _ => frame.flags(flags::SYN).tcp_options(&[2, 4, 5, 180]),
        };
        let clock = ProgramClock::of(&lab)?;
        let flood = Flood {
            sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
            random_ports: true,
            duration: DURATION,
            cpu: Some(SENDER),
            seed,
            ..Flood::new(Template::from_frame(&frame.build())?)
        };
        lab.flood(&flood)?.wait()?;
        clock.ns_a_packet()
    }
}

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "Nanoseconds a packet in the program, live frames over veth, {rounds} rounds, net of a bare XDP_DROP"
    );
    println!("{:56}{:>22}{:>12}", "", "net ns", "x helpers");
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut samples = [const { Vec::new() }; Case::ALL.len()];
    for round in 0..rounds {
        for (case, samples) in Case::ALL.into_iter().zip(&mut samples) {
            samples.push(case.sample((round as u64) << 32)?);
        }
    }
    let bare = samples[0].clone();
    let net = |samples: &[f64]| Spread::of(samples.iter().zip(&bare).map(|(own, bare)| own - bare).collect());
    let helpers = net(&samples[1]).median.max(1.0);
    let mut rows = Vec::new();
    for (case, samples) in Case::ALL.into_iter().zip(&samples) {
        let (spread, ratio) = (net(samples), net(samples).median / helpers);
        println!("{:56}{:>22}{ratio:>12.2}", case.name(), spread.text(0));
        rows.push(json!({ "case": case.name(), "net_ns": spread.json(), "ratio_to_helpers": ratio }));
    }
    println!();
    Ok(Value::Array(rows))
}
