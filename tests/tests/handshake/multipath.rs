//! Multipath TCP (RFC 8684) between a client and a server that speak it, as the kernel does.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use gateway_tests::builder::hello;
use gateway_tests::lab::{Counters, Gateway, Lab, PlainListener, SERVER_V4, alone, require_lab};
use socket2::{Domain, Protocol, Socket, Type};

use super::until;

const GATED: u16 = 9_000;
const OPEN: u16 = 9_001;
const CONFIG: &str = "mode = \"enforce\"\n[ban]\nstrikes = 20\n\
    [[service]]\nname = \"gated\"\nprotocol = \"tcp\"\nports = [9000]\nrequire = \"tls\"\n\
    [[service]]\nname = \"open\"\nprotocol = \"tcp\"\nports = [9001]\n";
/// What a client sends behind its hello.
const UPLOAD: usize = 4 << 20;

/// A client with three addresses, all of which it uses where it may, uploads to a gated service by TCP, and elsewhere by Multipath TCP.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn gated_services_are_spoken_to_by_tcp() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    for host in [&lab.client, &lab.server] {
        host.run("ip", &["mptcp", "limits", "set", "subflow", "8", "add_addr_accepted", "8"])?;
    }
    for address in ["192.0.2.51", "192.0.2.52"] {
        lab.client.run("ip", &["address", "add", &format!("{address}/24"), "dev", "uplink"])?;
        lab.client
            .run("ip", &["mptcp", "endpoint", "add", address, "dev", "uplink", "subflow", "fullmesh"])?;
    }
    let gateway = Gateway::start(&lab, CONFIG)?;
    for (port, accepted) in [(GATED, 0), (OPEN, 1)] {
        let before = Counters::read(&lab.client)?;
        upload(&lab, port)?;
        let counted = Counters::read(&lab.client)?.since(&before);
        let names = ["MPCapableSYNTX", "MPCapableSYNACKRX", "MPJoinSynAckRx"];
        let [offered, taken, joined] = names.map(|name| counted.get(&format!("MPTcpExt{name}")));
        println!("port {port}: {offered} offered, {taken} taken, {joined} subflows joined");
        ensure!((offered, taken) == (1, accepted), "port {port}: {offered} offered, {taken} taken");
        ensure!((joined != 0) == (accepted != 0), "port {port}: {joined} subflows joined");
    }
    let dropped = gateway.metrics()?.packets(lab.client_side(), "drop", "");
    ensure!(dropped == 0, "{dropped} packets dropped");
    Ok(())
}

/// Sends a hello and more, by a socket for Multipath TCP, and waits until the application has read it.
fn upload(lab: &Lab, port: u16) -> Result<()> {
    let server = SocketAddr::new(SERVER_V4.into(), port);
    let listener = PlainListener::multipath(&lab.server, server)?;
    let socket = lab.client.enter(|| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)))??;
    socket.connect(&server.into())?;
    let Some(own) = socket.local_addr()?.as_socket() else { anyhow::bail!("the client has no address") };
    let sent = [hello::tls13("gateway.test"), vec![7; UPLOAD]].concat();
    let start = Instant::now();
    (&socket).write_all(&sent)?;
    let arrived = || {
        let delivered = listener.delivered();
        let of_it = delivered.iter().filter(|one| one.peer == own);
        of_it.map(|one| one.total).sum::<u64>() == sent.len() as u64
    };
    until(arrived, &format!("port {port}: the upload does not arrive"))?;
    println!("port {port}: {UPLOAD} bytes in {:?}", start.elapsed());
    Ok(())
}
