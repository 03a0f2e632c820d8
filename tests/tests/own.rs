//! What this host has asked for itself is not held to the limits of who sends it; what it serves is.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{
    ATTACKER_V4, CLIENT_V4, Gateway, Lab, Namespace, SERVER_V4, alone, await_that, require_lab,
};

const PORT: u16 = 9_200;
/// So many packets of a source as its handshake needs, and few more.
const CONFIG: &str = "mode = \"enforce\"\n[limits]\npackets = { rate = \"100/s\" }\n";
const LENGTH: usize = 2 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// One namespace sends to another, which has opened the connection if `opens`; how many bytes arrive before the time is over.
fn carry(
    from: &Namespace,
    to: &Namespace,
    listens_at: IpAddr,
    opens: bool,
    patience: Duration,
) -> Result<usize> {
    let (listening, opening) = if opens { (from, to) } else { (to, from) };
    let listener = listening.enter(|| TcpListener::bind((listens_at, PORT)))??;
    let stream =
        opening.enter(|| TcpStream::connect_timeout(&SocketAddr::new(listens_at, PORT), PATIENCE))??;
    let (other, _) = listener.accept()?;
    let (mut sender, mut receiver) = if opens { (other, stream) } else { (stream, other) };
    receiver.set_read_timeout(Some(patience))?;
    let sending = thread::spawn(move || {
        // The other end may give up.
        let _ = sender.write_all(&vec![7; LENGTH]);
    });
    let mut read = 0;
    let mut buffer = vec![0; 1 << 16];
    let began = std::time::Instant::now();
    while began.elapsed() < patience {
        match receiver.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => read += length,
        }
    }
    drop(receiver);
    sending.join().ok().context("the sender")?;
    Ok(read)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_download_of_the_host_is_its_own() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let packets =
        |verdict, reason| anyhow::Ok(gateway.metrics()?.packets(lab.client_side(), verdict, reason));

    let read = carry(&lab.client, &lab.server, CLIENT_V4.into(), true, PATIENCE)?;
    ensure!(read == LENGTH, "{read} of {LENGTH} bytes of a download arrive");
    ensure!(packets("pass", "own_traffic")? > 100, "nothing was above the limit");
    ensure!(packets("drop", "limit_packets")? == 0, "packets of the download were dropped");

    // Its own port is one that somebody listens on: an accepted connection frees nobody from limits.
    let before = packets("pass", "own_traffic")?;
    carry(&lab.client, &lab.server, SERVER_V4.into(), false, Duration::from_secs(3))?;
    await_that("an upload is held to its source's limit", PATIENCE, || {
        Ok(packets("drop", "limit_packets")? > 0)
    })?;
    ensure!(packets("pass", "own_traffic")? == before, "an upload counts as the host's own");
    Ok(())
}

/// What comes in a VXLAN tunnel is no flood of the peer that the kernel knows: all of it arrives, however it compares with a source's limits.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_tunnel_of_the_host_is_its_own() -> Result<()> {
    const INNER: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 7, 1), Ipv4Addr::new(10, 77, 7, 2)];
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let ends = [
        (&lab.server, SERVER_V4, CLIENT_V4, lab.client_side(), INNER[0]),
        (&lab.client, CLIENT_V4, SERVER_V4, "uplink", INNER[1]),
    ];
    for (namespace, local, remote, below, inner) in ends {
        namespace.ip(&[
            format!("link add gwvx type vxlan id 7 dstport 4789 local {local} remote {remote} dev {below}"),
            format!("address add {inner}/24 dev gwvx"),
            "link set dev gwvx up".to_owned(),
        ])?;
    }
    let gateway = Gateway::start(&lab, CONFIG)?;
    let packets =
        |verdict, reason| anyhow::Ok(gateway.metrics()?.packets(lab.client_side(), verdict, reason));
    // From the client to a listener of the server's: of the peers' packets nothing is known but the tunnel.
    let read = carry(&lab.client, &lab.server, INNER[0].into(), false, PATIENCE)?;
    ensure!(read == LENGTH, "{read} of {LENGTH} bytes arrive by the tunnel");
    ensure!(packets("pass", "own_traffic")? > 100, "nothing was above the limit");
    ensure!(packets("drop", "limit_packets")? == 0, "packets of the tunnel were dropped");

    // Who is not its peer has no tunnel.
    let from = SocketAddr::new(ATTACKER_V4.into(), 4_789);
    lab.attacker.enter(|| {
        let socket = UdpSocket::bind(from)?;
        (0..1_000).try_for_each(|_| socket.send_to(&[8; 64], (SERVER_V4, 4_789)).map(drop))
    })??;
    await_that("another source is held to its limit", PATIENCE, || {
        Ok(gateway.metrics()?.packets(lab.attack_side(), "drop", "limit_packets") > 0)
    })
}
