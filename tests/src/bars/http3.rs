//! HTTP/3 goes through, and what is no QUIC does not.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Scale, datagrams};
use crate::builder::ip;
use crate::builder::quic::{V1, V2, handshake, initial, long, short};
use crate::lab::{
    FLOOD_V4, FLOOD_V6, Flood, Gateway, Lab, NGINX_HOST, Newer, Nginx, Pace, SERVER_V4, SERVER_V6, Sources,
    Template, output, scratch,
};

/// QUIC and TLS on port 443. No limit but those of opened connections, so that the gate is seen.
const QUIC: &str = "mode = \"enforce\"\n\
    [limits]\npackets = \"none\"\nbytes = \"none\"\nudp = \"none\"\nsyn = \"none\"\n\
    [limits.neighbours]\npackets = \"none\"\nsyn = \"none\"\n\
    [[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n\
    [[service]]\nname = \"http3\"\nprotocol = \"udp\"\nports = [443]\nrequire = \"quic\"\n";
/// No limit on what opens connections: curl opens one for each request, as fast as it can, and is one source.
const OPENINGS: &str = "initial = \"none\"\ntotal.initial = \"none\"\n";
/// What the server says over HTTP/3.
const ANSWER: &str = "HTTP/3.0";

/// curl and a browser speak HTTP/3 with nginx through the gate.
///
/// # Errors
/// Where a request fails, the gateway drops a packet of theirs, or a program is missing.
pub fn http3(scale: &Scale) -> Result<()> {
    let newer = Newer::find()?;
    let lab = Lab::new()?;
    let nginx = Nginx::start_http3(&lab.server, &newer)?;
    let gateway = Gateway::start(&lab, &format!("{QUIC}{OPENINGS}"))?;
    for server in [IpAddr::from(SERVER_V4), SERVER_V6.into()] {
        for number in 0..scale.requests / 2 {
            let answer = lab.client.enter(|| output(&mut curl(&newer, &nginx, server)))?;
            let answer = answer.with_context(|| format!("request {number} to {server}"))?;
            ensure!(answer.trim() == ANSWER, "{server} said {answer:?}");
        }
        println!(
            "http3: {} requests of curl to {server}, each over a connection of its own",
            scale.requests / 2
        );
    }
    let page = lab.client.enter(|| chromium(&nginx))??;
    ensure!(page.contains(ANSWER), "Chromium shows: {page}");
    println!("http3: Chromium shows the page over HTTP/3");
    let metrics = gateway.metrics()?;
    let dropped = metrics.packets(lab.client_side(), "drop", "");
    ensure!(dropped == 0, "the gateway dropped {dropped} packets of honest clients");
    Ok(())
}

fn curl(newer: &Newer, nginx: &Nginx, server: IpAddr) -> Command {
    let mut command = newer.command("usr/bin/curl");
    command.args(["--silent", "--show-error", "--fail", "--http3-only", "--max-time", "10"]);
    command.arg("--cacert").arg(nginx.certificate());
    let address = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
    command.arg("--resolve").arg(format!("{NGINX_HOST}:443:{address}"));
    command.arg(format!("https://{NGINX_HOST}/"));
    command
}

/// What a browser without a screen makes of the page.
fn chromium(nginx: &Nginx) -> Result<String> {
    let directory = scratch()?;
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--timeout=20000"]);
    command.arg(format!("--user-data-dir={}", directory.path().display()));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", nginx.key_hash()?));
    command.arg(format!("--origin-to-force-quic-on={NGINX_HOST}:443"));
    command.arg(format!("--host-resolver-rules=MAP {NGINX_HOST} {SERVER_V4}"));
    command.arg("--dump-dom").arg(format!("https://{NGINX_HOST}/"));
    output(command.stderr(Stdio::null())).context("Chromium (Debian package chromium)")
}

/// Datagrams that no QUIC client sends, and Initials that are too short: none reaches the server.
///
/// # Errors
/// Where one does, or the lab fails.
pub fn nonsense(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, QUIC)?;
    lab.silence_attacker()?;
    let kinds = nonsense_datagrams();
    let frames = scale.flood / (2 * kinds.len() as u64) + 1;
    let before = datagrams(&lab)?;
    let mut sent = 0;
    for (name, datagram) in &kinds {
        for sources in [
            Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
            Sources::Ipv6Networks { first: FLOOD_V6, count: 1 << 16 },
        ] {
            let is_v4 = matches!(sources, Sources::Ipv4 { .. });
            let (from, to) = if is_v4 {
                (FLOOD_V4.to_string(), SERVER_V4.to_string())
            } else {
                (FLOOD_V6.to_string(), SERVER_V6.to_string())
            };
            let template = Template::from_frame(&ip(&from, &to).udp(4_000, 443).payload(datagram).build())?;
            let flood = Flood {
                sources,
                random_ports: true,
                pace: Pace::Bursts(200_000),
                frames: Some(frames),
                duration: Duration::from_secs(120),
                ..Flood::new(template)
            };
            let report = lab.flood(&flood)?.wait()?;
            ensure!(report.sent == frames, "{name}: {} of {frames} were sent", report.sent);
            sent += report.delivered;
        }
    }
    let reached = datagrams(&lab)? - before;
    let metrics = gateway.metrics()?;
    let dropped: u64 = ["quic_malformed", "quic_version", "quic_initial_size", "quic_no_initial"]
        .iter()
        .map(|reason| metrics.packets(lab.attack_side(), "drop", reason))
        .sum();
    println!(
        "nonsense: {sent} datagrams of {} kinds, {dropped} dropped by the gate, {reached} reached",
        kinds.len()
    );
    ensure!(reached == 0, "{reached} reached the server");
    ensure!(dropped == sent, "{dropped} of {sent} were dropped for what they are");
    Ok(())
}

fn nonsense_datagrams() -> Vec<(&'static str, Vec<u8>)> {
    let mut long_id = initial(V1, 1_200);
    long_id[5] = 21;
    let mut no_fixed_bit = initial(V1, 1_200);
    no_fixed_bit[0] &= !0x40;
    vec![
        ("an Initial of 1,199 bytes", initial(V1, 1_199)),
        ("a short Initial of version 2", initial(V2, 600)),
        ("an Initial's first bytes", initial(V1, 1_200)[..30].to_vec()),
        ("a connection ID of 21 bytes", long_id),
        ("no fixed bit", no_fixed_bit),
        ("a length beyond the datagram", long(0xc0, V1, &[0, 0x7f, 0xff], 1_200)),
        ("a token beyond the datagram", long(0xc0, V1, &[0x7f, 0xff], 1_200)),
        ("a Retry", long(0xf0, V1, &[], 1_200)),
        ("version negotiation", long(0xc0, 0, &[], 1_200)),
        ("an unknown version in a short datagram", long(0xc0, 0x1a2a_3a4a, &[], 100)),
        ("a Handshake of nobody", handshake()),
        ("a short header cut short", short(20)),
        // Without the bit that short headers have; text has it, and meets the budget for migrations.
        ("a query of DNS", b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07gateway\x04test\0\0\x01\0\x01".to_vec()),
        ("nothing", Vec::new()),
    ]
}
