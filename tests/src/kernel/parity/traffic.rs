//! What comes: frames of the table of cases and mutations of them, each several times, and when.

use rand::Rng;

use crate::builder::{Frame, flags, ip};
use crate::cases::{CLIENT, CLIENT_V6, SERVER, SERVER_V6, START};
use crate::kernel::FRAME_LENGTHS;
use crate::laws::{frames, mutate};
use crate::twins::LATE;

/// Where the EtherType is; nothing before it is looked at.
const ETHER_TYPE: usize = 12;
/// Fields of the headers by offset and length, where there are no VLAN tag, options or extension headers: of Ethernet and IPv4.
const FIELDS_V4: [(usize, usize); 8] =
    [(ETHER_TYPE, 2), (14, 1), (16, 2), (20, 2), (23, 1), (26, 4), (30, 4), (TRANSPORT_V4, 1)];
/// The same of IPv6.
const FIELDS_V6: [(usize, usize); 8] =
    [(ETHER_TYPE, 2), (14, 1), (18, 2), (20, 1), (22, 8), (30, 8), (38, 16), (TRANSPORT_V6, 1)];
const TRANSPORT_V4: usize = 34;
const TRANSPORT_V6: usize = 54;
/// Those of a transport header behind its first byte: ports, length or code, offset and flags.
const OF_TRANSPORT: [(usize, usize); 5] = [(1, 1), (2, 2), (4, 2), (12, 1), (13, 1)];
/// Source addresses of IPv4 and IPv6, which the destination's follow.
const ADDRESSES: [(usize, usize); 2] = [(26, 4), (22, 16)];
/// How often a frame comes at most.
const REPEATS: usize = 20;
/// How many frames come by one reading of the clock at most, and now and then: many more than fill a bulk of drops.
const BY_READING: [usize; 2] = [16, 600];

/// What traffic is made of.
pub(super) struct Seeds {
    /// The frames of the table of cases.
    table: Vec<Vec<u8>>,
    /// Frames as floods have them, for both families.
    floods: Vec<Vec<u8>>,
}

impl Seeds {
    pub(super) fn new() -> Self {
        let of = |source, server| {
            let packet = ip(source, server);
            let echo = if server == SERVER { 8 } else { 128 };
            let syn = |port| packet.clone().tcp(40_000, port).flags(flags::SYN).tcp_options(&[2, 4, 5, 180]);
            let datagram = packet.clone().udp(40_000, 53).payload(b"a question of 18 b");
            let ping = packet.clone().icmp(echo, 0, [0, 1, 0, 1]).payload(&[0; 40]);
            let part = datagram.clone().payload(&[0; 64]).fragment(8, false);
            // What passes whatever the limits say.
            let essential = if server == SERVER {
                let quoted = [&[0x45; 12][..], &[198, 51, 100, 1], &[0; 12]].concat();
                packet.clone().icmp(3, 4, [0, 0, 5, 0]).payload(&quoted)
            } else {
                packet.clone().hops(255).icmp(135, 0, [0; 4]).payload(&[0; 16])
            };
            [syn(22), syn(443), datagram, ping, part, essential].map(|frame: Frame| frame.build())
        };
        let floods = [of(CLIENT, SERVER), of(CLIENT_V6, SERVER_V6)].concat();
        Self { table: frames(), floods }
    }

    fn of_table(&self, random: &mut impl Rng) -> &[u8] {
        &self.table[random.random_range(0..self.table.len())]
    }

    fn any(&self, random: &mut impl Rng) -> &[u8] {
        if random.random() {
            self.of_table(random)
        } else {
            &self.floods[random.random_range(0..self.floods.len())]
        }
    }
}

/// An endless sequence of frames, and the times at which they come.
pub(super) struct Traffic<'a, R> {
    seeds: &'a Seeds,
    random: &'a mut R,
    /// How long it is at most between two readings of the clock, as a power of two.
    pace: u32,
    now: u64,
    late: u64,
    /// How many frames are still to come before the clock is read again.
    by_reading: usize,
    /// The frame that comes, and how often yet.
    base: Vec<u8>,
    left: usize,
    changed: Vec<u8>,
}

impl<'a, R: Rng> Traffic<'a, R> {
    pub(super) fn new(seeds: &'a Seeds, random: &'a mut R) -> Self {
        let pace = random.random_range(18..32);
        Self {
            seeds,
            random,
            pace,
            now: START,
            late: 0,
            by_reading: 0,
            base: Vec::new(),
            left: 0,
            changed: Vec::new(),
        }
    }

    /// The next frame, the time, and by how much readings of the clock are late.
    pub(super) fn next(&mut self) -> (&[u8], u64, u64) {
        if self.left == 0 {
            self.base = frame(self.seeds, self.random);
            self.left = self.random.random_range(1..=REPEATS);
        }
        match self.by_reading.checked_sub(1) {
            Some(left) => self.by_reading = left,
            None => self.tick(),
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
    /// one that is late now, or is not any more, or what the last could at most be.
    fn tick(&mut self) {
        let most = BY_READING[usize::from(self.random.random_ratio(1, 32))];
        self.by_reading = self.random.random_range(0..most);
        let step = self.random.random_range(0..1 << self.pace);
        match self.random.random_range(0..16) {
            0 => self.now -= step,
            1 => {}
            2 => {
                (self.now, self.late) = (self.now + self.late, 0);
                return;
            }
            _ => self.now += step,
        }
        self.late = if self.random.random_ratio(3, 4) { LATE } else { 0 };
    }
}

/// A frame of a flood or of the table as it is, or mutated, or random bytes.
fn frame(seeds: &Seeds, random: &mut impl Rng) -> Vec<u8> {
    let mut frame = match random.random_range(0..8) {
        0..4 => seeds.any(random).to_vec(),
        4 => noise(random),
        _ => {
            let (mut frame, other) = (seeds.of_table(random).to_vec(), seeds.of_table(random));
            mutate(random, &mut frame, other);
            frame
        }
    };
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

/// Changes one thing of a frame: a bit, a field to what another frame has there or to an end of its range, the destination to the
/// source, or the length.
fn change(frame: &mut Vec<u8>, seeds: &Seeds, random: &mut impl Rng) {
    let (offset, length) = field(frame, random);
    match random.random_range(0..12) {
        0 => frame.extend([0; 8]),
        1 => frame.truncate(frame.len() - random.random_range(1..8)),
        2 => {
            let (from, length) = ADDRESSES[random.random_range(0..ADDRESSES.len())];
            if frame.len() >= from + 2 * length {
                frame.copy_within(from..from + length, from + length);
            }
        }
        3..5 => {
            let end = if random.random() { 0 } else { 0xff };
            frame.iter_mut().skip(offset).take(length).for_each(|byte| *byte = end);
        }
        5..8 => {
            let bit = random.random_range(0..length * 8);
            if let Some(byte) = frame.get_mut(offset + bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        _ => {
            let other = seeds.any(random);
            let field = offset..offset + length;
            if let (Some(to), Some(from)) = (frame.get_mut(field.clone()), other.get(field)) {
                to.copy_from_slice(from);
            }
        }
    }
}

fn field(frame: &[u8], random: &mut impl Rng) -> (usize, usize) {
    let is_v6 = frame.get(ETHER_TYPE..ETHER_TYPE + 2) == Some(&[0x86, 0xdd]);
    let (fields, transport) = if is_v6 { (FIELDS_V6, TRANSPORT_V6) } else { (FIELDS_V4, TRANSPORT_V4) };
    let place = random.random_range(0..fields.len() + OF_TRANSPORT.len());
    fields.get(place).copied().unwrap_or_else(|| {
        let (offset, length) = OF_TRANSPORT[place - fields.len()];
        (transport + offset, length)
    })
}
