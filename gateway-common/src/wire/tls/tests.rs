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
    let rest = (any::<[u8; 3]>(), byte(std::vec![3]), byte(std::vec![0, 1, 3, 4]));
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

fn judge(bytes: &[u8], position: u32) -> (Start, u32) {
    let mut cuts = 0;
    let start = start(&bytes, 0, bytes.len() as u32, position, &mut cuts);
    (start, cuts)
}

fn fits(bytes: &[u8], position: u32) -> bool {
    judge(bytes, position).0 == Start::Hello
}

proptest! {
    #[test]
    fn a_prefix_of_what_may_be_a_hello_may_be_one(bytes in near_hello()) {
        if fits(&bytes, 0) {
            for length in 0..=bytes.len() {
                prop_assert!(fits(&bytes[..length], 0));
            }
        }
    }

    #[test]
    fn every_cut_agrees(bytes in near_hello(), cut in 0usize..=PREFIX as usize) {
        let (head, tail) = bytes.split_at(cut);
        let (first, left) = judge(head, 0);
        let (second, right) = judge(tail, cut as u32);
        let parts = first == Start::Hello && (cut as u32 >= PREFIX || second == Start::Hello);
        // Between the length's two bytes each is judged without the other, and the cut is noted.
        if cut == 4 {
            let short = left == cut::HIGH_ZERO && right == cut::LOW_SHORT;
            let over = head[3] == 0x40 && tail[0] != 0;
            prop_assert_eq!(parts && !short && !over, fits(&bytes, 0));
        } else {
            prop_assert_eq!(parts, fits(&bytes, 0));
            prop_assert_eq!((left, right), (0, 0));
        }
    }

    #[test]
    fn what_lies_behind_the_prefix_is_not_judged(bytes in near_hello(), other: u8) {
        let mut changed = bytes.clone();
        for byte in &mut changed[PREFIX as usize..] {
            *byte = other;
        }
        prop_assert_eq!(judge(&bytes, 0), judge(&changed, 0));
    }

    #[test]
    fn nothing_is_two_things(bytes in prop::collection::vec(any::<u8>(), 3..20)) {
        let length = bytes.len() as u32;
        let bytes = bytes.as_slice();
        let is = [fits(bytes, 0), is_http(&bytes, 0, length), is_ssl2(&bytes, 0, length)];
        prop_assert!(is.into_iter().filter(|is| *is).count() <= 1);
    }
}

#[test]
fn bytes_that_the_frame_does_not_hold_are_no_hello() {
    let bytes: &[u8] = &[22, 3, 1];
    assert!(fits(bytes, 0));
    assert_eq!(start(&bytes, 0, 4, 0, &mut 0), Start::Other);
    assert!(!is_http(&bytes, 1, 3));
}

#[test]
fn old_hellos_are_told_apart() {
    assert_eq!(judge(&[22, 3, 0, 0, 90, 1, 0, 0, 86, 3, 0], 0).0, Start::Ssl3);
    assert_eq!(judge(&[22, 3, 1, 0, 90, 1, 0, 0, 86, 2, 0], 0).0, Start::Other);
    for hello in [&[0x80, 0x2e, 1, 3, 1], &[0x80, 0x1c, 1, 0, 2]] {
        assert!(is_ssl2(&hello.as_slice(), 0, 5));
        assert!(!is_ssl2(&hello.as_slice(), 0, 4));
    }
}
