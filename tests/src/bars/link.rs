//! Link control in floods: what a host needs to stay on its link is heard whatever else is sent in its name.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Scale;
use crate::builder::{Frame, ip};
use crate::lab::{FLOOD_V4, Flood, Gateway, Lab, Pace, Sources, Template, Wire};

/// Messages of each kind that the peer sends in each flood.
const MESSAGES: u64 = 100;
const PAUSE: Duration = Duration::from_millis(5);
/// Forged messages in a second: twenty times what strangers have.
const FORGED: u64 = 20_000;
/// So long a flood has its kind's room to itself before it is looked.
const AHEAD: Duration = Duration::from_millis(1_100);
/// The peer's addresses.
const V4: &str = "192.0.2.2";
const V6: &str = "fe80::77";

/// A kind: its name, and a message of it from an address of the family that it has.
type Kind = (&'static str, bool, fn(&str) -> Frame);

const KINDS: [Kind; 7] = [
    ("neighbour discovery", true, |from| {
        ip(from, "ff02::1:ff00:1").hops(255).icmp(135, 0, [0; 4]).payload(&[0; 16])
    }),
    ("MLD", true, |from| ip(from, "ff02::16").hops(1).icmp(143, 0, [0; 4]).payload(&[0; 16])),
    ("IGMP", false, |from| ip(from, "224.0.0.1").hops(1).protocol(2).payload(&[0x11; 12])),
    ("DHCP", false, |from| ip(from, "192.0.2.1").udp(67, 68).payload(&[2; 300])),
    ("VRRP", false, |from| ip(from, "224.0.0.18").hops(255).protocol(112).payload(&[0x21; 20])),
    ("BFD", false, |from| ip(from, "192.0.2.1").hops(255).udp(49_152, 3_784).payload(&[0x20; 24])),
    ("OSPF", false, |from| ip(from, "224.0.0.5").hops(1).protocol(89).payload(&[2; 44])),
];

fn message((_, is_v6, of): &Kind) -> Frame {
    of(if *is_v6 { V6 } else { V4 })
}

/// A flood of one kind from sources that nobody has.
fn flood((_, is_v6, of): &Kind) -> Result<Flood> {
    let (from, sources) = if *is_v6 {
        ("fe80::bad", Sources::Ipv6Hosts { network: "fe80::".parse()? })
    } else {
        ("198.18.0.0", Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 })
    };
    let template = Template::from_frame(&of(from).build())?;
    let duration = Duration::from_secs(60);
    Ok(Flood { sources, pace: Pace::Bursts(FORGED), duration, ..Flood::new(template) })
}

/// In a flood of each kind all messages of every kind are heard of a peer that was seen before, the flood's own kind among them.
///
/// # Errors
/// Where one is not, or the lab fails.
pub fn link(_: &Scale) -> Result<()> {
    let lab = Lab::without_answers()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let peer = Wire::of_client(&lab)?;
    let said = || KINDS.iter().try_for_each(|kind| peer.send(&message(kind)));
    let of = |side: &str| -> Result<[u64; 2]> {
        let metrics = gateway.metrics()?;
        let passed =
            ["link_control", "neighbour_discovery"].map(|reason| metrics.packets(side, "pass", reason));
        Ok([passed[0] + passed[1], metrics.packets(side, "drop", "link_flood")])
    };
    for _ in 0..3 {
        said()?;
        thread::sleep(AHEAD);
    }
    for kind in &KINDS {
        let [_, forged_before] = of(lab.attack_side())?;
        let flooding = lab.flood(&flood(kind)?).with_context(|| kind.0)?;
        thread::sleep(AHEAD);
        let before = of(lab.client_side())?;
        for _ in 0..MESSAGES {
            said()?;
            thread::sleep(PAUSE);
        }
        let after = of(lab.client_side())?;
        let report = flooding.stop()?;
        let [heard, lost] = [after[0] - before[0], after[1] - before[1]];
        let dropped = of(lab.attack_side())?[1] - forged_before;
        let wanted = MESSAGES * KINDS.len() as u64;
        println!(
            "link: in a flood of {}, {dropped} of {} dropped: {heard} of {wanted} messages of a known peer heard, {lost} lost",
            kind.0, report.sent
        );
        ensure!(dropped > report.sent / 2, "{}: the flood was not held: this shows nothing", kind.0);
        ensure!(heard >= wanted && lost == 0, "{}: {lost} of {wanted} messages were lost", kind.0);
    }
    Ok(())
}
