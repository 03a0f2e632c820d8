//! Laws of the ClientHello's prefix.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

/// Bytes that are, or nearly are, a ClientHello's first: in a long record, or in a short one and the next one's header.
fn near_hello() -> impl Strategy<Value = Vec<u8>> {
    let byte = |right: Vec<u8>| prop_oneof![9 => prop::sample::select(right), 1 => any::<u8>()];
    let header = move || {
        (
            byte(std::vec![22]),
            byte(std::vec![3]),
            byte(std::vec![0, 1, 3, 4]),
            byte(std::vec![0, 1, 2, 0x40]),
            byte(std::vec![0, 1, 2, 3, 4, 5, 6, 200]),
        )
    };
    let kind = byte(std::vec![1]);
    let length = [byte(std::vec![0]), byte(std::vec![0, 1]), byte(std::vec![0, 40, 41, 200])];
    let rest = (kind, length, byte(std::vec![3]), byte(std::vec![0, 1, 3, 4]));
    let first = prop_oneof![Just(None), (1..6_u8).prop_map(Some)];
    (first, header(), header(), rest, prop::collection::vec(any::<u8>(), 0..8)).prop_map(
        |(first, (a, b, c, d, e), next, (kind, length, major, minor), behind)| {
            let mut message = std::vec![kind];
            message.extend(length);
            message.extend([major, minor]);
            let mut bytes = std::vec![a, b, c];
            if let Some(first) = first {
                bytes.extend([0, first]);
                let (head, tail) = message.split_at(first.into());
                bytes.extend(head);
                bytes.extend([next.0, next.1, next.2, next.3, next.4]);
                bytes.extend(tail);
            } else {
                bytes.extend([d, e]);
                bytes.extend(message);
            }
            bytes.extend(behind);
            bytes
        },
    )
}

/// Judges bytes of a stream of which so much was `shown` before.
fn go_on(bytes: &[u8], position: u32, shown: &mut u32) -> Start {
    let part = Part { offset: 0, length: bytes.len() as u32, position };
    part.start(&bytes, part.short_record(&bytes, *shown), shown, |number| number)
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
    fn every_cut_agrees(bytes in near_hello(), cuts in prop::collection::btree_set(1..PREFIX as usize, 0..6)) {
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let mut shown = 0;
        let all = starts.zip(ends).all(|(from, to)| {
            go_on(&bytes[from..to], from as u32, &mut shown) == Start::Hello
        });
        prop_assert_eq!(all, fits(&bytes));
    }

    #[test]
    fn bytes_sent_again_must_fit_what_was_shown(
        streams in [near_hello(), near_hello()],
        segments in prop::collection::vec((0..2_usize, 0..PREFIX, 1..=PREFIX), 1..8),
        taken: [usize; PREFIX as usize],
    ) {
        // Whichever copies of the bytes TCP takes of those that passed, it takes a hello.
        let (mut shown, mut reached) = (0, 0);
        let mut passed = std::vec![Vec::new(); PREFIX as usize];
        for (stream, from, length) in segments {
            let (from, to) = (from.min(reached), PREFIX.min(from.min(reached) + length));
            let bytes = &streams[stream][from as usize..to as usize];
            let mut seen = shown;
            if go_on(bytes, from, &mut seen) == Start::Hello {
                (shown, reached) = (seen, reached.max(to));
                passed[from as usize..to as usize].iter_mut().zip(bytes).for_each(|(all, byte)| all.push(*byte));
            }
        }
        let read = passed.iter().zip(taken).take(reached as usize);
        let read: Vec<_> = read.map(|(all, which)| all[which % all.len()]).collect();
        prop_assert!(fits(&read), "{read:?}");
    }

    #[test]
    fn a_whole_prefix_is_judged_as_in_parts(bytes in near_hello()) {
        // With a bit that says something else.
        let (mut at_once, mut in_parts) = (128, 128);
        let judged = start(bytes[..PREFIX as usize].try_into().unwrap(), &mut at_once);
        let wanted = go_on(&bytes, 0, &mut in_parts);
        match judged {
            None => prop_assert!(wanted == Start::Other || shown::is_short(in_parts)),
            Some(Start::Hello) => prop_assert_eq!((wanted, in_parts), (Start::Hello, at_once)),
            Some(_) => prop_assert_ne!(wanted, Start::Hello),
        }
    }

    #[test]
    fn a_whole_prefix_again_is_judged_as_in_parts(first in near_hello(), bytes in near_hello()) {
        let mut shown = 0;
        prop_assume!(go_on(&first, 0, &mut shown) == Start::Hello);
        let (mut at_once, mut in_parts) = (shown, shown);
        let judged = start(bytes[..PREFIX as usize].try_into().unwrap(), &mut at_once);
        let wanted = go_on(&bytes, 0, &mut in_parts);
        match judged {
            None => {}
            Some(Start::Hello) => prop_assert_eq!((wanted, in_parts), (Start::Hello, at_once)),
            Some(_) => prop_assert_ne!(wanted, Start::Hello),
        }
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
    let part = Part { offset: 0, length: 4, position: 0 };
    assert_eq!(part.start(&bytes, 0, &mut 0, |number| number), Start::Other);
    assert!(!is_http(&bytes, 1, 3));
}

#[test]
fn records_end_anywhere_behind_their_headers() {
    let message = [1, 0, 0, 86, 3, 3];
    for first in 1..6 {
        let mut bytes = std::vec![22, 3, 1, 0, first];
        bytes.extend(&message[..first.into()]);
        bytes.extend([22, 3, 1, 0, 6]);
        assert!(fits(&bytes), "{bytes:?}");
        let next = 5 + usize::from(first);
        for (at, wrong) in [(3, 0x41), (4, 0), (5, 2), (next, 23), (next + 1, 2), (next + 3, 0x41)] {
            let mut other = bytes.clone();
            other[at] = wrong;
            assert_eq!(at >= PREFIX as usize, fits(&other), "{other:?}");
        }
        for at in [2, next + 2] {
            let mut other = bytes.clone();
            other[at] = 254;
            assert!(fits(&other), "any minor version: {other:?}");
        }
    }
    assert!(!fits(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0]), "an empty record");
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
