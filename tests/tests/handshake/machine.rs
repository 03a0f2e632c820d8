//! What wants a kernel with VLANs, as the emulated machines have: tags that are taken off a frame before a program sees it.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, Namespace, PlainListener, alone, require_lab};

use super::until;

const PORT: u16 = 9_000;
const CONFIG: &str = "mode = \"enforce\"\n[attach]\nset_sysctls = true\n\
    [[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [9000]\nsyn_cookies = \"always\"\n";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 2);
const CONNECTIONS: usize = 20;

/// A VLAN device with an address on an interface.
fn lay(namespace: &Namespace, interface: &str, address: Ipv4Addr) -> Result<()> {
    namespace.ip(&[
        format!("link add link {interface} name tagged type vlan id 7"),
        format!("address add {address}/24 dev tagged"),
        "link set dev tagged up".to_owned(),
    ])
}

/// A tag that lies beside a frame is not in an answer to it: so in the driver no cookie answers, and that is said; in generic mode the answer
/// keeps what lies beside.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn connections_come_about_where_tags_are_taken_off() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    lay(&lab.server, lab.client_side(), SERVER)?;
    lay(&lab.client, "uplink", CLIENT)?;
    // As a switch would: what comes outside of the VLAN is not for whoever is in it.
    lab.client.sysctl(&[("net/ipv4/conf/all/rp_filter", "1")])?;
    let server = SocketAddr::new(IpAddr::V4(SERVER), PORT);
    let listener = PlainListener::start(&lab.server, server)?;
    for driver in ["native", "generic"] {
        let mut gateway = Gateway::prepare(&lab, CONFIG, &["--driver", driver])?;
        gateway.run()?;
        let is_told = gateway.done(&["status"])?.contains("VLAN tags are taken off");
        ensure!(is_told == (driver == "native"), "{driver}: told is {is_told}");
        // Data of a connection show that connections end here: before that no cookie answers.
        let mut first =
            lab.client.enter(|| TcpStream::connect_timeout(&server, Duration::from_secs(5)))??;
        for byte in [1, 2] {
            first.write_all(&[byte])?;
            until(|| listener.has(first.local_addr().unwrap_or(server), &[1, 2][..byte.into()]), "no data")?;
        }
        let connect = |_| TcpStream::connect_timeout(&server, Duration::from_secs(5));
        let streams: Result<Vec<_>, _> = lab.client.enter(|| (0..CONNECTIONS).map(connect).collect())?;
        streams.with_context(|| format!("{driver}: a connection by the VLAN"))?;
        let answered = gateway.metrics()?.packets(lab.client_side(), "tx", "syn_cookie");
        println!("{driver}: {CONNECTIONS} connections by a VLAN, {answered} by cookies");
        ensure!((answered > 0) == (driver == "generic"), "{driver}: {answered} SYNs were answered");
    }
    Ok(())
}
