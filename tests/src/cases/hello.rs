//! First messages that are read, where no socket is known: PROXY headers, versions and server names.

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, SSH, data, syn};
use super::{Case, Draft, Offer};
use crate::builder::{Frame, hello};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;

/// A PROXY header of version 1.
const LINE: &[u8] = b"PROXY TCP4 192.0.2.9 198.51.100.2 40000 443\r\n";
/// One of version 2, with a TLV behind its addresses.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x09\xc6\x33\x64\x02\x9c\x40\x01\xbb\x04\0\x01\0";
/// A health check of version 2.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn opened(name: impl Into<String>, offer: Offer) -> Case {
    Case::under(name, Stand::new().serve(offer)).socket(Socket::Unknown).gets(syn(), Reason::Ok)
}

fn at(position: u32, payload: &[u8]) -> Frame {
    data(payload).seq(BASE.wrapping_add(position))
}

pub(super) fn cases() -> Vec<Case> {
    [versions(), names(), proxied(), splits(), order()].concat()
}

fn versions() -> Vec<Case> {
    let name = "api.example.org";
    let (old, new) = (hello::tls12(name), hello::tls13(name));
    let at_least = |case: &str, minor, bytes: &[u8], reason| {
        opened(format!("min_tls: {case}"), Offer::tls(443).min_minor(minor)).gets(at(0, bytes), reason)
    };
    vec![
        at_least("1.2 of 1.2", 3, &old, Reason::Ok).gets(at(old.len() as u32, SSH), Reason::Ok),
        at_least("1.3 of 1.2", 3, &new, Reason::Ok),
        at_least("1.2 of 1.3", 4, &old, Reason::TlsVersion).gets(at(0, &new), Reason::Ok),
        at_least("1.3 of 1.3", 4, &new, Reason::Ok),
        at_least("HTTP", 3, HTTP, Reason::PlaintextHttp),
        at_least("a hello that contradicts itself", 3, &longer(&old), Reason::HelloMalformed),
    ]
}

/// A hello whose list of extensions claims to be longer than it is.
fn longer(hello: &[u8]) -> Vec<u8> {
    let mut hello = hello.to_vec();
    // Behind record and message headers, version, random, no session, five suites and one compression method.
    hello[5 + 4 + 2 + 32 + 1 + 2 + 10 + 2] = 9;
    hello
}

fn names() -> Vec<Case> {
    const NAMES: [&str; 3] = ["api.example.org", "example.net", ".example.com"];
    let asked = |name: &str, reason| {
        let offer = Offer::tls(443).named(&NAMES);
        opened(format!("server_names: {name}"), offer).gets(at(0, &hello::tls13(name)), reason)
    };
    let nameless = [22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    let mut nameless = nameless.to_vec();
    nameless.extend([0; 32]);
    nameless.extend([0, 0, 2, 0x13, 1, 1, 0]);
    vec![
        asked("api.example.org", Reason::Ok),
        asked("API.Example.ORG", Reason::Ok),
        asked("example.net", Reason::Ok),
        asked("one.example.com", Reason::Ok),
        asked("ONE.EXAMPLE.COM", Reason::Ok),
        asked("example.com", Reason::ServerName),
        asked("one.two.example.com", Reason::ServerName),
        asked(".example.com", Reason::ServerName),
        asked("example.org", Reason::ServerName),
        asked("api.example.org.", Reason::Ok),
        asked("one.example.com.", Reason::Ok),
        asked("api.example.org..", Reason::ServerName),
        asked("example.com.", Reason::ServerName),
        asked(".", Reason::ServerName),
        asked("xapi.example.org", Reason::ServerName),
        asked("192.0.2.1", Reason::ServerName),
        opened("server_names: none is asked for", Offer::tls(443).named(&NAMES))
            .gets(at(0, &nameless), Reason::ServerName),
    ]
}

fn proxied() -> Vec<Case> {
    let hello = hello::tls13("api.example.org");
    let mut cases = Vec::new();
    for (name, header) in [("a line", LINE), ("version 2", BINARY), ("a health check", LOCAL)] {
        let behind = |payload: &[u8]| [header, payload].concat();
        let end = header.len() as u32;
        let case = |what: &str| opened(format!("PROXY, {name}: {what}"), Offer::tls(443).proxied());
        cases.extend([
            case("a hello behind it").gets(at(0, &behind(&hello)), Reason::Ok).gets(at(900, SSH), Reason::Ok),
            case("a hello in a segment of its own")
                .gets(at(0, header), Reason::Ok)
                .gets(at(end, &hello), Reason::Ok)
                .gets(at(end + hello.len() as u32, SSH), Reason::Ok),
            case("HTTP behind it").gets(at(0, &behind(HTTP)), Reason::NotTls),
            case("HTTP in a segment of its own")
                .gets(at(0, header), Reason::Ok)
                .gets(at(end, HTTP), Reason::NotTls)
                .gets(at(end, &hello), Reason::Ok),
            case("in two parts")
                .gets(at(0, &header[..7]), Reason::Ok)
                .gets(at(7, &[&header[7..], &hello].concat()), Reason::Ok),
            case("its second part first")
                .gets(at(7, &[&header[7..], &hello].concat()), Reason::HelloGap)
                .gets(at(0, &header[..7]), Reason::Ok)
                .gets(at(7, &[&header[7..], &hello].concat()), Reason::Ok),
        ]);
    }
    let plain = |what: &str, payload: &[u8]| {
        opened(format!("PROXY: {what}"), Offer::tls(443).proxied()).gets(at(0, payload), Reason::ProxyHeader)
    };
    cases.extend([
        plain("a hello without it", &hello),
        plain("HTTP without it", HTTP),
        plain("no family", b"PROXY UDP4 192.0.2.9 "),
        plain("two headers, the first bad", &[b"PROXY TCP4 x\r\n", LINE].concat()),
        opened("PROXY: two headers", Offer::tls(443).proxied())
            .gets(at(0, &[LINE, LINE, &hello].concat()), Reason::NotTls),
        opened("PROXY, and a version", Offer::tls(443).proxied().min_minor(4))
            .gets(at(0, &[LINE, &hello::tls12("a.example")].concat()), Reason::TlsVersion)
            .gets(at(0, &[LINE, &hello].concat()), Reason::Ok),
    ]);
    cases
}

/// Where the answer lies in a later segment.
fn splits() -> Vec<Case> {
    let wanted = || Offer::tls(443).named(&["api.example.org"]).min_minor(4);
    let good = hello::tls13("api.example.org");
    let bad = hello::tls13("xyz.example.org");
    let old = hello::tls12("api.example.org");
    let mut cases = Vec::new();
    for cut in [1, 5, 9, 11, 44, 60, 80, 110, 120] {
        let halves = |name: &str, hello: &[u8], reason| {
            opened(format!("{name}, cut after {cut}"), wanted())
                .gets(at(0, &hello[..cut]), Reason::Ok)
                .gets(at(cut as u32, &hello[cut..]), reason)
        };
        cases.push(
            halves("a hello that is wanted", &good, Reason::Ok).gets(at(good.len() as u32, SSH), Reason::Ok),
        );
        cases.push(halves("an old hello", &old, Reason::TlsVersion));
        // The name ends behind byte 80.
        if cut < 80 {
            cases.push(halves("a hello for another", &bad, Reason::ServerName));
        }
    }
    let bytewise = good
        .iter()
        .enumerate()
        .fold(opened("a hello that is wanted, byte by byte", wanted()), |case, (position, byte)| {
            case.gets(at(position as u32, &[*byte]), Reason::Ok)
        });
    cases.push(bytewise.gets(at(good.len() as u32, SSH), Reason::Ok));
    cases
}

fn order() -> Vec<Case> {
    let wanted = || Offer::tls(443).named(&["api.example.org"]);
    let good = hello::tls13("api.example.org");
    let bad = hello::tls13("xyz.example.org");
    let (half, rest) = good.split_at(60);
    vec![
        opened("a hello's second half first", wanted())
            .gets(at(60, rest), Reason::HelloGap)
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, rest), Reason::Ok),
        opened("a hello's first half again", wanted())
            .gets(at(0, half), Reason::Ok)
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, rest), Reason::Ok)
            .gets(at(60, rest), Reason::Ok),
        opened("a hello's halves overlap", wanted())
            .gets(at(0, half), Reason::Ok)
            .gets(at(30, &good[30..]), Reason::Ok),
        opened("a hello, then another's bytes", wanted())
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, &bad[60..]), Reason::ServerName)
            .gets(at(60, rest), Reason::Ok),
        opened("data behind half a hello", wanted())
            .gets(at(0, half), Reason::Ok)
            .gets(at(good.len() as u32, SSH), Reason::HelloGap),
        opened("a hello in the SYN, and its name", wanted())
            .gets(syn().seq(77).payload(&bad), Reason::ServerName)
            .gets(syn().seq(77).payload(&good), Reason::Ok),
    ]
}
