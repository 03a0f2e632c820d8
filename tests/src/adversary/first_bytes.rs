//! What the first bytes are, and how segments cut them.

use super::{DECIDING, PLAIN, Read, Scenario, honest};
use crate::builder::hello;
use Read::{All, Lawful};

pub(super) fn scenarios() -> Vec<Scenario> {
    [cuts(), others(), records()].into_iter().flatten().collect()
}

/// A hello in records of few bytes, honest and not.
fn records() -> Vec<Scenario> {
    let mut all = Vec::new();
    let hello = hello::tls12("api.example.org");
    for size in [1, 2, 3, 4, 5, 6, 50] {
        let stream = hello::cut(&hello, size);
        let whole = vec![(0, stream.clone())];
        all.push(Scenario::parts(format!("a hello in records of {size}"), whole, All(stream.clone())));
        let head: Vec<(i32, Vec<u8>)> = (0..).zip(stream[..20].iter().map(|byte| vec![*byte])).collect();
        let bytewise = [head, vec![(20, stream[20..].to_vec())]].concat();
        let name = format!("a hello in records of {size}, byte by byte");
        all.push(Scenario::parts(name, bytewise, All(stream.clone())));
        if size > 2 && size != 5 {
            continue;
        }
        // Copies of the length that say something else, while TCP may have taken either.
        for number in [1, 2, 5, 6] {
            let other = hello::cut(&hello, number);
            for end in [4, 6, DECIDING] {
                let (first, again) = (&stream[..end as usize], &other[4..]);
                let name = format!("{end} bytes of records of {size}, then of {number}");
                let parts = vec![(0, first.to_vec()), (4, again.to_vec()), (4, PLAIN.to_vec())];
                all.push(Scenario::parts(name, parts, Lawful));
            }
        }
        for end in [5, 7, 9, DECIDING] {
            let mixed = [&stream[..end as usize], PLAIN].concat();
            let name = format!("plaintext after {end} bytes of records of {size}");
            all.push(Scenario::parts(name, vec![(0, mixed)], Lawful));
        }
    }
    all
}

/// Honest and other streams, cut at each place.
fn cuts() -> Vec<Scenario> {
    let mut all = Vec::new();
    let stream = honest();
    all.push(Scenario::parts("a hello", vec![(0, stream.clone())], All(stream.clone())));
    all.push(Scenario::parts("plaintext", vec![(0, PLAIN.to_vec())], Lawful));
    for end in 1..=DECIDING {
        let cut = |stream: &[u8]| {
            let (head, tail) = stream.split_at(end as usize);
            vec![(0, head.to_vec()), (end, tail.to_vec())]
        };
        all.push(Scenario::parts(
            format!("a hello after {end} bytes of it"),
            cut(&stream),
            All(stream.clone()),
        ));
        all.push(Scenario::parts(format!("plaintext after {end} bytes of it"), cut(PLAIN), Lawful));
        let mixed = [&stream[..end as usize], PLAIN].concat();
        all.push(Scenario::parts(format!("plaintext after {end} bytes of a hello"), cut(&mixed), Lawful));
    }
    for (name, bytes, read) in [("a hello", &stream[..], All(stream.clone())), ("plaintext", PLAIN, Lawful)] {
        let single: Vec<(i32, Vec<u8>)> = (0..).zip(bytes.iter().map(|byte| vec![*byte])).collect();
        all.push(Scenario::parts(format!("{name}, byte by byte"), single.clone(), read.clone()));
        let back = single.into_iter().rev().collect();
        all.push(Scenario::parts(format!("{name}, byte by byte from the end"), back, read));
    }
    all
}

/// First bytes that are nearly those of a hello, whole, and cut at each place, in order and not.
fn others() -> Vec<Scenario> {
    let like = |changes: &[(usize, u8)]| {
        let mut stream = honest();
        for (index, byte) in changes {
            stream[*index] = *byte;
        }
        stream
    };
    let starts: Vec<(&str, Vec<u8>)> = vec![
        ("a hello of SSL 2.0", [&[0x80, 46, 1, 3, 1, 0, 21, 0, 0, 0, 16][..], PLAIN].concat()),
        ("a hello of SSL 3.0", like(&[(2, 0), (10, 0)])),
        ("a hello of SSL 3.0 in a record of TLS 1.0", like(&[(10, 0)])),
        ("a hello of version 2.3", like(&[(9, 2)])),
        ("an empty record", like(&[(3, 0), (4, 0)])),
        ("a record of 16,385 bytes", like(&[(3, 0x40), (4, 1)])),
        ("a record of 65,281 bytes", like(&[(3, 0xff), (4, 1)])),
        ("a ServerHello", like(&[(5, 2)])),
        ("application data", like(&[(0, 23)])),
        ("an alert", like(&[(0, 21)])),
        ("major version 2", like(&[(1, 2)])),
        ("minor version 9", like(&[(2, 9)])),
        ("a hello of no length", like(&[(6, 0), (7, 0), (8, 0)])),
        ("zeros", vec![0; 64]),
    ];
    let mut all = Vec::new();
    for (name, stream) in starts {
        all.push(Scenario::parts(name, vec![(0, stream.clone())], Lawful));
        for end in 1..DECIDING {
            let (head, tail) = stream.split_at(end as usize);
            let (head, tail) = ((0, head.to_vec()), (end, tail.to_vec()));
            let cut = format!("{name}, cut after {end} bytes");
            all.push(Scenario::parts(cut.clone(), vec![head.clone(), tail.clone()], Lawful));
            all.push(Scenario::parts(cut + ", the end first", vec![tail, head], Lawful));
        }
    }
    all
}
