//! Keyed hashes. The key is drawn when the tables are made, so that nobody outside can aim at a set.

/// The secret of a gateway's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key(pub [u64; 2]);

/// The place of an exact 64-bit key in a table. Look-ups compare whole keys, so a collision costs room in a set, and
/// never gives a wrong bucket.
#[inline(always)]
pub const fn place(key: Key, word: u64) -> u32 {
    (spread(key, word) >> 32) as u32
}

/// A keyed multiply and fold, whose upper bits are the good ones (the constant is that of splitmix64, Steele et al.
/// 2014).
#[inline(always)]
pub const fn spread(Key([k0, k1]): Key, word: u64) -> u64 {
    let mut hash = (word ^ k0).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 32;
    hash.wrapping_mul(k1 | 1)
}

/// The hash of a name that comes byte by byte; 0: no byte has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running(pub u64);

impl Running {
    /// The hash of a whole name.
    #[inline]
    pub fn of(key: Key, name: &[u8]) -> Self {
        name.iter().fold(Self::default(), |mut hash, &byte| {
            hash.push(key, byte);
            hash
        })
    }

    /// Adds the next byte: a keyed multiply and fold for each byte, never 0 afterwards. Without the key, nobody finds
    /// two names with one hash but by 2^64 tries.
    #[inline(always)]
    pub const fn push(&mut self, Key([k0, k1]): Key, byte: u8) {
        let hash = (self.0 ^ byte as u64 ^ k0).wrapping_mul(k1 | 1);
        let hash = (hash ^ hash >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.0 = hash ^ hash >> 29 | 1;
    }
}

/// SipHash-1-3 (Aumasson and Bernstein) over whole words, for identities that are compared by their hash alone.
/// The length word of the original is left out: `N` is fixed for each use.
#[inline(always)]
pub fn fingerprint<const N: usize>(Key([k0, k1]): Key, words: [u64; N]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        state[3] ^= word;
        round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    round(&mut state);
    round(&mut state);
    round(&mut state);
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
fn round(state: &mut [u64; 4]) {
    let [mut v0, mut v1, mut v2, mut v3] = *state;
    v0 = v0.wrapping_add(v1);
    v2 = v2.wrapping_add(v3);
    v1 = v1.rotate_left(13) ^ v0;
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v1);
    v0 = v0.wrapping_add(v3);
    v1 = v1.rotate_left(17) ^ v2;
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.rotate_left(32);
    *state = [v0, v1, v2, v3];
}
