//! Laws of the ClientHello's prefix.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

/// Bytes that are, or nearly are, a ClientHello's first.
fn near_hello() -> impl Strategy<Value = Vec<u8>> {
    let byte = |right: Vec<u8>| prop_oneof![9 => prop::sample::select(right), 1 => any::<u8>()];
    let header = (
        byte(std::vec![22]),
        byte(std::vec![3]),
        byte(std::vec![0, 1, 3, 4]),
        byte(std::vec![0, 1, 2, 0x40]),
        byte(std::vec![0, 1, 5, 6, 200]),
        byte(std::vec![1]),
    );
    let length = [byte(std::vec![0]), byte(std::vec![0, 1]), byte(std::vec![0, 40, 41, 200])];
    let rest = (length, byte(std::vec![3]), byte(std::vec![0, 1, 3, 4]));
    (header, rest, prop::collection::vec(any::<u8>(), 0..8)).prop_map(
        |((a, b, c, d, e, f), (length, major, minor), behind)| {
            let mut bytes = std::vec![a, b, c, d, e, f];
            bytes.extend(length);
            bytes.extend([major, minor]);
            bytes.extend(behind);
            bytes
        },
    )
}

/// Judges bytes of a stream of which so much was `shown` before.
fn go_on(bytes: &[u8], position: u32, shown: &mut u32) -> Start {
    start(&bytes, 0, bytes.len() as u32, position, shown)
}

fn judge(bytes: &[u8]) -> Start {
    go_on(bytes, 0, &mut 0)
}

fn fits(bytes: &[u8]) -> bool {
    judge(bytes) == Start::Hello
}

proptest! {
    #[test]
    fn a_prefix_of_what_may_be_a_hello_may_be_one(bytes in near_hello()) {
        if fits(&bytes) {
            for length in 0..=bytes.len() {
                prop_assert!(fits(&bytes[..length]));
            }
        }
    }

    #[test]
    fn every_cut_agrees_in_every_order(
        bytes in near_hello(),
        cuts in prop::collection::btree_set(1..PREFIX as usize, 0..4),
        turn: u8,
    ) {
        let ends: Vec<_> = cuts.iter().copied().chain([bytes.len()]).collect();
        let mut parts: Vec<_> = cuts.iter().copied().chain([0]).collect();
        parts.sort_unstable();
        let mut parts: Vec<_> = parts.into_iter().zip(ends).collect();
        let turn = usize::from(turn) % parts.len();
        parts.rotate_left(turn);
        if turn % 2 == 1 {
            parts.reverse();
        }
        let mut shown = 0;
        let all = parts.iter().all(|&(from, to)| {
            go_on(&bytes[from..to], from as u32, &mut shown) == Start::Hello
        });
        prop_assert_eq!(all, fits(&bytes));
    }

    #[test]
    fn bytes_sent_again_must_fit_what_was_shown(one in near_hello(), other in near_hello(), mix: [bool; 11]) {
        // Whichever copies of the bytes TCP takes of two that passed, it takes a hello.
        let mut shown = 0;
        let both = go_on(&one, 0, &mut shown) == Start::Hello && go_on(&other, 0, &mut shown) == Start::Hello;
        let taken: Vec<_> = mix.iter().enumerate().map(|(at, first)| if *first { one[at] } else { other[at] }).collect();
        prop_assert!(!both || fits(&taken));
    }

    #[test]
    fn what_lies_behind_the_prefix_is_not_judged(bytes in near_hello(), other: u8) {
        let mut changed = bytes.clone();
        for byte in &mut changed[PREFIX as usize..] {
            *byte = other;
        }
        prop_assert_eq!(judge(&bytes), judge(&changed));
    }

    #[test]
    fn nothing_is_two_things(bytes in prop::collection::vec(any::<u8>(), 3..20)) {
        let length = bytes.len() as u32;
        let bytes = bytes.as_slice();
        let is = [fits(bytes), is_http(&bytes, 0, length), is_ssl2(&bytes, 0, length)];
        prop_assert!(is.into_iter().filter(|is| *is).count() <= 1);
    }
}

#[test]
fn bytes_that_the_frame_does_not_hold_are_no_hello() {
    let bytes: &[u8] = &[22, 3, 1];
    assert!(fits(bytes));
    assert_eq!(start(&bytes, 0, 4, 0, &mut 0), Start::Other);
    assert!(!is_http(&bytes, 1, 3));
}

#[test]
fn old_hellos_are_told_apart() {
    assert_eq!(judge(&[22, 3, 0, 0, 90, 1, 0, 0, 86, 3, 0]), Start::Ssl3);
    assert_eq!(judge(&[22, 3, 1, 0, 90, 1, 0, 0, 86, 2, 0]), Start::Other);
    for hello in [&[0x80, 0x2e, 1, 3, 1], &[0x80, 0x1c, 1, 0, 2]] {
        assert!(is_ssl2(&hello.as_slice(), 0, 5));
        assert!(!is_ssl2(&hello.as_slice(), 0, 4));
    }
}
