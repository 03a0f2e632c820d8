//! Plays scenarios in the lab.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::{Read, Scenario, law};
use crate::builder::hello;
use crate::lab::{
    BEHIND_V4, BEHIND_V6, Behind, ByHand, Lab, PlainListener, SERVER_V4, SERVER_V6, THIS_THREAD, Wire, pin,
    run_first,
};

/// Under what circumstances all scenarios are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The kernel's defaults.
    Usual,
    /// Sequence numbers wrap within the first bytes.
    Wrapping,
    /// The server takes data in any SYN (RFC 7413), without a cookie.
    FastOpen,
    /// The server answers every SYN with a SYN cookie, and keeps nothing.
    SynCookies,
    /// The gateway answers every SYN with a SYN cookie.
    GatewayCookies,
    /// The server is another host behind the gateway's.
    Forwarded,
    /// The same, and something else listens on that port of the gateway's host, as a container runtime's proxy does.
    Beside,
    /// The gate reads the whole hello, for its versions and its server's name.
    Reading,
    /// A PROXY header comes first; for scenarios that send parts of a stream.
    Proxied,
    /// The server speaks Multipath TCP too.
    Multipath,
    /// The same with SYN cookies.
    MultipathCookies,
    /// Connections whose opening is refused are reset.
    Resets,
    /// Several packets pass the gate before the server's TCP sees the first of them, as in a batch of a busy interface.
    Late,
    /// The same with SYN cookies.
    LateSynCookies,
    /// The same with SYN cookies of the gateway's.
    LateGatewayCookies,
    /// The same where the gate reads the whole hello.
    LateReading,
    /// And with SYN cookies.
    LateReadingCookies,
}

impl Condition {
    /// All of them; the late ones last, because they leave a thread behind that receives.
    pub const ALL: [Self; 17] = [
        Self::Usual,
        Self::Wrapping,
        Self::FastOpen,
        Self::SynCookies,
        Self::GatewayCookies,
        Self::Forwarded,
        Self::Beside,
        Self::Reading,
        Self::Proxied,
        Self::Multipath,
        Self::MultipathCookies,
        Self::Resets,
        Self::Late,
        Self::LateSynCookies,
        Self::LateGatewayCookies,
        Self::LateReading,
        Self::LateReadingCookies,
    ];

    const fn is_late(self) -> bool {
        matches!(
            self,
            Self::Late
                | Self::LateSynCookies
                | Self::LateGatewayCookies
                | Self::LateReading
                | Self::LateReadingCookies
        )
    }

    /// Whether the server is another host.
    const fn is_forwarded(self) -> bool {
        matches!(self, Self::Forwarded | Self::Beside)
    }

    /// Whether the gate drops what comes before its turn: messages are read in the order of the stream, and of a connection
    /// by SYN cookie that the server's TCP has not made yet only the start passes.
    const fn is_in_order(self) -> bool {
        matches!(
            self,
            Self::Reading
                | Self::LateReading
                | Self::LateReadingCookies
                | Self::Proxied
                | Self::LateSynCookies
                | Self::LateGatewayCookies
        )
    }

    /// What is sent first on every connection.
    const fn lead(self) -> &'static [u8] {
        if matches!(self, Self::Proxied) { PROXY } else { b"" }
    }

    /// `tcp_fastopen`: 1 is for clients alone; 2 for servers, 0x400 for all their sockets, 0x200 without cookies.
    const fn fast_open(self) -> &'static str {
        if matches!(self, Self::FastOpen) { "1539" } else { "1" }
    }

    /// `tcp_syncookies`: 1 when the queue is full, 2 always.
    const fn syn_cookies(self) -> &'static str {
        let of_the_host = matches!(
            self,
            Self::SynCookies | Self::LateSynCookies | Self::LateReadingCookies | Self::MultipathCookies
        );
        if of_the_host || self.is_answered() { "2" } else { "1" }
    }

    /// Whether SYNs are answered by cookies.
    pub(super) fn has_cookies(self) -> bool {
        self.syn_cookies() == "2"
    }

    /// Whether the gateway answers SYNs.
    const fn is_answered(self) -> bool {
        matches!(self, Self::GatewayCookies | Self::LateGatewayCookies)
    }

    /// The listener's port: the gate reads hellos from [`READING`] on.
    const fn port(self) -> u16 {
        let first = match self {
            Self::Reading | Self::LateReading | Self::LateReadingCookies => READING,
            Self::Proxied => PROXIED,
            Self::GatewayCookies | Self::LateGatewayCookies => ANSWERED,
            Self::Resets => RESET,
            _ => PORTS,
        };
        first + self as u16
    }

    /// The sequence number of the first SYN.
    const fn isn(self, number: u32) -> u32 {
        if matches!(self, Self::Wrapping) { u32::MAX - number % 8 } else { 1_000_000 * (number % 4_000) }
    }
}

/// What a script has beside its connection.
pub struct Site<'a> {
    /// The application.
    pub listener: &'a PlainListener,
    /// The circumstances.
    pub condition: Condition,
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Played {
    /// The scenario's name.
    pub name: String,
    /// The circumstances.
    pub condition: Condition,
    /// Over IPv6 or IPv4.
    pub v6: bool,
    /// What the application read, connection by connection.
    pub read: Vec<Vec<u8>>,
    /// Whether the client was honest and had all it sent read.
    pub whole: bool,
    /// Why that is against the law, if it is.
    pub breach: Option<String>,
    /// Whether the law is only best effort here.
    pub best_effort: bool,
}

/// Ports of the conditions' listeners begin here, and here those that want a hello read.
const PORTS: u16 = 9_000;
const READING: u16 = 9_100;
/// And those behind a proxy, and what it says (version 1, as HAProxy's specification has it).
const PROXIED: u16 = 9_200;
const PROXY: &[u8] = b"PROXY TCP4 192.0.2.9 198.51.100.1 40000 443\r\n";
/// And those whose SYNs the gateway answers.
const ANSWERED: u16 = 9_300;
/// And those whose connections are reset when they are refused. All others stay open, so that a scenario can go on.
const RESET: u16 = 9_400;
/// The configuration that scenarios are played under: TLS alone on all ports that they go to.
pub const CONFIG: &str = "mode = \"enforce\"\n[limits]\nsyn = \"none\"\n[limits.neighbours]\nsyn = \"none\"\n\
    [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [\"9000-9099\"]\nrequire = \"tls\"\nrefuse = \"drop\"\n\
    [[service]]\nname = \"named\"\nprotocol = \"tcp\"\nports = [\"9100-9199\"]\nrequire = \"tls\"\nrefuse = \"drop\"\n\
    min_tls = \"1.2\"\nserver_names = [\"api.example.org\"]\n\
    [[service]]\nname = \"proxied\"\nprotocol = \"tcp\"\nports = [\"9200-9299\"]\nrequire = \"tls\"\nrefuse = \"drop\"\n\
    proxy_protocol = true\n\
    [[service]]\nname = \"answered\"\nprotocol = \"tcp\"\nports = [\"9300-9399\"]\nrequire = \"tls\"\nrefuse = \"drop\"\n\
    syn_cookies = \"always\"\n\
    [[service]]\nname = \"reset\"\nprotocol = \"tcp\"\nports = [\"9400-9499\"]\nrequire = \"tls\"\n";
/// The CPU that late packets wait for.
const CPU: usize = 0;
/// How long packets may be under way after the last script, and how long they are on a busy machine.
const SETTLE: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_secs(10);
/// How long an honest client waits before it sends again, and how often it does at most.
const RESEND_AFTER: Duration = Duration::from_millis(50);
const RESENDS: usize = 20;
/// How often it looks whether it has been heard.
const PAUSE: Duration = Duration::from_millis(2);

/// Plays all scenarios under one condition, over IPv4 and IPv6. A gateway must be running under [`CONFIG`].
///
/// # Errors
/// Where the lab fails; a breach of the law is in the answer.
pub fn play(lab: &Lab, condition: Condition, scenarios: &[Scenario]) -> Result<Vec<Played>> {
    let behind = condition.is_forwarded().then(|| Behind::new(lab)).transpose()?;
    let (space, addresses) = match &behind {
        Some(behind) => (&behind.namespace, [IpAddr::V4(BEHIND_V4), IpAddr::V6(BEHIND_V6)]),
        None => (&lab.server, [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)]),
    };
    space.sysctl(&[
        ("net/ipv4/tcp_fastopen", condition.fast_open()),
        ("net/ipv4/tcp_syncookies", condition.syn_cookies()),
        ("net/ipv4/tcp_max_syn_backlog", "8192"),
        ("net/core/somaxconn", "8192"),
    ])?;
    let mut played = Vec::new();
    for server in addresses {
        let remote = SocketAddr::new(server, condition.port());
        let wildcard =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let beside = SocketAddr::new(wildcard, remote.port());
        let _beside = matches!(condition, Condition::Beside)
            .then(|| PlainListener::start(&lab.server, beside))
            .transpose()?;
        let listener = match condition {
            Condition::Multipath | Condition::MultipathCookies => PlainListener::multipath(space, remote)?,
            _ => PlainListener::start(space, remote)?,
        };
        if condition.is_answered() {
            warm_up(lab, remote)?;
        }
        let site = Site { listener: &listener, condition };
        let wanted = on_a_cpu(lab, condition, || run(lab, &site, remote, scenarios))??;
        await_honest(&site, remote, scenarios, &wanted);
        thread::sleep(SETTLE);
        let delivered = listener.delivered();
        played.extend(scenarios.iter().zip(wanted).enumerate().filter_map(|(number, (scenario, wanted))| {
            let peer = local(number, remote);
            let of_it = delivered.iter().filter(|one| one.peer == peer);
            let read = of_it.map(|one| without(condition.lead(), &one.bytes)).collect();
            Some(judge(scenario, &site, read, wanted?, server.is_ipv6()))
        }));
    }
    Ok(played)
}

/// A whole connection: the gateway answers only where it has seen that connections end.
fn warm_up(lab: &Lab, remote: SocketAddr) -> Result<()> {
    let wire = Wire::open(lab)?;
    let mut tcp = ByHand::new(&wire, local(usize::from(u16::MAX), remote), remote, 1_000);
    tcp.connect()?;
    let hello = hello::tls13("gateway.test");
    for position in 0..3 {
        // One byte a time: the later ones find the connection that the first handshake made.
        tcp.write(position, &hello[position as usize..=position as usize])?;
        thread::sleep(Duration::from_millis(20));
    }
    tcp.write(3, &hello[3..])
}

/// Where the scenario of this number comes from.
fn local(number: usize, remote: SocketAddr) -> SocketAddr {
    let [.., high, low] = (number as u32).to_be_bytes();
    let ip = if remote.is_ipv4() {
        IpAddr::V4(Ipv4Addr::new(10, 77, high, low))
    } else {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, u16::from_be_bytes([high, low]), 0, 0, 0, 9))
    };
    SocketAddr::new(ip, 40_000 + remote.port() % 100)
}

/// What follows a lead; a part of the lead alone is nothing.
fn without(lead: &[u8], bytes: &[u8]) -> Vec<u8> {
    if lead.starts_with(bytes) { Vec::new() } else { bytes.strip_prefix(lead).unwrap_or(bytes).to_vec() }
}

/// What each script wants to have been read; nothing where it cannot be played.
fn run(
    lab: &Lab,
    site: &Site<'_>,
    remote: SocketAddr,
    scenarios: &[Scenario],
) -> Result<Vec<Option<Result<Read>>>> {
    let wire = Wire::open(lab)?;
    let one = |(number, scenario): (usize, &Scenario)| {
        if site.condition == Condition::Proxied && !scenario.can_be_proxied {
            return None;
        }
        let isn = site.condition.isn(number as u32);
        let mut tcp = ByHand::new(&wire, local(number, remote), remote, isn);
        tcp.lead = site.condition.lead();
        let wanted = (scenario.script)(&mut tcp, site);
        if let Ok(Read::All(wanted)) = &wanted
            && (scenario.overtakes || site.condition.is_in_order())
        {
            // An honest client sends again what was dropped.
            let heard = [tcp.lead, wanted].concat();
            if let Err(error) = send_again(&tcp, site, &heard) {
                return Some(Err(error));
            }
        }
        Some(wanted)
    };
    Ok(scenarios.iter().enumerate().map(one).collect())
}

/// Sends all again until it was read, or often enough.
fn send_again(tcp: &ByHand<'_>, site: &Site<'_>, heard: &[u8]) -> Result<()> {
    for _ in 0..RESENDS {
        if site.condition.is_in_order() {
            tcp.again()?;
        } else {
            tcp.data_again()?;
        }
        if waits_for(RESEND_AFTER, || site.listener.has(tcp.local, heard)) {
            break;
        }
    }
    Ok(())
}

/// Waits until the application has read what honest clients sent, on a busy machine too.
fn await_honest(
    site: &Site<'_>,
    remote: SocketAddr,
    scenarios: &[Scenario],
    wanted: &[Option<Result<Read>>],
) {
    let missing = || {
        scenarios.iter().zip(wanted).enumerate().any(|(number, (scenario, wanted))| match wanted {
            Some(Ok(Read::All(wanted))) if scenario.best_effort.is_none() => {
                let heard = [site.condition.lead(), wanted].concat();
                !site.listener.has(local(number, remote), &heard)
            }
            _ => false,
        })
    };
    waits_for(LATE, || !missing());
}

/// Waits until something is so; says whether it was in time.
fn waits_for(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Runs the scripts; for late packets so that the thread that receives has to wait until a script waits.
fn on_a_cpu<T: Send>(lab: &Lab, condition: Condition, work: impl FnOnce() -> T + Send) -> Result<T> {
    if !condition.is_late() {
        return Ok(work());
    }
    lab.receive_on(CPU)?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<T> {
            pin(THIS_THREAD, CPU)?;
            run_first()?;
            Ok(work())
        });
        thread.join().map_err(|_| anyhow!("a script panicked"))?
    })
}

fn judge(scenario: &Scenario, site: &Site<'_>, read: Vec<Vec<u8>>, wanted: Result<Read>, v6: bool) -> Played {
    let unlawful = read.iter().find_map(|bytes| law::may_be_read(bytes).err());
    let whole = matches!(&wanted, Ok(Read::All(bytes)) if read.last() == Some(bytes));
    let breach = match wanted {
        _ if unlawful.is_some() => unlawful.map(|error| format!("against the law: {error}")),
        Err(error) => Some(format!("not played: {error:#}")),
        Ok(Read::All(_)) if !whole => Some("an honest client lost data".to_owned()),
        Ok(_) => None,
    };
    let best_effort = match scenario.best_effort {
        Some(Condition::Forwarded) => site.condition.is_forwarded(),
        other => other == Some(site.condition),
    };
    Played { name: scenario.name.clone(), condition: site.condition, v6, read, whole, breach, best_effort }
}
