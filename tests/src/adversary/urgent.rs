//! The urgent pointer: the byte that it points to is taken out of what an application reads (RFC 6093 section 3.1).

use super::{DECIDING, PLAIN, Read, Scenario, honest};
use crate::builder::flags::{ACK, PSH, SYN, URG};
use Read::{All, Lawful};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new("every byte of a hello's start urgent, then plaintext", |tcp, _| {
            tcp.connect()?;
            for (position, byte) in (0..DECIDING).zip(honest()) {
                tcp.send(&tcp.at(position, &[byte]).flags(ACK | PSH | URG).urgent(1))?;
            }
            tcp.write(DECIDING, PLAIN)?;
            Ok(Lawful)
        }),
        Scenario::new("an urgent pointer without data to a hello's first byte", |tcp, _| {
            tcp.connect()?;
            tcp.send(&tcp.at(0, &[]).flags(ACK | URG).urgent(1))?;
            tcp.write(0, &honest())?;
            Ok(Lawful)
        }),
        Scenario::new("an urgent pointer in the handshake's ACK", |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.send(&tcp.at(0, &[]).flags(ACK | URG).urgent(1))?;
            tcp.write(0, &honest())?;
            Ok(Lawful)
        }),
        Scenario::new("an urgent pointer in the SYN", |tcp, _| {
            // The gate may drop it, so nobody waits for an answer to it.
            tcp.send(&tcp.syn().flags(SYN | URG).urgent(1))?;
            tcp.connect()?;
            tcp.write(0, &honest())?;
            Ok(All(honest()))
        }),
        Scenario::new("an urgent pointer of zero, and one without its flag", |tcp, _| {
            let stream = honest();
            tcp.connect()?;
            tcp.send(&tcp.at(0, &stream[..8]).urgent(3))?;
            tcp.write(8, &stream[8..])?;
            Ok(All(stream))
        }),
    ];
    for byte in 1..=DECIDING as u16 {
        all.push(Scenario::new(format!("byte {byte} of a hello urgent"), move |tcp, _| {
            tcp.connect()?;
            tcp.send(&tcp.at(0, &honest()).flags(ACK | PSH | URG).urgent(byte))?;
            Ok(Lawful)
        }));
        all.push(Scenario::new(format!("byte {byte} urgent, said by a segment behind it"), move |tcp, _| {
            let stream = honest();
            tcp.connect()?;
            tcp.send(&tcp.at(-1, &[0]).flags(ACK | PSH | URG).urgent(byte + 1))?;
            tcp.write(0, &stream)?;
            Ok(Lawful)
        }));
    }
    all
}
