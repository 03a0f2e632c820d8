//! Floods under the address of an honest client that is connected.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::cookies::{text, warm_up};
use super::flood::reasons;
use super::floods::{highest, template};
use super::{Scale, servers};
use crate::lab::{
    CLIENT_V4, CLIENT_V6, Flood, Gateway, Https, Lab, Outcome, Pace, RECEIVER, SENDER, Template,
};

/// Requests over the client's connection in a second.
const RATE: u32 = 20;
/// What is sent in the client's name, from all ports.
const KINDS: [&str; 5] = ["SYN", "ACK", "RST", "data", "UDP"];
/// As a user begins, but that few strikes earn a ban.
const CONFIG: &str = "mode = \"enforce\"\n[attach]\nset_sysctls = true\n\
    [ban]\nstrikes = 5\nwithin = \"60s\"\n\
    [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n";

/// A client's requests over a connection that was there before the flood all succeed, and it is not banned. The connection
/// has a cable of its own: what is lost is the gateway's doing.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn victim(scale: &Scale) -> Result<()> {
    let pace = highest("victim", scale)?;
    let mut broken = Vec::new();
    for kind in KINDS {
        for client in [CLIENT_V4.into(), CLIENT_V6.into()] {
            let (outcome, bans) = talk(kind, client, pace, scale)?;
            println!("victim: {kind} from {client}: {}, bans: {bans:?}", text(&outcome));
            if outcome.failed > 0 || !bans.is_empty() {
                broken.push(format!("{kind} from {client}"));
            }
        }
    }
    ensure!(broken.is_empty(), "cut or banned: {}", broken.join(", "));
    Ok(())
}

/// Requests during a flood, and the bans after it.
fn talk(kind: &str, client: IpAddr, pace: Pace, scale: &Scale) -> Result<(Outcome, String)> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    warm_up(&lab, &nginx)?;
    lab.receive_on(RECEIVER)?;
    let server = (servers()[usize::from(client.is_ipv6())], 443).into();
    let https = Https { server, rate: Some(RATE), keep_alive: true, ..Https::new(&nginx) };
    let flood = Flood {
        random_ports: true,
        pace,
        cpu: Some(SENDER),
        duration: Duration::from_secs(60 * scale.seconds),
        ..Flood::new(Template::from_frame(&template(kind, client).build())?)
    };
    let outcome = thread::scope(|scope| {
        // The first second is before the flood.
        let requests = scope.spawn(|| https.run(&lab.client, RATE * (1 + scale.seconds as u32)));
        thread::sleep(Duration::from_secs(1));
        let flooding = lab.flood(&flood)?;
        let outcome = requests.join().map_err(|_| anyhow!("the requests panicked"))??;
        let report = flooding.stop()?;
        println!("victim:   flood {:.0}/s", report.rate());
        Ok::<_, anyhow::Error>(outcome)
    })?;
    // Whatever had been counted would have been judged by now.
    thread::sleep(Duration::from_secs(1));
    if outcome.failed > 0 {
        reasons(&lab, &gateway)?;
    }
    Ok((outcome, gateway.done(&["block", "list", "--json"])?))
}
