//! Packets that this host has merged, or that its peer sends unsegmented: in generic mode the program sees them whole.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, device, require_lab};

/// The two ends of its cable.
const NEAR: &str = "gwbig0";
const FAR: &str = "gwbig1";
const PORT: u16 = 9_300;
const LENGTH: usize = 96 << 20;
/// Sent one packet after another by its retransmissions alone, it takes longer.
const SOON: Duration = Duration::from_secs(10);
/// What IP's own field of the length can say.
const LONGEST: u64 = 65_535;
const CONFIG: &str = "mode = \"enforce\"\n[limits]\npackets = \"none\"\nbytes = \"none\"\n\
    [limits.neighbours]\npackets = \"none\"\n";

/// The attacker sends to the server; how long it takes.
fn send(lab: &Lab, server: IpAddr) -> Result<Duration> {
    let server = SocketAddr::new(server, PORT);
    let listener = lab.server.enter(|| TcpListener::bind(server))??;
    let mut stream = lab.attacker.enter(|| TcpStream::connect_timeout(&server, SOON))??;
    let (mut receiver, _) = listener.accept()?;
    stream.set_write_timeout(Some(SOON))?;
    receiver.set_read_timeout(Some(SOON))?;
    let start = Instant::now();
    let reading = thread::spawn(move || -> Result<usize> {
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        while read < LENGTH {
            let length = receiver.read(&mut buffer).context("the receiver")?;
            ensure!(length != 0, "the connection ends after {read} bytes");
            read += length;
        }
        Ok(read)
    });
    stream.write_all(&vec![7; LENGTH]).context("the sender")?;
    reading.join().ok().context("the receiver")??;
    Ok(start.elapsed())
}

/// BIG TCP sends packets of which IP's own length says nothing (Documentation/networking/devlink, `gso_max_size` of ip-link(8)): none of them is
/// malformed, and none is sent again.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn packets_beyond_the_field_of_their_length_pass() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    // A cable of its own: on the lab's checksums are complete, so nothing is left to be cut by others.
    device::pair(&lab, NEAR, FAR)?;
    for (namespace, end, number) in [(&lab.server, NEAR, 1), (&lab.attacker, FAR, 2)] {
        namespace.ip(&[
            format!("link set dev {end} gso_max_size 180000 gro_max_size 180000"),
            format!("address add 10.77.9.{number}/24 dev {end}"),
            format!("address add 2001:db8:9::{number}/64 dev {end} nodad"),
        ])?;
    }
    let mut gateway = Gateway::prepare(&lab, CONFIG, &["--interface", NEAR, "--driver", "generic"])?;
    gateway.run()?;
    for (server, has_big) in [("2001:db8:9::1", true), ("10.77.9.1", false)] {
        let (server, side): (IpAddr, _) = (server.parse()?, NEAR);
        let passed = || -> Result<[u64; 2]> {
            let metrics = gateway.metrics()?;
            Ok([metrics.packets(side, "pass", "ok"), metrics.bytes(side, "pass", "ok")])
        };
        let before = passed()?;
        let took = send(&lab, server)?;
        let after = passed()?;
        let mean = (after[1] - before[1]) / (after[0] - before[0]).max(1);
        println!("merged: {server}: {LENGTH} bytes in {took:?}, {mean} bytes a packet");
        ensure!(took < SOON, "{server}: it takes {took:?}");
        ensure!(!has_big || mean > LONGEST, "{server}: packets have {mean} bytes: this shows nothing");
    }
    let metrics = gateway.metrics()?;
    let dropped = metrics.sum("gateway_packets_total", &[("verdict", "drop")]);
    ensure!(dropped == 0, "{dropped} packets were dropped");
    Ok(())
}
