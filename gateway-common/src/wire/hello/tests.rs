//! Laws of the reader: every cut gives the same, and what it reads is what was written.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

const KEY: Key = Key([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
const ALL: u8 = want::VERSION | want::NAME;

/// A ClientHello message.
fn message(legacy: u16, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = legacy.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([4, 1, 2, 3, 4, 0, 2, 0x13, 0x01, 1, 0]);
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend((data.len() as u16).to_be_bytes());
        list.extend(data);
    }
    if !extensions.is_empty() {
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
    }
    let mut message = std::vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    message
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let mut record = std::vec![22, 3, 1];
        record.extend((part.len() as u16).to_be_bytes());
        record.extend(part);
        record
    };
    message.chunks(size).flat_map(record).collect()
}

fn name(name: &str) -> (u16, Vec<u8>) {
    let mut data = ((name.len() + 3) as u16).to_be_bytes().to_vec();
    data.push(0);
    data.extend((name.len() as u16).to_be_bytes());
    data.extend(name.as_bytes());
    (0, data)
}

fn versions(versions: &[u16]) -> (u16, Vec<u8>) {
    let mut data = std::vec![(versions.len() * 2) as u8];
    data.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
    (43, data)
}

/// Reads the parts one after the other, keeping the reader as words in between.
fn read<'a>(wants: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Reader {
    let mut reader = Reader::default();
    reader.start(wants);
    for part in parts {
        let words = reader.to_words();
        reader = Reader::default();
        reader.resume(words);
        reader.turn_to(0, part.len() as u32, KEY);
        reader.read(&part);
        if reader.outcome != Outcome::Incomplete {
            break;
        }
    }
    reader
}

fn whole(wants: u8, bytes: &[u8]) -> Reader {
    read(wants, [bytes])
}

#[test]
fn a_hello_says_its_version_and_name() {
    let grease = (0x1a1a, std::vec![]);
    let hello = message(
        0x0303,
        &[grease, name("Api.Example.Org"), versions(&[0x3a3a, 0x0304, 0x0303]), (51, std::vec![9; 1_216])],
    );
    for size in [1, 5, 100, 16_384] {
        let reader = whole(ALL, &records(&hello, size));
        assert_eq!((reader.outcome, reader.minor, reader.wants), (Outcome::Complete, 4, 0), "{size}");
        assert_eq!(reader.name, Running::of(KEY, b"api.example.org"));
        assert_eq!(reader.parent, Running::of(KEY, b".example.org"));
    }
}

#[test]
fn a_hello_without_extensions_says_its_legacy_version() {
    for (legacy, minor) in [(0x0300, 0), (0x0301, 1), (0x0302, 2), (0x0303, 3), (0x0304, 3)] {
        for extensions in [&[][..], &[(10, std::vec![1, 2, 3])]] {
            let reader = whole(ALL, &records(&message(legacy, extensions), 16_384));
            assert_eq!((reader.outcome, reader.minor), (Outcome::Complete, minor), "{legacy:x}");
            assert_ne!(reader.wants & want::NAME, 0);
        }
    }
}

#[test]
fn what_contradicts_itself_is_malformed() {
    let good = message(0x0303, &[name("a.b"), versions(&[0x0304])]);
    let place = |pattern: &[u8]| good.windows(pattern.len()).position(|window| window == pattern).unwrap();
    // Extensions longer than the message; a list, then a name, longer than its extension; an odd list of versions.
    let name_at = place(b"a.b");
    for (at, value) in
        [(name_at - 10, 99), (name_at - 7, 99), (name_at - 4, 99), (name_at - 1, 99), (good.len() - 3, 3)]
    {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(whole(ALL, &records(&bad, 16_384)).outcome, Outcome::BadHello, "byte {at}");
    }
    let mut other = records(&good, 16_384);
    other[5] = 2;
    assert_eq!(whole(ALL, &other).outcome, Outcome::NoHello);
    let mut second = records(&good, 20);
    second[25] = 23;
    assert_eq!(whole(ALL, &second).outcome, Outcome::NoHello);
}

#[test]
fn a_proxy_header_comes_first() {
    let hello = records(&message(0x0303, &[]), 16_384);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    v2.extend([1; 15]);
    let headers: [&[u8]; 5] = [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff anything 65535\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        &v2,
    ];
    for header in headers {
        let mut bytes = header.to_vec();
        bytes.extend(&hello);
        assert_eq!(whole(want::PROXY, &bytes).outcome, Outcome::Complete);
        assert_eq!(read(want::PROXY, bytes.chunks(1)).outcome, Outcome::Complete);
        for length in 0..header.len() + 10 {
            assert_eq!(whole(want::PROXY, &bytes[..length]).outcome, Outcome::Incomplete, "{length}");
        }
        let mut plain = header.to_vec();
        plain.extend(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(whole(want::PROXY, &plain).outcome, Outcome::NoHello);
    }
    assert_eq!(whole(want::PROXY, &hello).outcome, Outcome::NoProxy);
    let wrong: [&[u8]; 8] = [
        b"PROXY TCP5 192.0.2.1 198.51.100.2 40000 443\r\n",
        b"PROXY UDP4 ",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\r",
        b"PROXY TCP4 GET / HTTP/1.1\r\n",
        &[&b"PROXY UNKNOWN "[..], &[b'a'; 100]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x31",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x41",
    ];
    for header in wrong {
        assert_eq!(whole(want::PROXY, header).outcome, Outcome::BadProxy, "{header:?}");
    }
}

/// Bytes near a first message: some cut in records, some with a wrong byte, some with a PROXY header.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::option::of("[a-z]{1,9}(\\.[a-z]{1,5}){0,3}");
    let offered = prop::option::of(prop::collection::vec(any::<u16>(), 1..5));
    let wrong = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (names, offered, 1usize..300, any::<bool>(), wrong).prop_map(|(host, offered, size, proxied, wrong)| {
        let mut extensions = std::vec![(51, std::vec![3; 40])];
        extensions.extend(host.as_deref().map(name));
        extensions.extend(offered.as_deref().map(versions));
        let mut bytes = if proxied { b"PROXY UNKNOWN\r\n".to_vec() } else { Vec::new() };
        bytes.extend(records(&message(0x0303, &extensions), size));
        if let Some((at, value)) = wrong {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn every_cut_comes_to_the_same(
        bytes in near_message(),
        wants in 0u8..8,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let parts = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let (one, many) = (whole(wants, &bytes), read(wants, parts));
        prop_assert_eq!(
            (one.outcome, one.minor, one.name, one.parent, one.wants, one.position),
            (many.outcome, many.minor, many.name, many.parent, many.wants, many.position)
        );
    }

    #[test]
    fn a_prefix_never_says_something_else(bytes in near_message(), wants in 0u8..8) {
        let last = whole(wants, &bytes).outcome;
        for length in 0..bytes.len() {
            let outcome = whole(wants, &bytes[..length]).outcome;
            prop_assert!(outcome == Outcome::Incomplete || outcome == last);
        }
    }
}
