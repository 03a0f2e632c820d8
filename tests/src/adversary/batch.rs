//! SYNs, resets and SYN cookies in one batch, so that a stream may begin of which the server's TCP does not know yet.
//!
//! A SYN cookie acknowledges a sequence number: one that is higher by `n` makes a stream that starts `n` later (`cookie_v4_check` in
//! net/ipv4/syncookies.c). So a client that has one cookie has one for any start.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Condition, PLAIN, Read, Scenario, Site, honest};
use crate::builder::flags;
use crate::lab::ByHand;
use Read::Lawful;

/// How far the second stream is from the first.
const NEXT: i32 = 1_000;
/// How long the server may take to answer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        new("an ACK, SYNs behind it, and plaintext from 5 before", |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.write(0, &[])?;
            tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(593)))?;
            tcp.write(0, &PLAIN[..1])?;
            tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add(537)))?;
            tcp.write(-5, PLAIN)?;
            Ok(Lawful)
        }),
        new("an ACK, a SYN-ACK with a byte, a reset, and the hello from there", |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.write(0, &[])?;
            tcp.send(&tcp.at(0, &honest()[..1]).flags(flags::SYN | flags::ACK))?;
            tcp.send(&tcp.at(0, &[]).flags(flags::RST))?;
            tcp.write(1, &honest()[1..])?;
            Ok(Lawful)
        }),
    ];
    for is_bare in [false, true] {
        let how = if is_bare { "an ACK" } else { "plaintext" };
        all.push(new(format!("a reset, {how} with a cookie further on, and plaintext"), move |tcp, _| {
            let mut end = whole(tcp)?;
            // So that the gate asks TCP and remembers the answer.
            tcp.write(end, &[1])?;
            end += 1;
            tcp.acknowledged(end)?;
            tcp.send(&tcp.at(end, &[]).flags(flags::RST))?;
            let ack = tcp.ack.wrapping_add_signed(NEXT);
            tcp.send(&tcp.at(NEXT, if is_bare { b"" } else { PLAIN }).ack(ack))?;
            tcp.send(&tcp.at(NEXT, PLAIN).ack(ack))?;
            Ok(Lawful)
        }));
    }
    for mss in [536, 1_460_u16] {
        for first in [1, 4, 10] {
            let name = format!(
                "a reset, {first} bytes by the same cookie for segments of {mss}, and plaintext behind"
            );
            all.push(new(name, move |tcp, _| {
                tcp.ask(&tcp.syn().tcp_options(&segments(mss)))?;
                tcp.write(0, &[])?;
                let stream = honest();
                tcp.write(0, &stream)?;
                tcp.acknowledged(stream.len() as i32)?;
                tcp.send(&tcp.at(stream.len() as i32, &[]).flags(flags::RST))?;
                tcp.write(0, &stream[..first])?;
                tcp.write(first as i32, PLAIN)?;
                Ok(Lawful)
            }));
        }
        for behind in [1, 2, 3] {
            let name = format!(
                "a reset, an ACK {behind} behind by the same cookie for segments of {mss}, and a hello"
            );
            all.push(new(name, move |tcp, _| {
                tcp.ask(&tcp.syn().tcp_options(&segments(mss)))?;
                tcp.write(0, &[])?;
                tcp.write(0, &honest()[..4])?;
                tcp.acknowledged(4)?;
                tcp.send(&tcp.at(4, &[]).flags(flags::RST))?;
                tcp.write(behind, &[])?;
                tcp.write(0, &honest())?;
                Ok(Lawful)
            }));
        }
    }
    for behind in [1, 2, 3] {
        all.push(new(
            format!("a closed connection's last ACK and its stream from {behind} on"),
            move |tcp, _| {
                let length = whole(tcp)?;
                tcp.send(&tcp.at(length, &[]).flags(flags::FIN | flags::ACK))?;
                let closed = tcp.answer(PATIENCE, |answer| answer.flags & flags::FIN != 0)?;
                ensure!(closed.is_some(), "{} does not close", tcp.remote);
                tcp.send(&tcp.at(length + 1, &[]).ack(tcp.ack.wrapping_add(1)))?;
                tcp.write(behind, &honest()[behind as usize..])?;
                Ok(Lawful)
            },
        ));
        all.push(new(
            format!("a reset of a stream's first bytes, and the rest from {behind} on"),
            move |tcp, _| {
                tcp.connect()?;
                tcp.write(0, &honest()[..behind as usize])?;
                tcp.acknowledged(behind)?;
                tcp.send(&tcp.at(behind, &[]).flags(flags::RST))?;
                tcp.write(behind, &honest()[behind as usize..])?;
                Ok(Lawful)
            },
        ));
    }
    for before in [1, 3, 4, 11, 20] {
        for ack in [Ack::First, Ack::Own] {
            all.extend(overlaps(before, ack));
        }
    }
    all
}

/// What a segment acknowledges that starts ahead of a stream.
#[derive(Clone, Copy, Debug)]
enum Ack {
    /// The cookie of the stream.
    First,
    /// What is a cookie for its own start.
    Own,
}

/// A stream that begins by a SYN cookie, and a segment that starts `before` bytes ahead of it like a hello, and has plaintext from the
/// stream's start on.
fn overlaps(before: u32, ack: Ack) -> Vec<Scenario> {
    let overlap = move |tcp: &ByHand<'_>, start: i32| {
        let bytes = [&honest()[..before as usize], PLAIN].concat();
        let position = start - before as i32;
        let acknowledged = match ack {
            Ack::First => start,
            Ack::Own => position,
        };
        tcp.send(&tcp.at(position, &bytes).ack(tcp.ack.wrapping_add_signed(acknowledged)))
    };
    let syn = move |tcp: &ByHand<'_>, start: i32| {
        tcp.send(&tcp.syn().seq(tcp.isn.wrapping_add_signed(start).wrapping_sub(before)))
    };
    let mut all = vec![new(
        format!("an ACK, its SYN again, one {before} before, plaintext behind a hello's start ({ack:?})"),
        move |tcp, _| {
            tcp.ask(&tcp.syn())?;
            tcp.write(0, &[])?;
            syn(tcp, before as i32)?;
            syn(tcp, 0)?;
            overlap(tcp, 0)?;
            Ok(Lawful)
        },
    )];
    for (name, begun) in [("an ACK", 0), ("a byte as the handshake's end", 1)] {
        all.push(new(
            format!("{name}, a SYN {before} before, plaintext behind a hello's start ({ack:?})"),
            move |tcp, _| {
                tcp.ask(&tcp.syn())?;
                tcp.write(0, &honest()[..begun])?;
                syn(tcp, 0)?;
                overlap(tcp, 0)?;
                Ok(Lawful)
            },
        ));
    }
    for (name, has_syn) in [("", false), (", a SYN", true)] {
        all.push(new(
            format!("a reset, the next stream's first byte{name} and {before} before plaintext behind a hello's start ({ack:?})"),
            move |tcp, _| {
                let length = whole(tcp)?;
                tcp.send(&tcp.at(length, &[]).flags(flags::RST))?;
                tcp.send(&tcp.at(NEXT, &honest()[..1]).ack(tcp.ack.wrapping_add_signed(NEXT)))?;
                if has_syn {
                    syn(tcp, NEXT)?;
                }
                overlap(tcp, NEXT)?;
                Ok(Lawful)
            },
        ));
    }
    all
}

/// The option that announces this maximum segment size.
fn segments(mss: u16) -> [u8; 4] {
    let [high, low] = mss.to_be_bytes();
    [2, 4, high, low]
}

fn new(
    name: impl Into<String>,
    script: impl Fn(&mut ByHand<'_>, &Site<'_>) -> Result<Read> + Send + Sync + 'static,
) -> Scenario {
    Scenario::new(format!("{}, at once", name.into()), script).best_effort_when(Condition::Forwarded)
}

/// A connection that has shown a hello; gives its length.
fn whole(tcp: &mut ByHand<'_>) -> Result<i32> {
    let stream = honest();
    tcp.connect()?;
    tcp.write(0, &stream)?;
    tcp.acknowledged(stream.len() as i32)?;
    Ok(stream.len() as i32)
}
