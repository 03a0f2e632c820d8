//! The TLS gate where the host's own TCP answers.

use std::time::Duration;

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, SSH, a_hello, data, syn};
use super::{Case, Draft, Offer};
use crate::builder::Frame;

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;

fn gated(name: &str) -> Case {
    Case::under(name, Stand::new().serve(Offer::tls(443))).socket(Socket::Listening)
}

fn at(position: u32, payload: &[u8]) -> Frame {
    data(payload).seq(BASE.wrapping_add(position))
}

/// A connection that starts at [`BASE`] and has received so much.
const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

pub(super) fn cases() -> Vec<Case> {
    [fresh(), running(), forged()].concat()
}

fn fresh() -> Vec<Case> {
    let hello = a_hello();
    vec![
        gated("a socket: a hello")
            .gets(syn(), Reason::Ok)
            .socket(open(0))
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .socket(open(600))
            .gets(at(600, SSH), Reason::Ok)
            .gets(at(0, HTTP), Reason::Ok),
        gated("a socket: HTTP")
            .gets(syn(), Reason::Ok)
            .socket(open(0))
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .gets(at(0, SSH), Reason::NotTls),
        gated("a socket: byte by byte")
            .gets(syn(), Reason::Ok)
            .socket(open(0))
            .gets(at(0, &hello[..1]), Reason::Ok)
            .socket(open(1))
            .gets(at(1, HTTP), Reason::NotTls)
            .gets(at(1, &hello[1..5]), Reason::Ok)
            .socket(open(5))
            .gets(at(5, &[2]), Reason::NotTls)
            .gets(at(0, &hello), Reason::Ok)
            .socket(open(11))
            .gets(at(0, HTTP), Reason::Ok),
        gated("a socket: the second segment first")
            .gets(syn(), Reason::Ok)
            .socket(open(0))
            .gets(at(50, SSH), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
        gated("a listener: data before the handshake's ACK")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .gets(at(0, SSH), Reason::NotTls),
        gated("a listener remembers nothing")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(600, SSH), Reason::TcpSequence),
        gated("a jump ahead proves nothing to a socket")
            .socket(open(0))
            .gets(at((1 << 30) + 1, SSH), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
    ]
}

fn running() -> Vec<Case> {
    vec![
        gated("a connection of before the gateway")
            .socket(open(1_000_000))
            .gets(at(1_000_000, SSH), Reason::Ok)
            .socket(Socket::Unknown)
            .gets(at(1_000_100, SSH), Reason::Ok),
        gated("a proven connection stays so for a day")
            .socket(open(600))
            .gets(at(600, SSH), Reason::Ok)
            .socket(Socket::Unknown)
            .after(Duration::from_secs(86_400))
            .gets(at(700, SSH), Reason::Ok),
        gated("the prefix was received, the sequence has wrapped")
            .socket(Socket::Open { base: BASE, received: 1 << 32 })
            .gets(at(0, SSH), Reason::Ok),
    ]
}

fn forged() -> Vec<Case> {
    vec![
        gated("a forged SYN stops no connection")
            .socket(open(600))
            .gets(at(600, SSH), Reason::Ok)
            .gets(syn().seq(77 << 20), Reason::Ok)
            .gets(at(700, SSH), Reason::Ok),
        gated("a SYN into the window of a live connection")
            .socket(open(600))
            .gets(at(600, SSH), Reason::Ok)
            .gets(syn().seq(77), Reason::TcpSequence)
            .gets(at(700, SSH), Reason::Ok),
        gated("a record's length and another SYN")
            .socket(open(0))
            .gets(at(0, &[22, 3, 1, 1]), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::Ok)
            .gets(syn().seq(77 << 20), Reason::Ok)
            .gets(at(0, &[22, 3, 1, 0]), Reason::NotTls),
        gated("a forged SYN does not move the stream's start")
            .gets(syn(), Reason::Ok)
            .gets(syn().seq(900), Reason::Ok)
            .socket(open(0))
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .gets(at(0, &a_hello()), Reason::Ok),
        gated("the same ports again after a proven connection")
            .socket(open(600))
            .gets(at(600, SSH), Reason::Ok)
            .socket(Socket::Listening)
            .gets(syn().seq(500_000), Reason::Ok)
            .socket(Socket::Open { base: 500_001, received: 0 })
            .gets(data(HTTP).seq(500_001), Reason::PlaintextHttp),
    ]
}
