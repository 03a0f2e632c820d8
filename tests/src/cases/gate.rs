//! The TLS gate where no socket is known: connections that pass through to another host.

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, PORT, SSH, a_hello, ack, data, syn, v4, v6};
use super::{Case, Draft, Offer};
use crate::builder::{Frame, flags, hello};

use flags::{ACK, FIN, PSH, RST, SYN, URG};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;

/// A case with a gated service.
fn gated(name: impl Into<String>) -> Case {
    Case::under(name, Stand::new().serve(Offer::tls(443))).socket(Socket::Unknown)
}

/// The same behind a SYN.
fn opened(name: impl Into<String>) -> Case {
    gated(name).gets(syn(), Reason::Ok)
}

/// Data at a place of the stream.
fn at(position: u32, payload: &[u8]) -> Frame {
    data(payload).seq(BASE.wrapping_add(position))
}

pub(super) fn cases() -> Vec<Case> {
    [
        hellos(),
        first_bytes(),
        old_versions(),
        cuts(),
        short_records(),
        records(),
        order(),
        keep_alive(),
        reuse(),
        sequence(),
        no_data(),
        unseen(),
    ]
    .concat()
}

fn hellos() -> Vec<Case> {
    let hello = a_hello();
    vec![
        opened("a hello of TLS 1.3")
            .gets(ack().seq(BASE), Reason::Ok)
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(hello.len() as u32, HTTP), Reason::Ok),
        opened("a hello of TLS 1.2").gets(at(0, &hello::tls12("api.example.org")), Reason::Ok),
        gated("a hello over IPv6").gets(v6().tcp(PORT, 443).payload(&hello), Reason::Ok),
        gated("a hello without its SYN").gets(at(0, &hello), Reason::Ok).gets(at(600, SSH), Reason::Ok),
        gated("a hello in the SYN").gets(syn().payload(&hello), Reason::Ok),
        gated("HTTP in the SYN").gets(syn().payload(HTTP), Reason::PlaintextHttp),
        gated("SSH in the SYN").gets(syn().payload(SSH), Reason::NotTls),
        gated("one byte in the SYN, the rest behind")
            .gets(syn().payload(&hello[..1]), Reason::Ok)
            .gets(at(1, &hello[1..]), Reason::Ok),
        opened("HTTP with the FIN").gets(at(0, HTTP).flags(ACK | FIN | PSH), Reason::PlaintextHttp),
        gated("a datagram to the port").gets(v4().udp(PORT, 443).payload(HTTP), Reason::Ok),
    ]
}

fn first_bytes() -> Vec<Case> {
    let requests: [&[u8]; 11] = [
        HTTP,
        b"POST /",
        b"PUT /",
        b"HEAD /",
        b"DELETE",
        b"OPTION",
        b"PATCH",
        b"CONNEC",
        b"TRACE",
        b"PRI * HTTP/2.0",
        b"HTTP/1.1 200",
    ];
    let others: [(&str, &[u8]); 18] = [
        ("SSH", SSH),
        ("half a method", b"GE"),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
        ("application data", &[23, 3, 3, 0, 32, 1]),
        ("major version 2", &[22, 2, 0, 0, 90, 1]),
        ("a record of no length", &[22, 3, 1, 0, 0, 1]),
        ("a record of one byte, then HTTP", b"\x16\x03\x01\0\x01\x01GET /"),
        ("a record of five bytes, then HTTP", b"\x16\x03\x01\0\x05\x01\0\0\x56\x03GET /"),
        ("a record of two bytes, then an alert", &[22, 3, 1, 0, 2, 1, 0, 21, 3, 3, 0, 2, 2, 40]),
        ("two records of no hello's length", &[22, 3, 1, 0, 4, 1, 0, 0, 40, 22, 3, 1]),
        ("a hello of version 2.3", &[22, 3, 1, 0, 90, 1, 0, 0, 86, 2, 3]),
        ("a record of 16,385 bytes", &[22, 3, 1, 0x40, 1, 1]),
        ("a record of 65,281 bytes", &[22, 3, 1, 0xff, 1, 1]),
        ("a ServerHello", &[22, 3, 3, 0, 90, 2]),
        ("a HelloRequest", &[22, 3, 3, 0, 4, 0]),
        ("PROXY protocol", b"PROXY TCP4 192.0.2.9"),
        ("zeros", &[0; 64]),
        ("one wrong byte", &[23]),
    ];
    let right: [(&str, &[u8]); 6] = [
        ("SSL 3.0's record", &[22, 3, 0, 0, 90, 1]),
        ("minor version 4", &[22, 3, 4, 0, 90, 1]),
        ("minor version 254", &[22, 3, 254, 0, 90, 1]),
        ("a record of six bytes", &[22, 3, 1, 0, 6, 1, 0, 0, 86, 3, 1]),
        ("a record of 255 bytes", &[22, 3, 1, 0, 255, 1]),
        ("a record of 16,384 bytes", &[22, 3, 1, 0x40, 0, 1]),
    ];
    let http = requests.iter().map(|bytes| {
        let name = String::from_utf8_lossy(bytes).chars().take(5).collect::<String>();
        opened(format!("first bytes: {name}")).gets(at(0, bytes), Reason::PlaintextHttp)
    });
    let case = |(name, bytes): &(&str, &[u8]), reason| {
        opened(format!("first bytes: {name}")).gets(at(0, bytes), reason)
    };
    let others = others.iter().map(|other| case(other, Reason::NotTls));
    http.chain(others).chain(right.iter().map(|right| case(right, Reason::Ok))).collect()
}

fn old_versions() -> Vec<Case> {
    let ssl3 = [22, 3, 0, 0, 90, 1, 0, 0, 86, 3, 0];
    vec![
        opened("a hello of SSL 2.0").gets(at(0, &[0x80, 0x2e, 1, 3, 1, 0, 0x15]), Reason::Ssl2Hello),
        opened("a hello of SSL 2.0 alone").gets(at(0, &[0x80, 0x2e, 1, 0, 2, 0, 0x15]), Reason::Ssl2Hello),
        opened("a hello of SSL 3.0").gets(at(0, &ssl3), Reason::TlsVersion),
        opened("a hello of SSL 3.0, its version alone")
            .gets(at(0, &ssl3[..10]), Reason::Ok)
            .gets(at(10, &[0]), Reason::TlsVersion)
            .gets(at(10, &[1]), Reason::Ok),
    ]
}

/// The bytes of a record's length, one by one: together they must be right, in every order and whatever was sent before.
fn short_records() -> Vec<Case> {
    let long: &[u8] = &[22, 3, 1, 1];
    let short: &[u8] = &[22, 3, 1, 0];
    vec![
        opened("a record of no length in two parts")
            .gets(at(0, short), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::NotTls)
            .gets(at(4, &[90, 1]), Reason::Ok),
        opened("a record of two bytes in three parts")
            .gets(at(0, short), Reason::Ok)
            .gets(at(4, &[2]), Reason::Ok)
            .gets(at(5, &[1, 0, 22]), Reason::Ok)
            .gets(at(8, &[3, 1, 0, 90]), Reason::Ok),
        opened("a record of two bytes, then one of three")
            .gets(at(0, short), Reason::Ok)
            .gets(at(4, &[2, 1]), Reason::Ok)
            .gets(at(4, &[3, 1]), Reason::NotTls)
            .gets(at(4, &[90, 1]), Reason::NotTls)
            .gets(at(0, long), Reason::NotTls)
            .gets(at(4, &[2, 1, 0, 22]), Reason::Ok),
        opened("a record of 256 bytes, then one of two")
            .gets(at(0, long), Reason::Ok)
            .gets(at(0, &[22, 3, 1, 0, 2, 1]), Reason::NotTls),
        opened("a record of 256 bytes in two parts")
            .gets(at(0, long), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::Ok)
            .gets(at(4, &[0]), Reason::Ok),
        opened("a record's length from its end")
            .gets(at(4, &[0, 1]), Reason::HelloGap)
            .gets(at(0, long), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::Ok)
            .gets(at(0, short), Reason::NotTls),
        opened("a record's length sent twice")
            .gets(at(0, long), Reason::Ok)
            .gets(at(0, short), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::NotTls),
        opened("a record's length and its SYN again")
            .gets(at(0, long), Reason::Ok)
            .gets(at(4, &[0, 1]), Reason::Ok)
            .gets(syn(), Reason::Ok)
            .gets(at(0, short), Reason::NotTls),
    ]
}

/// Connections that were open before the gateway came.
fn unseen() -> Vec<Case> {
    vec![
        gated("data of an unseen connection")
            .gets(at(0, &[0x17, 3, 3, 0, 40]), Reason::Ok)
            .gets(at(5, &[0xaa; 40]), Reason::Ok),
        gated("HTTP on an unseen connection").gets(at(0, HTTP), Reason::PlaintextHttp),
        opened("urgent data")
            .gets(ack().seq(BASE).flags(ACK | URG), Reason::TcpUrgent)
            .gets(at(0, &a_hello()).flags(ACK | PSH | URG), Reason::TcpUrgent)
            .gets(at(0, &a_hello()), Reason::Ok),
    ]
}

fn cuts() -> Vec<Case> {
    let hello = a_hello();
    let mut cases: Vec<Case> = (1..=8)
        .map(|cut| {
            opened(format!("a hello cut after {cut}"))
                .gets(at(0, &hello[..cut]), Reason::Ok)
                .gets(at(cut as u32, &hello[cut..]), Reason::Ok)
                .gets(at(hello.len() as u32, HTTP), Reason::Ok)
        })
        .collect();
    let bytewise = (0..8).fold(opened("a hello byte by byte"), |case, index| {
        case.gets(at(index as u32, &hello[index..=index]), Reason::Ok)
    });
    cases.push(bytewise);
    cases.extend((1..6).map(|cut| {
        opened(format!("a hello whose bytes go wrong after {cut}"))
            .gets(at(0, &hello[..cut]), Reason::Ok)
            .gets(at(cut as u32, &[0xff; 16]), Reason::NotTls)
    }));
    cases.push(
        opened("HTTP behind a hello's first byte")
            .gets(at(0, &hello[..1]), Reason::Ok)
            .gets(at(1, HTTP), Reason::NotTls),
    );
    cases
}

/// A hello in records of so many bytes each.
fn records() -> Vec<Case> {
    let sizes = [1, 2, 3, 4, 5, 6, 7, 50];
    let case = |size: &usize| {
        let stream = hello::cut(&a_hello(), *size);
        let whole = opened(format!("a hello in records of {size}"))
            .gets(at(0, &stream), Reason::Ok)
            .gets(at(stream.len() as u32, SSH), Reason::Ok);
        let bytewise = opened(format!("a hello in records of {size}, byte by byte"));
        let bytewise = (0..20)
            .fold(bytewise, |case, index| case.gets(at(index as u32, &stream[index..=index]), Reason::Ok));
        let again = opened(format!("a hello in records of {size}, sent again"))
            .gets(at(0, &stream[..7]), Reason::Ok)
            .gets(at(0, &stream), Reason::Ok)
            .gets(at(6, &stream[6..]), Reason::Ok)
            .gets(at(0, &a_hello()), if *size < 6 { Reason::NotTls } else { Reason::Ok });
        [whole, bytewise, again]
    };
    sizes.iter().flat_map(case).collect()
}

fn order() -> Vec<Case> {
    let hello = a_hello();
    vec![
        opened("a hello sent again")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(3, &hello[3..]), Reason::Ok),
        opened("a hello sent again with other bytes")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .gets(at(2, SSH), Reason::NotTls)
            .gets(at(9, SSH), Reason::NotTls)
            .gets(at(11, SSH), Reason::Ok),
        opened("a first byte sent again with other bytes")
            .gets(at(0, &hello[..1]), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
        opened("the second segment first")
            .gets(at(100, &hello[100..]), Reason::Ok)
            .gets(at(0, &hello[..100]), Reason::Ok),
        opened("the second segment first, the first HTTP")
            .gets(at(100, SSH), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
        opened("the second segment first, in the prefix")
            .gets(at(3, &hello[3..]), Reason::HelloGap)
            .gets(at(0, &hello[..3]), Reason::Ok)
            .gets(at(3, &hello[3..]), Reason::Ok),
        opened("HTTP, then a hello")
            .gets(at(0, HTTP), Reason::PlaintextHttp)
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
    ]
}

fn keep_alive() -> Vec<Case> {
    let hello = a_hello();
    let behind_garbage = |payload: &[u8]| [&[0xff], payload].concat();
    vec![
        opened("a keep-alive's garbage byte")
            .gets(at(u32::MAX, &[0xff]), Reason::Ok)
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(u32::MAX, &[0xff]), Reason::Ok),
        opened("a keep-alive before HTTP")
            .gets(at(u32::MAX, &[0xff]), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
        opened("a hello behind a garbage byte").gets(at(u32::MAX, &behind_garbage(&hello)), Reason::Ok),
        opened("HTTP behind a garbage byte").gets(at(u32::MAX, &behind_garbage(HTTP)), Reason::PlaintextHttp),
    ]
}

fn reuse() -> Vec<Case> {
    let hello = a_hello();
    let again = syn().seq(500_000);
    let second = |payload: &[u8]| data(payload).seq(500_001);
    vec![
        opened("the same ports again, with HTTP")
            .gets(at(0, &hello), Reason::Ok)
            .gets(again.clone(), Reason::Ok)
            .gets(second(HTTP), Reason::PlaintextHttp),
        opened("the same ports again, with a hello")
            .gets(at(0, &hello), Reason::Ok)
            .gets(again, Reason::Ok)
            .gets(second(&hello), Reason::Ok),
        opened("other ports are another connection")
            .gets(at(0, &hello), Reason::Ok)
            .gets(v4().tcp(PORT + 1, 443).seq(BASE + 600).payload(HTTP), Reason::PlaintextHttp),
    ]
}

fn sequence() -> Vec<Case> {
    let hello = a_hello();
    let start = |sequence: u32| syn().seq(sequence);
    let from = |sequence: u32, payload: &[u8]| data(payload).seq(sequence);
    let far = (1 << 30) + 1;
    vec![
        gated("the stream starts at 0")
            .gets(start(u32::MAX), Reason::Ok)
            .gets(from(0, &hello[..2]), Reason::Ok)
            .gets(from(2, &hello[2..]), Reason::Ok),
        gated("sequence numbers wrap in the prefix")
            .gets(start(u32::MAX - 3), Reason::Ok)
            .gets(from(u32::MAX - 2, &hello[..4]), Reason::Ok)
            .gets(from(1, &[0xff; 9]), Reason::NotTls)
            .gets(from(1, &hello[4..]), Reason::Ok),
        gated("sequence numbers wrap behind the prefix")
            .gets(start(u32::MAX - 100), Reason::Ok)
            .gets(from(u32::MAX - 99, &hello), Reason::Ok)
            .gets(from(600, HTTP), Reason::Ok),
        opened("the second round of sequence numbers")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(far, SSH), Reason::Ok)
            .gets(at(0, SSH), Reason::Ok),
        opened("the same SYN again after the second round")
            .gets(at(0, &hello), Reason::Ok)
            .gets(at(far, SSH), Reason::Ok)
            .gets(syn(), Reason::Ok)
            .gets(at(0, SSH), Reason::NotTls)
            .gets(at(0, &hello), Reason::Ok),
        opened("a jump ahead proves nothing")
            .gets(at(far, SSH), Reason::Ok)
            .gets(at(0, HTTP), Reason::PlaintextHttp),
    ]
}

fn no_data() -> Vec<Case> {
    vec![
        opened("nothing but a handshake")
            .gets(ack().seq(BASE), Reason::Ok)
            .gets(ack().seq(BASE).flags(ACK | FIN), Reason::Ok)
            .gets(ack().seq(BASE).flags(RST), Reason::Ok),
        gated("a reset with a text").gets(at(0, b"go away").flags(RST), Reason::Ok),
        gated("an answer with data").gets(at(0, HTTP).flags(SYN | ACK), Reason::PlaintextHttp),
    ]
}
