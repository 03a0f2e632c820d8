//! What the TLS gate adds to a packet: the same frames to a service that requires TLS, and to one that does not. Their
//! connections are real ones of the server's in a lab, so that the gate's questions to the host's TCP are real.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::builder::{Frame, between, flags, hello};
use gateway_tests::cases::{Draft as _, Offer};
use gateway_tests::kernel::apply;
use gateway_tests::lab::{ByHand, CLIENT_V4, FLOOD_V4, Lab, PlainListener, SERVER_V4, Wire};
use gateway_user::host::Stand;
use gateway_user::kernel::Kernel;
use serde_json::{Value, json};

use crate::spread::Spread;
use crate::subject::{Baseline, gateway, gateway_run, test_run};

/// Frames of a run.
const FRAMES: u32 = 200_000;
/// The service's port, and the server's name in hellos.
pub(crate) const PORT: u16 = 443;
const NAME: &str = "api.example.org";
/// A port that no other client has a connection from.
const FRESH: u16 = 39_999;
/// The sequence number of a SYN.
const ISN: u32 = 1_000_000;
/// What the XDP program answers for what passes.
const XDP_PASS: u32 = 2;
/// How long a hello may take to the server.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same service with growing demands; the first is the run without the gate.
fn services() -> [(&'static str, Offer); 3] {
    [
        ("any", Offer::tcp(PORT)),
        ("tls", Offer::tls(PORT)),
        ("tls, version and name", Offer::tls(PORT).min_minor(3).named(&[NAME])),
    ]
}

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "The gate's cost, BPF_PROG_TEST_RUN, {rounds} rounds of {FRAMES} frames, ns net of a bare XDP_DROP"
    );
    println!("{:48}{:24}{:>20}{:>12}", "", "service requires", "net ns", "x any");
    let lab = Lab::new()?;
    let server = SocketAddr::new(SERVER_V4.into(), PORT);
    let listener = PlainListener::start(&lab.server, server)?;
    let stream = lab.client.enter(|| TcpStream::connect(server))?.context("no connection")?;
    greet(&stream, &listener)?;
    // One that has said nothing yet, of which the first sequence number is known.
    let wire = Wire::open(&lab)?;
    let mut silent = ByHand::new(&wire, SocketAddr::new(FLOOD_V4.into(), FRESH), server, ISN);
    silent.connect()?;
    let frames = frames(stream.local_addr()?.port(), &silent);
    let mut kernel = gateway(vec![1])?;
    let mut bare = Baseline::load("drop")?;
    let mut rows = Vec::new();
    for (name, frame) in &frames {
        let mut measured = [const { Vec::new() }; 3];
        // Round by round, so that what the machine does meanwhile falls on all alike.
        for _ in 0..rounds {
            for ((_, offer), measured) in services().into_iter().zip(&mut measured) {
                apply(&mut kernel, &Stand::new().serve(offer))?;
                let gross = run(&lab, &mut kernel, frame)?;
                let (empty, _) = test_run(bare.program()?, frame, FRAMES)?;
                measured.push(gross - empty);
            }
        }
        rows.extend(print(name, measured.map(Spread::of)));
    }
    println!();
    Ok(Value::Array(rows))
}

/// Says hello, and waits until the server has it.
pub(crate) fn greet(mut stream: &TcpStream, listener: &PlainListener) -> Result<()> {
    let hello = hello::tls13(NAME);
    stream.write_all(&hello)?;
    let start = Instant::now();
    while listener.delivered().first().is_none_or(|one| one.total < hello.len() as u64) {
        ensure!(start.elapsed() < PATIENCE, "the hello does not arrive");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What comes of connections that the server's TCP has, one from this port and one that has said nothing yet, and of none.
fn frames(port: u16, silent: &ByHand<'_>) -> [(&'static str, Vec<u8>); 4] {
    let from = |port| -> Frame { between(CLIENT_V4.into(), SERVER_V4.into()).tcp(port, PORT) };
    let pushed = flags::ACK | flags::PSH;
    [
        ("established: 1,200 bytes of data", from(port).flags(pushed).payload(&[23; 1_200]).build()),
        ("established: ACK without data", from(port).build()),
        ("new: SYN", from(FRESH).flags(flags::SYN).seq(0).build()),
        ("first data: ClientHello", silent.at(0, &hello::tls13(NAME)).build()),
    ]
}

/// Nanoseconds a frame, in the server's namespace, where its sockets are.
fn run(lab: &Lab, kernel: &mut Kernel, frame: &[u8]) -> Result<f64> {
    let (time, verdict) = lab.server.enter(|| {
        gateway_run(kernel, frame, 1)?;
        gateway_run(kernel, frame, FRAMES)
    })??;
    ensure!(verdict == XDP_PASS, "a frame ended with XDP action {verdict}");
    Ok(time)
}

fn print(name: &str, spreads: [Spread; 3]) -> Vec<Value> {
    let without = spreads[0].median.max(1.0);
    let row = |((service, _), spread): ((&str, Offer), Spread)| {
        let ratio = spread.median / without;
        println!("{name:48}{service:24}{:>20}{ratio:>12.2}", spread.text(0));
        json!({ "packet": name, "service": service, "net_ns": spread.json(), "ratio_to_any": ratio })
    };
    services().into_iter().zip(spreads).map(row).collect()
}
