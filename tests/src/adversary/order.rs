//! Segments out of order, sent again, and over one another.

use super::{DECIDING, PLAIN, Read, Scenario, honest};
use Read::{All, Lawful};

pub(super) fn scenarios() -> Vec<Scenario> {
    [permutations(), again(), swaps(), before()].into_iter().flatten().collect()
}

/// Every order of the parts of a hello.
fn permutations() -> Vec<Scenario> {
    let stream = honest();
    let mut all = Vec::new();
    for ends in [&[3, 6][..], &[1, 4, 5], &[2, 5, 10]] {
        let mut parts = Vec::new();
        let mut start = 0;
        for end in ends.iter().copied().chain([stream.len()]) {
            parts.push((start as i32, stream[start..end].to_vec()));
            start = end;
        }
        for order in orders(parts.len()) {
            let name = format!("a hello cut at {ends:?}, in the order {order:?}");
            let sent = order.iter().map(|index| parts[*index].clone()).collect();
            all.push(Scenario::parts(name, sent, All(stream.clone())));
        }
    }
    all
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(last) {
        for place in 0..count {
            let mut order = order.clone();
            order.insert(place, last);
            all.push(order);
        }
    }
    all
}

/// The same place twice.
fn again() -> Vec<Scenario> {
    let stream = honest();
    let whole = || (0, honest());
    let plain = || (0, PLAIN.to_vec());
    let half = || (0, honest()[..4].to_vec());
    vec![
        Scenario::parts("a hello, twice", vec![whole(), whole()], All(stream.clone())),
        Scenario::parts(
            "a hello, half of it before and again",
            vec![half(), half(), whole()],
            All(stream.clone()),
        ),
        Scenario::parts("plaintext, then a hello in its place", vec![plain(), whole()], All(stream.clone())),
        Scenario::parts("a hello, then plaintext in its place", vec![whole(), plain()], All(stream.clone())),
        Scenario::parts("plaintext again and again", vec![plain(), plain(), plain()], Lawful),
        Scenario::parts("plaintext in the place of half a hello", vec![half(), plain()], Lawful),
    ]
}

/// Two contents for the same place out of order: the queue keeps the first or the last, whole or in part.
fn swaps() -> Vec<Scenario> {
    let stream = honest();
    let mut all = Vec::new();
    for start in 1..=DECIDING + 1 {
        let (head, tail) = stream.split_at(start as usize);
        let head = || (0, head.to_vec());
        let good = || (start, tail.to_vec());
        let bad = || (start, PLAIN.to_vec());
        // Longer than the good one, so that it replaces it in the queue.
        let long = || (start, PLAIN.repeat(9));
        let short = || (start, PLAIN[..2].to_vec());
        for (name, parts) in [
            ("plaintext", vec![bad(), head()]),
            ("plaintext, then the hello's own", vec![bad(), good(), head()]),
            ("the hello's own, then plaintext", vec![good(), bad(), head()]),
            ("the hello's own, then longer plaintext", vec![good(), long(), head()]),
            ("two bytes of plaintext, then the hello's own", vec![short(), good(), head()]),
            (
                "the hello's own, two bytes of plaintext, the hello",
                vec![good(), short(), (0, stream.clone())],
            ),
            ("longer plaintext, then the whole hello", vec![long(), (0, stream.clone())]),
        ] {
            all.push(Scenario::parts(
                format!("from byte {start} on {name}, then what is before"),
                parts,
                Lawful,
            ));
        }
        // A segment that begins inside of one part and ends inside of the next.
        let across =
            vec![(start, PLAIN[..3].to_vec()), (start - 1, stream[start as usize - 1..].to_vec()), head()];
        all.push(Scenario::parts(format!("three segments over byte {start}"), across, Lawful));
    }
    all
}

/// Segments that begin before the stream, as if a part of them had been received already.
fn before() -> Vec<Scenario> {
    let stream = honest();
    let mut all = Vec::new();
    for ahead in [1, 2, 5, 6, 11, 64] {
        let hello_before = || (-ahead, [&stream[..ahead as usize], PLAIN].concat());
        let zeros_before = || (-ahead, [&vec![0; ahead as usize][..], PLAIN].concat());
        let honest_behind = (-ahead, [&vec![0; ahead as usize][..], &stream].concat());
        for (name, parts, read) in [
            ("a hello's bytes, plaintext behind", vec![hello_before()], Lawful),
            ("zeros, plaintext behind", vec![zeros_before()], Lawful),
            // So near before its start it can be another SYN cookie, for which the zeros would be the first bytes.
            (
                "zeros, a hello behind",
                vec![honest_behind],
                if ahead <= 3 { Lawful } else { All(stream.clone()) },
            ),
            ("zeros, after half a hello", vec![(0, stream[..3].to_vec()), zeros_before()], Lawful),
            ("a hello's bytes, after half a hello", vec![(0, stream[..3].to_vec()), hello_before()], Lawful),
        ] {
            all.push(Scenario::parts(format!("{ahead} bytes before the stream {name}"), parts, read));
        }
    }
    all.push(Scenario::new("keep-alives without a byte and with a byte of garbage", |tcp, _| {
        let stream = honest();
        tcp.connect()?;
        tcp.write(-1, &[])?;
        tcp.write(-1, &[0])?;
        tcp.write(0, &stream[..4])?;
        tcp.write(3, &[])?;
        tcp.write(3, &[0x77])?;
        tcp.write(4, &stream[4..])?;
        tcp.write(stream.len() as i32 - 1, &[0])?;
        Ok(All(stream))
    }));
    all
}
