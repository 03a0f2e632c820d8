//! IPv4 prefixes with their listings, as flat arrays: most look-ups read one place, and none more than a few.
//!
//! A set is made of [`Chunk`]s of one size. The first [`REGIONS`] are regions, one for each /7 of the addresses. A
//! region has a bit for each of its /22s: something in it is listed. Then the block, the /19 around it, has a code for
//! each /24: no listing; one listing for all of it, one of the two that are the most frequent in the region; or
//! [`MORE`]. Then the block's points are searched: offsets at which another listing begins. They are in the chunks
//! behind the regions.
//!
//! ```text
//! region   the listings of codes 0, 1 and 2 | a bit for each /22 | block, block, ...
//! block    a code for each /24 | its first point | how many there are
//! points   point, point, ...                a point: offset in the /19 in its upper half, listing in its lower
//! ```
//!
//! So packets from anywhere read half a MiB, which a CPU's cache holds, and a set has no memory for regions without a
//! listing.

use crate::abi::{CLASSES, Listing};

/// Regions of the address space.
pub const REGIONS: usize = 1 << (32 - REGION_BITS);
/// Chunks that a set can have: enough for the points of two million prefixes, wherever they are.
pub const CHUNKS: usize = REGIONS + 640;
/// One chunk of a set.
pub type Chunk = [u32; CHUNK_WORDS];
/// Words of a chunk.
pub const CHUNK_WORDS: usize = BLOCKS_AT + BLOCK_WORDS * BLOCKS;

/// Address bits below a region.
pub const REGION_BITS: u32 = 25;
/// Address bits below a bit's /22.
pub const BIT_BITS: u32 = 10;
/// Address bits below a code's /24.
pub const CODE_BITS: u32 = 8;
/// Address bits below a block.
pub const BLOCK_BITS: u32 = 13;
/// Blocks of a region.
pub const BLOCKS: usize = 1 << (REGION_BITS - BLOCK_BITS);
/// Points of a chunk. Those of a block are in one chunk.
pub const POINTS: usize = 1 << 14;
const _: () = assert!(POINTS <= CHUNK_WORDS && 1 << BLOCK_BITS <= POINTS);

/// The code of every other /24: the points of its block are searched.
pub const MORE: u32 = 3;
/// Codes in a word.
pub const CODES_PER_WORD: usize = 16;
/// First word of the bits. The words before it are the listings of codes below [`MORE`], in a cache line of their own.
pub const BITS_AT: usize = 16;
/// Words of bits.
pub const BIT_WORDS: usize = 1 << (REGION_BITS - BIT_BITS - 5);
/// First word of the blocks.
pub const BLOCKS_AT: usize = BITS_AT + BIT_WORDS;
/// Words of a block.
pub const BLOCK_WORDS: usize = CODE_WORDS + 2;
/// Words of a block's codes, its first.
pub const CODE_WORDS: usize = (1 << (BLOCK_BITS - CODE_BITS)) / CODES_PER_WORD;
/// The word of a block with the place of its first point: chunk behind the regions, times [`POINTS`], plus place there.
pub const FIRST: usize = CODE_WORDS;
/// The word of a block with its number of points.
pub const COUNT: usize = FIRST + 1;

/// The listing in the lower half of a word; 0: none.
pub const SAID: u32 = 0xffff;
const _: () = assert!(CLASSES <= 1 << 8);

/// A listing in half a word.
#[inline(always)]
pub const fn pack(listing: Listing) -> u16 {
    (listing.flags & 0xff | listing.class << 8) as u16
}

/// The listing in half a word.
#[inline(always)]
pub const fn unpack(said: u32) -> Listing {
    Listing { flags: said & 0xff, class: said >> 8 & 0xff, finer: 0 }
}

/// A point: the listing from an offset in a block on.
#[inline(always)]
pub const fn point(offset: u32, said: u16) -> u32 {
    offset << 16 | said as u32
}

/// The listing of the longest prefix that holds an address, if there is one. `chunk` gives a set's chunks; one that is
/// not there lists nothing.
#[inline(always)]
pub fn find<'a>(address: u32, chunk: impl Fn(u32) -> Option<&'a Chunk>) -> Option<Listing> {
    let region = chunk(address >> REGION_BITS)?;
    let bit = (address >> BIT_BITS) as usize;
    if region.get(BITS_AT + bit / 32 % BIT_WORDS)? >> (bit % 32) & 1 == 0 {
        return None;
    }
    let block = BLOCKS_AT + (address >> BLOCK_BITS) as usize % BLOCKS * BLOCK_WORDS;
    let code = (address >> CODE_BITS) as usize;
    let word = region.get(block + code / CODES_PER_WORD % CODE_WORDS)?;
    let said = match word >> (code % CODES_PER_WORD * 2) & MORE {
        0 => return None,
        MORE => search(address, *region.get(block + FIRST)?, *region.get(block + COUNT)?, chunk)?,
        code => *region.get(code as usize)?,
    };
    (said != 0).then(|| unpack(said))
}

/// The listing of the last of `count` points that is not behind an address.
#[inline(always)]
fn search<'a>(
    address: u32,
    first: u32,
    mut count: u32,
    chunk: impl Fn(u32) -> Option<&'a Chunk>,
) -> Option<u32> {
    let first = first as usize;
    let points = chunk((REGIONS + first / POINTS) as u32)?;
    let mut at = first % POINTS;
    let sought = point(address & ((1 << BLOCK_BITS) - 1), SAID as u16);
    for _ in 0..BLOCK_BITS {
        if count < 2 {
            break;
        }
        let half = count / 2;
        // By arithmetic: a branch would be mispredicted every other time, and double the verifier's paths.
        let is_after = (u64::from(sought)
            .wrapping_sub(u64::from(*points.get((at + half as usize) % POINTS)?))
            >> 32) as u32;
        at = (at + (half & !is_after) as usize) % POINTS;
        count -= half;
    }
    points.get(at).map(|point| point & SAID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::listing;

    const BLOCKED: Listing = Listing { flags: listing::BLOCK, class: 0, finer: 0 };
    const TRUSTED: Listing = Listing { flags: listing::ALLOW | listing::NEVER, class: 63, finer: 0 };

    #[test]
    fn a_listing_is_the_same_from_half_a_word() {
        for listing in [BLOCKED, TRUSTED, Listing { flags: 7, class: 1, finer: 0 }] {
            assert_eq!(unpack(u32::from(pack(listing))), listing);
        }
    }

    /// 10.0.0.0/24 is blocked, 10.0.1.0/24 is trusted, and of 10.0.2.0/24 the addresses from .8 to .9 are blocked.
    #[test]
    fn codes_and_points_say_what_was_laid_down() {
        let (mut region, mut points): (Chunk, Chunk) = ([0; CHUNK_WORDS], [0; CHUNK_WORDS]);
        region[1] = u32::from(pack(BLOCKED));
        region[2] = u32::from(pack(TRUSTED));
        let bit = (0x0a00_0000 >> BIT_BITS) as usize;
        region[BITS_AT + bit / 32 % BIT_WORDS] = 1;
        let block = BLOCKS_AT + (0x0a00_0000 >> BLOCK_BITS) as usize % BLOCKS * BLOCK_WORDS;
        region[block] = 1 | 2 << 2 | MORE << 4;
        (region[block + FIRST], region[block + COUNT]) = ((POINTS + 5) as u32, 5);
        let of = |offset: u32, said| point(offset, if said { pack(BLOCKED) } else { 0 });
        let laid = [of(0, true), point(256, pack(TRUSTED)), of(512, false), of(520, true), of(522, false)];
        points[5..10].copy_from_slice(&laid);
        let found = |address: u32| {
            find(address, |chunk| match chunk as usize {
                5 => Some(&region),
                chunk if chunk == REGIONS + 1 => Some(&points),
                _ => None,
            })
        };
        for (address, said) in [
            (0x09ff_ffff, None),
            (0x0a00_0000, Some(BLOCKED)),
            (0x0a00_00ff, Some(BLOCKED)),
            (0x0a00_0100, Some(TRUSTED)),
            (0x0a00_0200, None),
            (0x0a00_0207, None),
            (0x0a00_0208, Some(BLOCKED)),
            (0x0a00_0209, Some(BLOCKED)),
            (0x0a00_020a, None),
            (0x0a00_0300, None),
            (0xffff_ffff, None),
        ] {
            assert_eq!(found(address), said, "{address:08x}");
        }
    }
}
