use std::vec::Vec;

use super::*;

/// The header of the client's first packet in RFC 9001 appendix A.2, and in RFC 9369 appendix A.2.
const V1_INITIAL: [u8; 18] =
    [0xc3, 0, 0, 0, 1, 8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0, 0, 0x44, 0x9e];
const V2_INITIAL: [u8; 18] =
    [0xd3, 0x6b, 0x33, 0x43, 0xcf, 8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0, 0, 0x44, 0x9e];

fn padded(header: &[u8], length: usize) -> Vec<u8> {
    let mut datagram = header.to_vec();
    datagram.resize(length, 0x5a);
    datagram
}

fn judge(datagram: &[u8], is_known: bool) -> Step<Kind> {
    read(&datagram, 0, datagram.len() as u32, is_known)
}

fn long(first: u8, version: u32, ids: (usize, usize), rest: &[u8]) -> Vec<u8> {
    let mut header = Vec::from([first]);
    header.extend(version.to_be_bytes());
    for length in [ids.0, ids.1] {
        header.push(length as u8);
        header.resize(header.len() + length, 7);
    }
    header.extend(rest);
    padded(&header, 1_200)
}

#[test]
fn the_packets_of_the_rfcs_are_initials() {
    for header in [V1_INITIAL, V2_INITIAL] {
        assert_eq!(judge(&padded(&header, 1_200), false), Step::Continue(Kind::Initial));
        assert_eq!(judge(&padded(&header, 1_199), false), drop(Reason::QuicInitialSize));
        assert_eq!(judge(&padded(&header, 1_199), true), drop(Reason::QuicInitialSize));
    }
}

#[test]
fn types_are_those_of_their_version() {
    use Kind::{Handshake, Initial};
    let lengths: &[u8] = &[0, 0x44, 0x9e];
    let types = |version, bits: u8| judge(&long(0xc0 | bits << 4, version, (8, 0), lengths), true);
    let malformed = drop(Reason::QuicMalformed);
    // 0-RTT and Handshake have no token, so their length stands where it would be: zero is too short.
    let short: &[u8] = &[0x44, 0x9e];
    let without_token = |version, bits: u8| judge(&long(0xc0 | bits << 4, version, (8, 0), short), true);
    assert_eq!(types(V1, 0), Step::Continue(Initial));
    assert_eq!(types(V2, 1), Step::Continue(Initial));
    for (version, kinds) in [(V1, [1, 2]), (V2, [2, 3])] {
        for kind in kinds {
            assert_eq!(types(version, kind), malformed);
            assert_eq!(without_token(version, kind), Step::Continue(Handshake));
        }
    }
    assert_eq!(types(V1, 3), malformed);
    assert_eq!(types(V2, 0), malformed);
}

#[test]
fn connection_ids_have_their_lengths() {
    let lengths: &[u8] = &[0, 0x44, 0];
    let initial = |ids, rest: &[u8], is_known| judge(&long(0xc0, V1, ids, rest), is_known);
    let malformed = drop(Reason::QuicMalformed);
    let fine = Step::Continue(Kind::Initial);
    assert_eq!(initial((8, 0), lengths, false), fine);
    assert_eq!(initial((20, 20), lengths, false), fine);
    assert_eq!(initial((21, 0), lengths, false), malformed);
    assert_eq!(initial((8, 21), lengths, false), malformed);
    // The server may have chosen a shorter one, for a known flow or one with a token.
    assert_eq!(initial((7, 0), lengths, false), malformed);
    assert_eq!(initial((7, 0), lengths, true), fine);
    assert_eq!(initial((0, 0), &[1, 9, 0x44, 0x90], false), fine);
}

#[test]
fn the_fixed_bit_is_free_for_who_has_learnt_so() {
    let lengths: &[u8] = &[0, 0x44, 0x9e];
    let malformed = drop(Reason::QuicMalformed);
    assert_eq!(judge(&long(0x80, V1, (8, 0), lengths), false), malformed);
    assert_eq!(judge(&long(0x80, V1, (8, 0), &[1, 9, 0x44, 0x90]), false), Step::Continue(Kind::Initial));
    assert_eq!(judge(&padded(&[0x00], 40), false), malformed);
    assert_eq!(judge(&padded(&[0x00], 40), true), Step::Continue(Kind::Short));
    assert_eq!(judge(&padded(&[0x40], 40), false), Step::Continue(Kind::Short));
}

#[test]
fn short_headers_hold_what_protection_samples() {
    assert_eq!(judge(&padded(&[0x40], 21), true), Step::Continue(Kind::Short));
    assert_eq!(judge(&padded(&[0x40], 20), true), drop(Reason::QuicMalformed));
    assert_eq!(judge(&[], true), drop(Reason::QuicMalformed));
}

#[test]
fn unknown_versions_come_through_to_be_negotiated() {
    let greased = 0x1a2a_3a4a;
    assert_eq!(judge(&long(0xc0, greased, (40, 200), &[]), false), Step::Continue(Kind::Foreign));
    assert_eq!(judge(&long(0x80, greased, (8, 8), &[]), false), Step::Continue(Kind::Foreign));
    assert_eq!(judge(&long(0xc0, greased, (8, 8), &[])[..1_199], false), drop(Reason::QuicVersion));
    assert_eq!(judge(&long(0xc0, NEGOTIATION, (8, 8), &[]), true), drop(Reason::QuicVersion));
}

#[test]
fn lengths_lie_within_the_datagram() {
    let malformed = drop(Reason::QuicMalformed);
    let fine = Step::Continue(Kind::Initial);
    let initial = |rest: &[u8]| judge(&long(0xc0, V1, (8, 0), rest), false);
    // Behind 15 bytes of header: a token of 1,000 bytes; one longer than the datagram; the largest number there is.
    assert_eq!(initial(&[[0x43, 0xe8].as_slice(), &[0; 1_000], &[20]].concat()), fine);
    assert_eq!(initial(&[0x44, 0xb0, 0, 0]), malformed);
    assert_eq!(initial(&[0xff; 8]), malformed);
    assert_eq!(initial(&[0, 19]), malformed);
    assert_eq!(initial(&[0, 20]), fine);
    assert_eq!(initial(&[0, 0x80, 0, 4, 0x9c]), fine);
    assert_eq!(initial(&[0, 0x80, 0, 4, 0x9d]), malformed);
    assert_eq!(initial(&[0, 0xc0, 0, 0, 0, 0, 0, 4, 0x98]), fine);
}

#[test]
fn every_prefix_gets_an_answer() {
    let whole = padded(&V1_INITIAL, 1_200);
    for length in 0..whole.len() {
        assert!(judge(&whole[..length], false).is_break(), "{length}");
    }
}
