use std::vec::Vec;

use super::*;
use crate::packet::Address;

const LINUX: Terms =
    Terms { cookie: 0xdead_beef, mss: 1_460, clock: 1_000_000, keeps: true, sack: true, scale: 7 };

fn syn(ipv6: bool) -> Packet {
    let (source, destination) = if ipv6 {
        let address =
            |last: u64| Address { high: 0x2001_0db8 << 32 | 0xffff, low: 0xffff_0000_0000_0000 | last };
        (address(9), address(1))
    } else {
        (Address::v4([192, 0, 2, 9]), Address::v4([198, 51, 100, 1]))
    };
    Packet {
        source,
        destination,
        ipv6,
        source_port: 40_000,
        destination_port: 443,
        sequence: u32::MAX,
        ..Packet::default()
    }
}

fn offer() -> Options {
    let bytes: &[u8] = &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 9];
    let mut options = Options::default();
    options.read(&bytes, 0, bytes.len() as u32);
    options
}

fn answer(ipv6: bool, options: &Options, terms: Terms) -> SynAck {
    let mut answer = SynAck::default();
    answer.write(&syn(ipv6), options, &terms);
    answer
}

/// The bytes of a header on the wire.
fn on_wire(words: &[u32], count: u32) -> Vec<u8> {
    words[..count as usize].iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn ip(answer: &SynAck) -> Vec<u8> {
    on_wire(&answer.ip, answer.ip_words)
}

fn tcp(answer: &SynAck) -> Vec<u8> {
    on_wire(&answer.tcp, answer.tcp_words)
}

/// The sum that a receiver computes; [`CORRECT`] over correct bytes.
fn received(bytes: &[u8], pseudo: u32) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    checksum(words.sum::<u32>() + pseudo)
}

const CORRECT: u16 = 0;

#[test]
fn checksums_are_right() {
    for terms in [LINUX, Terms { keeps: false, ..LINUX }] {
        let v4 = answer(false, &offer(), terms);
        assert_eq!(received(&ip(&v4), 0), CORRECT);
        let v6 = answer(true, &offer(), terms);
        for (answer, addresses) in [(v4, 12), (v6, 8)] {
            let segment = [&ip(&answer)[addresses..], &tcp(&answer)].concat();
            assert_eq!(received(&segment, 6 + 4 * answer.tcp_words), CORRECT);
        }
    }
}

#[test]
fn addresses_ports_and_numbers_are_turned_round() {
    let v4 = answer(false, &offer(), LINUX);
    let (header, segment) = (ip(&v4), tcp(&v4));
    assert_eq!((header.len(), segment.len()), (20, 40));
    assert_eq!(header[..10], [0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6]);
    assert_eq!(header[12..], [198, 51, 100, 1, 192, 0, 2, 9]);
    assert_eq!(segment[..4], [1, 187, 0x9c, 0x40]);
    assert_eq!(segment[4..8], 0xdead_beef_u32.to_be_bytes());
    assert_eq!(segment[8..12], [0; 4], "the SYN's sequence number, wrapped");
    assert_eq!(segment[12..16], [0xa0, 0x12, 0xfa, 0xf0]);
    let v6 = ip(&answer(true, &offer(), LINUX));
    assert_eq!(v6[..8], [0x60, 0, 0, 0, 0, 40, 6, 64]);
    assert_eq!((v6[23], v6[39]), (1, 9));
}

#[test]
fn options_are_kept_in_the_timestamp() {
    let v4 = answer(false, &offer(), LINUX);
    let segment = tcp(&v4);
    assert_eq!(segment[20..28], [2, 4, 5, 180, 4, 2, 8, 10]);
    assert_eq!(segment[31] & 0x3f, 9 | 0x10);
    assert_eq!(segment[32..], [0, 0, 1, 2, 1, 3, 3, 7]);
    let terms = Terms { sack: false, scale: NO_SCALE, ..LINUX };
    let bare = tcp(&answer(false, &offer(), terms));
    assert_eq!(bare[31] & 0x3f, 0xf);
    assert_eq!((&bare[24..26], &bare[36..]), (&[1, 1][..], &[1, 1, 1, 1][..]));
}

/// Without timestamps the kernel forgets the client's options, so the client must not be told of others.
#[test]
fn without_timestamps_only_the_segment_size_is_told() {
    let none = Options::default();
    for answer in [answer(false, &none, LINUX), answer(true, &offer(), Terms { keeps: false, ..LINUX })] {
        let segment = tcp(&answer);
        assert_eq!((segment.len(), segment[12]), (24, 0x60));
        assert_eq!(segment[20..], [2, 4, 5, 180]);
    }
}

#[test]
fn timestamps_do_not_go_ahead() {
    for clock in [0, 1, 63, 64, 100, 127, u32::MAX] {
        for kept in [0, 9, 0x1f] {
            let timestamp = timestamp(clock, kept);
            assert_eq!(timestamp & 0x3f, kept);
            assert!(clock.wrapping_sub(timestamp) < 128, "{clock} {kept}");
        }
    }
}
