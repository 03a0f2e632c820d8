//! Laws of the ClientHello's prefix.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

/// Bytes that are, or nearly are, a ClientHello's first.
fn near_hello() -> impl Strategy<Value = Vec<u8>> {
    let byte = |right: Vec<u8>| prop_oneof![8 => prop::sample::select(right), 1 => any::<u8>()];
    let bytes = (
        byte(std::vec![22]),
        byte(std::vec![3]),
        byte(std::vec![0, 1, 3, 4]),
        byte(std::vec![0, 1, 2, 0x40]),
        byte(std::vec![0, 1, 200]),
        byte(std::vec![1]),
    );
    (bytes, prop::collection::vec(any::<u8>(), 0..8)).prop_map(|((a, b, c, d, e, f), rest)| {
        let mut bytes = std::vec![a, b, c, d, e, f];
        bytes.extend(rest);
        bytes
    })
}

fn judge(bytes: &[u8], position: u32) -> bool {
    may_be_hello(&bytes, 0, bytes.len() as u32, position)
}

proptest! {
    #[test]
    fn a_prefix_of_what_may_be_a_hello_may_be_one(bytes in near_hello()) {
        if judge(&bytes, 0) {
            for length in 0..=bytes.len() {
                prop_assert!(judge(&bytes[..length], 0));
            }
        }
    }

    #[test]
    fn every_cut_agrees(bytes in near_hello(), cut in 0usize..=PREFIX as usize) {
        let (head, tail) = bytes.split_at(cut);
        let parts = judge(head, 0) && (cut as u32 >= PREFIX || judge(tail, cut as u32));
        // Between the length's two bytes each is judged without the other, in favour of the client.
        if cut == 4 {
            prop_assert!(parts || !judge(&bytes, 0));
        } else {
            prop_assert_eq!(parts, judge(&bytes, 0));
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
    fn http_is_no_hello(bytes in prop::collection::vec(any::<u8>(), 3..20)) {
        prop_assert!(!(is_http(&bytes.as_slice(), 0, bytes.len() as u32) && judge(&bytes, 0)));
    }
}

#[test]
fn bytes_that_the_frame_does_not_hold_are_no_hello() {
    let bytes: &[u8] = &[22, 3, 1];
    assert!(may_be_hello(&bytes, 0, 3, 0));
    assert!(!may_be_hello(&bytes, 0, 4, 0));
    assert!(!is_http(&bytes, 1, 3));
}
