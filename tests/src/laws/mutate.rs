//! Changes to frames as an attacker, or a broken switch, would make them.

use rand::Rng;

/// Values that lie at edges.
const EDGES: [u8; 10] = [0, 1, 4, 5, 6, 0x0f, 0x40, 0x7f, 0x80, 0xff];
/// Header bytes: what lies behind is payload, and rarely interesting.
const HEADERS: usize = 120;
/// The longest frame that mutation makes.
const LONGEST: usize = 9_000;

/// Changes a frame in one to six ways.
pub fn mutate(random: &mut impl Rng, frame: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.random_range(1..=6) {
        once(random, frame, other);
    }
    frame.truncate(LONGEST);
}

fn once(random: &mut impl Rng, frame: &mut Vec<u8>, other: &[u8]) {
    let reach = frame.len().min(HEADERS);
    if reach == 0 {
        frame.push(random.random());
        return;
    }
    let place = random.random_range(0..reach);
    match random.random_range(0..9) {
        0 => frame[place] = random.random(),
        1 => frame[place] = EDGES[random.random_range(0..EDGES.len())],
        2 => frame[place] ^= 1 << random.random_range(0..8),
        3 => frame[place] = frame[place].wrapping_add(if random.random() { 1 } else { 0xff }),
        4 => frame.truncate(random.random_range(0..=frame.len())),
        5 => frame.extend(std::iter::repeat_n(random.random::<u8>(), random.random_range(1..64))),
        6 => {
            let end = frame.len().min(place + random.random_range(1..16));
            frame.drain(place..end);
        }
        7 => {
            let end = frame.len().min(place + random.random_range(1..48));
            let copy = frame[place..end].to_vec();
            frame.splice(place..place, copy);
        }
        _ => {
            let from = random.random_range(0..=other.len().min(HEADERS));
            frame.truncate(place);
            frame.extend(&other[from..]);
        }
    }
}
