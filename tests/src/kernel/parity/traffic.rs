//! What comes: frames of the table of cases and mutations of them, each several times, and when.

use rand::Rng;

use crate::cases::START;
use crate::kernel::FRAME_LENGTHS;
use crate::laws::mutate;
use crate::twins::LATE;

/// Where the EtherType is; nothing before it is looked at.
const ETHER_TYPE: usize = 12;
/// Fields of the headers by offset and length, where there are no VLAN tag, options or extension headers: of Ethernet, IPv4 and
/// IPv6, then of the transport headers behind either.
const FIELDS: [(usize, usize); 12] = [
    (ETHER_TYPE, 2),
    (14, 1),
    (16, 2),
    (18, 2),
    (20, 1),
    (20, 2),
    (23, 1),
    (26, 4),
    (30, 4),
    (22, 8),
    (30, 8),
    (38, 16),
];
const TRANSPORTS: [usize; 2] = [34, 54];
/// The same from the start of a transport header: ports, length or type, offset and flags.
const OF_TRANSPORT: [(usize, usize); 6] = [(0, 1), (1, 1), (2, 2), (4, 2), (12, 1), (13, 1)];
/// How often a frame comes at most.
const REPEATS: usize = 20;

/// An endless sequence of frames, and the times at which they come.
pub(super) struct Traffic<'a, R> {
    seeds: &'a [Vec<u8>],
    random: &'a mut R,
    /// How long it is between two frames that are not the same, as a power of two.
    pace: u32,
    now: u64,
    late: u64,
    /// The frame that comes, and how often yet.
    base: Vec<u8>,
    left: usize,
    changed: Vec<u8>,
}

impl<'a, R: Rng> Traffic<'a, R> {
    pub(super) fn new(seeds: &'a [Vec<u8>], random: &'a mut R) -> Self {
        let pace = random.random_range(18..32);
        Self { seeds, random, pace, now: START, late: 0, base: Vec::new(), left: 0, changed: Vec::new() }
    }

    /// The next frame, the time, and by how much readings of the clock are late.
    pub(super) fn next(&mut self) -> (&[u8], u64, u64) {
        if self.left == 0 {
            self.base = frame(self.seeds, self.random);
            self.left = self.random.random_range(1..=REPEATS);
            self.tick();
        } else if self.random.random_ratio(1, 32) {
            self.tick();
        }
        self.left -= 1;
        if self.random.random_ratio(2, 3) {
            return (&self.base, self.now, self.late);
        }
        self.changed.clone_from(&self.base);
        change(&mut self.changed, self.seeds, self.random);
        fit(&mut self.changed, self.random);
        (&self.changed, self.now, self.late)
    }

    /// The clock is read again: mostly it is later, now and then a little before the last reading, as on another CPU, or the same
    /// one that is late now, or is not any more.
    fn tick(&mut self) {
        let step = self.random.random_range(0..1 << self.pace);
        match self.random.random_range(0..16) {
            0 => self.now -= step,
            1 => {}
            _ => self.now += step,
        }
        self.late = if self.random.random_ratio(3, 4) { LATE } else { 0 };
    }
}

/// A frame of the table as it is, or mutated, or random bytes.
fn frame(seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let [one, other] = [(); 2].map(|()| &seeds[random.random_range(0..seeds.len())]);
    let mut frame = one.clone();
    match random.random_range(0..8) {
        0..4 => {}
        4 => frame = noise(random),
        _ => mutate(random, &mut frame, other),
    }
    fit(&mut frame, random);
    frame
}

/// Any bytes, often with an EtherType that is looked into.
fn noise(random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(*FRAME_LENGTHS.start()..200)];
    random.fill_bytes(&mut bytes);
    let kind: u16 = [0x0800, 0x86dd, 0x8100, random.random()][random.random_range(0..4)];
    bytes[ETHER_TYPE..ETHER_TYPE + 2].copy_from_slice(&kind.to_be_bytes());
    bytes
}

/// Makes it of a length that test runs take.
fn fit(frame: &mut Vec<u8>, random: &mut impl Rng) {
    frame.truncate(*FRAME_LENGTHS.end());
    while frame.len() < *FRAME_LENGTHS.start() {
        frame.push(random.random());
    }
}

/// Changes one thing of a frame: a bit, a field to what another frame has there, or the length.
fn change(frame: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut impl Rng) {
    let (offset, length) = field(random);
    match random.random_range(0..8) {
        0 => frame.extend([0; 8]),
        1 => frame.truncate(frame.len() - random.random_range(1..8)),
        2..5 => {
            let bit = random.random_range(0..length * 8);
            if let Some(byte) = frame.get_mut(offset + bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        _ => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let field = offset..offset + length;
            if let (Some(to), Some(from)) = (frame.get_mut(field.clone()), other.get(field)) {
                to.copy_from_slice(from);
            }
        }
    }
}

fn field(random: &mut impl Rng) -> (usize, usize) {
    let place = random.random_range(0..FIELDS.len() + OF_TRANSPORT.len());
    FIELDS.get(place).copied().unwrap_or_else(|| {
        let (offset, length) = OF_TRANSPORT[place - FIELDS.len()];
        (TRANSPORTS[random.random_range(0..TRANSPORTS.len())] + offset, length)
    })
}
