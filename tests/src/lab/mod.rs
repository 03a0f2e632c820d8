//! A network of three namespaces on one machine: a client and an attacker, each with a cable to the server.
//!
//! ```text
//! client   192.0.2.2, 2001:db8:1::2  ──veth──  192.0.2.1, 2001:db8:1::1   server
//! attacker 203.0.113.2, 2001:db8:2::2 ─veth──  203.0.113.1, 2001:db8:2::1 server
//! ```
//!
//! Whatever the server has no other route for goes to the attacker, the answers to forged sources too. Neighbours are entered
//! by hand, so a flood needs no ARP; checksums are complete on the wire, and the far ends run an XDP program, so a filter on
//! the server's ends may send frames back. Nothing outside the namespaces is touched, and all of it goes with [`Lab`], when
//! the process is interrupted, or at the latest when the next lab comes up.

mod behind;
mod by_hand;
mod cable;
mod client;
#[path = "../../../gateway-ebpf/src/lab/config.rs"]
mod config;
mod connections;
mod counters;
pub mod device;
mod flood;
mod gateway;
mod generator;
mod listener;
mod metrics;
mod namespace;
mod newer;
mod nginx;
mod object;
mod patience;
mod port;
mod prefix_memory;
mod process;
mod program_clock;
mod root;
mod sockets;
mod sources;
mod sys;
mod template;
mod tun;
mod weather;

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

pub use behind::{BEHIND_V4, BEHIND_V6, Behind};
pub use by_hand::{Answer, ByHand, Wire};
pub use cable::driver;
use cable::{Cable, cables};
pub use client::{Https, Outcome, TlsVersion};
pub use connections::{begin, established, most_established};
pub use counters::{Counters, Interface, Meter};
pub use flood::{Flood, FloodReport, Flooding, Pace};
pub use gateway::{Gateway, program};
pub use listener::{Delivered, PlainListener};
pub use metrics::Metrics;
pub use namespace::Namespace;
pub(crate) use namespace::{output, scratch};
pub use newer::Newer;
pub use nginx::{HOST as NGINX_HOST, Nginx};
pub use object::{Attached, Category, Count, Program};
pub use patience::await_that;
pub use prefix_memory::PrefixMemory;
pub(crate) use process::run_first;
pub use process::{Process, THIS_THREAD, pin};
pub use program_clock::ProgramClock;
pub use root::{alone, missing, require_lab};
pub use sockets::Sockets;
pub use sources::Sources;
pub use template::Template;
pub use tun::Tun;
pub use weather::{BadLine, Carried, Weather};

/// The server's address on the client's cable.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The same for IPv6.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The client's address.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The same for IPv6.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// The attacker's own address.
pub const ATTACKER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The same for IPv6.
pub const ATTACKER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// The first address of the network that floods come from, 198.18.0.0/15 (RFC 2544).
pub const FLOOD_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The same for IPv6: 2001:2::/48 (RFC 5180).
pub const FLOOD_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0);

/// The CPU that floods are sent from where they are measured, and the one that receives them.
pub const SENDER: usize = 0;
/// See [`SENDER`].
pub const RECEIVER: usize = 1;

/// Name of the far end in the client's and in the attacker's namespace.
const FAR: &str = "uplink";

/// The network.
pub struct Lab {
    /// Programs on the far ends.
    _far: [Attached; 2],
    client_side: String,
    attack_side: String,
    /// Where honest requests come from.
    pub client: Namespace,
    /// Where floods come from.
    pub attacker: Namespace,
    /// Where servers listen and the gateway runs.
    pub server: Namespace,
}

impl Lab {
    /// Brings the network up, after it has removed what interrupted runs have left.
    ///
    /// # Errors
    /// Where a program or a right is missing: ask [`missing`] first.
    pub fn new() -> Result<Self> {
        Self::with(Program::Pass)
    }

    /// The same for floods whose answers are nobody's work: what goes to the addresses that they forge is dropped at the other
    /// end of the cable, on the CPU that sent it there. A thread for it on another CPU would have to be woken for each.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn without_answers() -> Result<Self> {
        Self::with(Program::DropAnswers)
    }

    /// `far`: what is on the attacker's end.
    fn with(far: Program) -> Result<Self> {
        namespace::remove_leftovers();
        let [client, attacker, server] = ["client", "attacker", "server"].map(Namespace::new);
        let (client, attacker, server) = (client?, attacker?, server?);
        let [to_client, to_attacker] = cables();
        for (cable, far) in [(&to_client, &client), (&to_attacker, &attacker)] {
            cable
                .lay(&server, far)
                .with_context(|| format!("cannot connect {} with {}", server.name(), far.name()))?;
        }
        routes(&client, &attacker, &server, &to_attacker)?;
        let far = [Attached::new(&client, Program::Pass, &[FAR])?, Attached::new(&attacker, far, &[FAR])?];
        let (client_side, attack_side) = (to_client.near, to_attacker.near);
        Ok(Self { _far: far, client_side, attack_side, client, attacker, server })
    }

    /// The server's interface towards the client.
    #[must_use]
    pub fn client_side(&self) -> &str {
        &self.client_side
    }

    /// The server's interface towards the attacker.
    #[must_use]
    pub fn attack_side(&self) -> &str {
        &self.attack_side
    }

    /// Gives the attacker's end of its cable so many IPv4 addresses more, for honest clients that are nobody yet.
    ///
    /// # Errors
    /// Where an address cannot be added.
    pub fn add_clients(&self, count: u8) -> Result<Vec<Ipv4Addr>> {
        let add = |number| {
            let address = Ipv4Addr::from(u32::from(ATTACKER_V4) + 2 + u32::from(number));
            self.attacker.run("ip", &["address", "add", &format!("{address}/32"), "dev", FAR])?;
            Ok(address)
        };
        (1..=count).map(add).collect()
    }

    /// Makes the attacker's own stack silent, so that whatever comes from its side is a flood's.
    ///
    /// # Errors
    /// Where the setting cannot be written.
    pub fn silence_attacker(&self) -> Result<()> {
        self.attacker.sysctl(&[("net/ipv6/conf/all/disable_ipv6", "1")])?;
        // What was under way arrives.
        std::thread::sleep(std::time::Duration::from_millis(500));
        Ok(())
    }

    /// Both of the server's interfaces: where a gateway belongs.
    #[must_use]
    pub fn interfaces(&self) -> [&str; 2] {
        [&self.client_side, &self.attack_side]
    }

    /// Puts a program of the lab on both of the server's interfaces, in the gateway's place.
    ///
    /// # Errors
    /// Where it cannot be loaded, or an interface has a program already.
    pub fn attach(&self, program: Program) -> Result<Attached> {
        Attached::new(&self.server, program, &self.interfaces())
    }

    /// Starts nginx in the server's namespace.
    ///
    /// # Errors
    /// Where it does not answer within a minute.
    pub fn nginx(&self) -> Result<Nginx> {
        Nginx::start(&self.server)
    }

    /// Starts a flood towards the server's interface for attackers.
    ///
    /// # Errors
    /// Where the template is no frame that the generator can fill, or the generator cannot be loaded.
    pub fn flood(&self, flood: &Flood) -> Result<Flooding> {
        Flooding::start(&self.attacker, FAR, flood)
    }

    /// Gives the attack side a receiving thread of its own on this CPU; without, frames are received on the CPU that sends.
    ///
    /// Call it each time a program was attached: the thread ends with it, and the next one is not bound to a CPU. Senders should be
    /// on another one.
    ///
    /// # Errors
    /// Where the kernel has no threaded NAPI (before Linux 5.12), or no program is attached in native mode.
    pub fn receive_on(&self, cpu: usize) -> Result<()> {
        object::receive_on(&self.server, &self.attack_side, cpu)
    }
}

/// Hardware addresses of the attacker's end and of the server's end of its cable, as a frame begins: destination, source.
pub(crate) const ATTACK_MACS: [u8; 12] = [2, 0, 0, 0, 2, 1, 2, 0, 0, 0, 2, 2];
/// The same of the client's cable.
pub(crate) const CLIENT_MACS: [u8; 12] = [2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2];

/// The attacker reaches the server's address; the server sends what is nobody's to the attacker.
fn routes(client: &Namespace, attacker: &Namespace, server: &Namespace, cable: &Cable) -> Result<()> {
    let near = &cable.near;
    server.ip(&[
        format!("route add default via {ATTACKER_V4} dev {near}"),
        format!("route add default via {ATTACKER_V6} dev {near}"),
    ])?;
    let [(near_v4, _), (near_v6, _)] = cable.near_addresses;
    attacker.ip(&[
        format!("route add default via {near_v4} dev {FAR}"),
        format!("route add default via {near_v6} dev {FAR}"),
    ])?;
    client.ip(&[
        format!("route add default via {SERVER_V4} dev {FAR}"),
        format!("route add default via {SERVER_V6} dev {FAR}"),
    ])
}
