//! First messages that are read, where the host's own TCP answers.

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::{Sets, Stand};

use super::frames::{HTTP, SSH, data, syn, v4};
use super::{Case, Draft, Offer};
use crate::builder::{Frame, hello};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;
const NAME: &str = "api.example.org";

fn wanted() -> Stand {
    Stand::new().serve(Offer::tls(443).named(&[NAME]))
}

const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

fn at(position: u32, payload: &[u8]) -> Frame {
    data(payload).seq(BASE.wrapping_add(position))
}

pub(super) fn cases() -> Vec<Case> {
    let good = hello::tls13(NAME);
    let bad = hello::tls13("xyz.example.org");
    let (half, rest) = good.split_at(60);
    let end = good.len() as u32;
    let opened = |name: &str| {
        Case::under(name, wanted()).socket(Socket::Listening).gets(syn(), Reason::Ok).socket(open(0))
    };
    vec![
        opened("a socket: a hello that is wanted")
            .gets(at(0, &good), Reason::Ok)
            .socket(open(u64::from(end)))
            .gets(at(end, SSH), Reason::Ok)
            .socket(Socket::Unknown)
            .gets(at(end + 50, HTTP), Reason::Ok),
        opened("a socket: a hello for another").gets(at(0, &bad), Reason::ServerName),
        opened("a socket: two halves, taken late")
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, rest), Reason::Ok),
        opened("a socket: two halves, taken at once")
            .gets(at(0, half), Reason::Ok)
            .socket(open(60))
            .gets(at(60, &bad[60..]), Reason::ServerName)
            .gets(at(60, rest), Reason::Ok),
        opened("a socket: the first half again, with other bytes")
            .gets(at(0, half), Reason::Ok)
            .gets(at(0, &bad), Reason::ServerName)
            .gets(at(0, &good), Reason::Ok),
        Case::under("a socket: a connection of before the gateway", wanted())
            .socket(open(300))
            .gets(at(300, SSH), Reason::Ok),
        Case::under("a socket: nothing was taken yet, and nothing seen", wanted())
            .socket(open(0))
            .gets(at(0, &bad), Reason::ServerName)
            .gets(at(0, &good), Reason::Ok),
        Case::under("a listener: a hello in two parts", wanted())
            .socket(Socket::Listening)
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, rest), Reason::TcpSequence),
        full(&good),
    ]
}

/// A table of four first messages: who has a connection is not pushed out, and who finds no slot is asked again.
fn full(hello: &[u8]) -> Case {
    let mut stand = wanted();
    stand.sets = Sets { hellos: 1, ..Sets::default() };
    let from = |port: u16, position: usize, payload: &[u8]| {
        v4().tcp(port, 443).seq(BASE + position as u32).payload(payload)
    };
    let (half, rest) = hello.split_at(60);
    let case = Case::under("a socket: no slot for a hello", stand).socket(open(0));
    let case = (1..=4).fold(case, |case, port| case.gets(from(port, 0, half), Reason::Ok));
    case.gets(from(5, 0, half), Reason::HelloGap)
        .gets(from(2, 60, rest), Reason::Ok)
        .gets(from(5, 0, half), Reason::Ok)
        .gets(from(5, 60, rest), Reason::Ok)
}
