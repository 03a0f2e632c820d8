//! Addresses that are reserved, on a host that has one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, await_that, device, require_lab};

const NEAR: Ipv4Addr = Ipv4Addr::new(240, 0, 7, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(240, 0, 7, 2);
const PATIENCE: Duration = Duration::from_secs(30);

/// Where this host has an address of 240.0.0.0/4, others of it are served, from the next look at its addresses on; where it has none, or is told to
/// drop them, they are martians.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_host_with_a_reserved_address_serves_others() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    device::pair(&lab, "gwdev", "gwfar")?;
    lab.attacker.ip(&[format!("address add {FAR}/24 dev gwfar")])?;
    lab.server.ip(&[format!("address add {NEAR}/24 dev gwdev")])?;
    let server = SocketAddr::new(NEAR.into(), 9_400);
    let _listener = lab.server.enter(|| TcpListener::bind(server))??;
    let connect = |patience| lab.attacker.enter(|| TcpStream::connect_timeout(&server, patience));
    for (reserved, is_served) in [("auto", true), ("drop", false), ("pass", true)] {
        let config = format!("mode = \"enforce\"\n[sanity]\nreserved_sources = \"{reserved}\"\n");
        let mut gateway = Gateway::prepare(&lab, &config, &["--interface", "gwdev"])?;
        gateway.run()?;
        if is_served {
            await_that("a neighbour is served", PATIENCE, || Ok(connect(PATIENCE)?.is_ok()))?;
        } else {
            ensure!(connect(Duration::from_secs(2))?.is_err(), "{reserved}: it is served");
            let dropped = gateway.metrics()?.packets("gwdev", "drop", "martian_source");
            ensure!(dropped > 0, "{reserved}: nothing was dropped");
        }
    }
    Ok(())
}
