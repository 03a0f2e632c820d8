//! What honest hosts need of totals that a forged flood uses up: this host's own questions, and clients that are known.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::Scale;
use crate::builder::ip;
use crate::builder::quic::{V1, initial};
use crate::lab::{
    CLIENT_V4, CLIENT_V6, FLOOD_V4, Flood, Gateway, Https, Lab, Pace, SERVER_V4, SERVER_V6, Sources, Template,
};

/// Forged datagrams in a second, to ports that are nobody's.
const UDP: u64 = 300_000;
/// Forged Initials in a second.
const INITIALS: u64 = 20_000;
/// What is asked, and what is opened, by honest hosts.
const QUESTIONS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// So long the flood has a total to itself before it is looked.
const AHEAD: Duration = Duration::from_secs(1);
const DNS: u16 = 53;

/// The host's own questions to a name server are answered while forged datagrams use up the total of what is no service's.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn dns(_: &Scale) -> Result<()> {
    let lab = Lab::without_answers()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let template = Template::udp(FLOOD_V4.into(), SERVER_V4.into(), (4_000, 9_999), 22)?;
    let flooding = lab.flood(&forged(template, Pace::Bursts(UDP)))?;
    thread::sleep(AHEAD);
    let mut answered = Vec::new();
    for (server, name_server) in
        [(IpAddr::from(SERVER_V4), IpAddr::from(CLIENT_V4)), (SERVER_V6.into(), CLIENT_V6.into())]
    {
        // Resolvers do either: the answer is for a socket that hears its server alone, or for one that hears everybody.
        for connects in [true, false] {
            answered.push(ask(&lab, server, SocketAddr::new(name_server, DNS), connects)?);
        }
    }
    let dropped = gateway.metrics()?.packets(lab.attack_side(), "drop", "total_udp");
    let report = flooding.stop()?;
    println!(
        "dns: {answered:?} of {QUESTIONS} questions answered; {dropped} of {} forged datagrams dropped",
        report.sent
    );
    ensure!(dropped > report.sent / 2, "the total was not used up: this shows nothing");
    ensure!(
        answered.iter().all(|count| *count == QUESTIONS),
        "{answered:?} of {QUESTIONS} questions were answered"
    );
    Ok(())
}

/// Asks, one question after another, each from a port of its own; how many are answered.
fn ask(lab: &Lab, own: IpAddr, server: SocketAddr, connects: bool) -> Result<u32> {
    let socket = lab.client.enter(|| UdpSocket::bind(server))??;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let answers = scope.spawn(|| {
            let mut buffer = [0; 64];
            while !over.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    socket.send_to(&buffer[..length], peer)?;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
        let asked = lab.server.enter(|| {
            let mut answered = 0;
            for number in 0..QUESTIONS {
                let question = UdpSocket::bind(SocketAddr::new(own, 0))?;
                if connects {
                    question.connect(server)?;
                }
                question.set_read_timeout(Some(Duration::from_millis(500)))?;
                let number = number.to_be_bytes();
                if connects {
                    question.send(&number)?
                } else {
                    question.send_to(&number, server)?
                };
                answered += u32::from(question.recv(&mut [0; 64]).is_ok());
                thread::sleep(PAUSE);
            }
            Ok::<_, anyhow::Error>(answered)
        });
        over.store(true, Ordering::Relaxed);
        answers.join().map_err(|_| anyhow!("the name server panicked"))??;
        asked?
    })
}

/// Clients that are known by TLS open QUIC connections while forged Initials use up the service's total.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn openings(_: &Scale) -> Result<()> {
    let lab = Lab::without_answers()?;
    let nginx = lab.nginx()?;
    let services = "[[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n\
         [[service]]\nname = \"http3\"\nprotocol = \"udp\"\nports = [443]\nrequire = \"quic\"\n";
    let gateway = Gateway::start(&lab, &format!("mode = \"enforce\"\n{services}"))?;
    let known = Https::new(&nginx).run(&lab.client, 1)?;
    ensure!(known.failed == 0, "without a flood: {:?}", known.error);
    let opening =
        ip(&FLOOD_V4.to_string(), &SERVER_V4.to_string()).udp(4_000, 443).payload(&initial(V1, 1_200));
    let flooding = lab.flood(&forged(Template::from_frame(&opening.build())?, Pace::Smooth(INITIALS)))?;
    thread::sleep(AHEAD);
    let counts = |side: &str| -> Result<[u64; 2]> {
        let metrics = gateway.metrics()?;
        Ok([metrics.packets(side, "pass", "ok"), metrics.packets(side, "drop", "total_initial")])
    };
    let before = counts(lab.client_side())?;
    lab.client.enter(|| {
        for _ in 0..QUESTIONS {
            let socket = UdpSocket::bind((CLIENT_V4, 0))?;
            socket.send_to(&initial(V1, 1_200), (SERVER_V4, 443))?;
            thread::sleep(PAUSE);
        }
        Ok::<_, anyhow::Error>(())
    })??;
    let after = counts(lab.client_side())?;
    let [_, forged] = counts(lab.attack_side())?;
    let report = flooding.stop()?;
    let [passed, dropped] = [0, 1].map(|place| after[place] - before[place]);
    println!(
        "openings: of {QUESTIONS} honest Initials {passed} passed, {dropped} were dropped; of {} forged ones {forged} were dropped",
        report.sent
    );
    ensure!(forged > report.sent / 2, "the total was not used up: this shows nothing");
    ensure!(passed >= u64::from(QUESTIONS) && dropped == 0, "{dropped} honest Initials were dropped");
    Ok(())
}

fn forged(template: Template, pace: Pace) -> Flood {
    let sources = Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 };
    let duration = Duration::from_secs(30);
    Flood { sources, random_ports: true, pace, duration, ..Flood::new(template) }
}
