//! Multipath TCP (RFC 8684): where data belong in the stream is said by an option, and not by TCP's sequence numbers.

use anyhow::Result;

use super::{DECIDING, PLAIN, Read, Scenario, honest};
use crate::builder::Frame;
use crate::lab::ByHand;
use Read::{All, Lawful};

/// The option's kind, MP_CAPABLE of version 1 with HMAC-SHA256, and DSS with a mapping and an acknowledgment of four bytes
/// each.
const MULTIPATH: u8 = 30;
const CAPABLE: [u8; 2] = [0x01, 0x01];
const MAPPING: [u8; 2] = [0x20, 0x05];
/// The attacker's key, and the lower half of where its data begin: behind the last 64 bits of the key's SHA-256.
const KEY: &[u8; 8] = b"attacker";
const FIRST: u32 = 0xce40_08cc + 1;

pub(super) fn scenarios() -> Vec<Scenario> {
    let head = || honest()[..DECIDING as usize].to_vec();
    vec![
        Scenario::new("Multipath TCP: a hello's start mapped behind plaintext", move |tcp, _| {
            connect(tcp)?;
            send(tcp, 0, 1_000, &head())?;
            send(tcp, DECIDING, 0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("Multipath TCP: a hello, then plaintext mapped into its place", move |tcp, _| {
            connect(tcp)?;
            send(tcp, 0, 20, &head())?;
            send(tcp, DECIDING, 31, PLAIN)?;
            send(tcp, DECIDING + PLAIN.len() as i32, 0, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("Multipath TCP: a hello", |tcp, _| {
            connect(tcp)?;
            send(tcp, 0, 0, &honest())?;
            Ok(All(honest()))
        }),
    ]
}

/// Shakes hands. A server that does not speak Multipath TCP answers without the option, and takes no notice of it later.
fn connect(tcp: &mut ByHand<'_>) -> Result<()> {
    let syn = tcp.syn().tcp_options(&[&[MULTIPATH, 4][..], &CAPABLE].concat());
    let answer = tcp.ask(&syn)?;
    let wanted = [&[MULTIPATH, 12][..], &CAPABLE].concat();
    let at = answer.options.windows(4).position(|option| option == wanted);
    let key = at.and_then(|at| answer.options.get(at + 4..at + 12)).unwrap_or(&[0; 8]);
    let option = [&[MULTIPATH, 20][..], &CAPABLE, KEY, key].concat();
    tcp.send(&tcp.at(0, &[]).tcp_options(&option))
}

/// Sends bytes at a position of the connection that belong at another one of the stream.
fn send(tcp: &ByHand<'_>, position: i32, place: u32, bytes: &[u8]) -> Result<()> {
    let frame: Frame = tcp.at(position, bytes);
    let length = (bytes.len() as u16).to_be_bytes();
    let [data, own] = [FIRST + place, position as u32 + 1].map(u32::to_be_bytes);
    let option = [&[MULTIPATH, 18][..], &MAPPING, &[0; 4], &data, &own, &length, &[1, 1]].concat();
    tcp.send(&frame.tcp_options(&option))
}
