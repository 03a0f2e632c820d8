//! Hellos in jumbo frames, whose end lies behind the first buffer of a frame.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use anyhow::{Result, ensure};
use gateway_tests::builder::hello;
use gateway_tests::lab::{Gateway, Lab, Namespace, PlainListener, alone, require_lab};

use super::{nothing_dropped, until};

const PORT: u16 = 9_000;
const NEAR: &str = "jumbo0";
const SERVERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1))];
const CONFIG: &str = "mode = \"enforce\"\n[ban]\nstrikes = 1\n\
    [[service]]\nname = \"named\"\nprotocol = \"tcp\"\nports = [9000]\nrequire = \"tls\"\nmin_tls = \"1.3\"\n\
    server_names = [\"gateway.test\"]\n";

/// The server's name and the versions stand at a hello's end: behind what one buffer holds, and in the second and third frame.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn hellos_are_read_at_any_mtu() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    // A cable of its own: programs on the far ends of the lab's are for frames in one buffer.
    let far = Namespace::new("jumbo")?;
    lab.server.ip(&[
        format!("link add {NEAR} mtu 9001 type veth peer name far mtu 9001 netns {}", far.name()),
        format!("address add {}/24 dev {NEAR}", SERVERS[0]),
        format!("address add {}/64 dev {NEAR} nodad", SERVERS[1]),
        format!("link set {NEAR} up"),
    ])?;
    far.ip(&[
        "address add 198.51.100.2/24 dev far".into(),
        "address add 2001:db8:9::2/64 dev far nodad".into(),
        "link set far up".into(),
    ])?;
    let mut gateway = Gateway::prepare(&lab, CONFIG, &["--interface", NEAR])?;
    gateway.run()?;
    for address in SERVERS {
        let server = SocketAddr::new(address, PORT);
        let listener = PlainListener::start(&lab.server, server)?;
        for padding in [0, 3_000, 3_500, 4_000, 5_000, 8_600, 9_000, 16_000, 24_000] {
            let hello = hello::padded("gateway.test", padding);
            let mut stream = far.enter(|| TcpStream::connect(server))??;
            stream.write_all(&hello)?;
            let own = stream.local_addr()?;
            let what = format!("{server}: a hello of {} bytes does not arrive", hello.len());
            until(|| listener.has(own, &hello), &what)?;
        }
    }
    nothing_dropped(&gateway, NEAR)?;
    let bans = gateway.metrics()?.sum("gateway_bans", &[]);
    ensure!(bans == 0, "{bans} bans");
    Ok(())
}
