//! IPv4 prefixes laid out as `gateway_common::prefixes` has them.

use std::{collections::HashMap, ops::Range};

use gateway_common::{
    abi::Listing,
    prefixes::{
        BIT_BITS, BITS_AT, BLOCK_BITS, BLOCK_WORDS, BLOCKS, BLOCKS_AT, CHUNK_WORDS, CODE_BITS, CODE_WORDS,
        CODES_PER_WORD, COUNT, Chunk, FIRST, MORE, POINTS, REGION_BITS, REGIONS, pack, point,
    },
};

/// A prefix: address in network order, length in bits, and what is said of it.
type Prefix = ([u8; 4], u8, Listing);

/// Addresses from one to before another, of which one thing is said.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    to: u64,
    said: u16,
}

impl Stretch {
    /// The /24s that are whole in it.
    const fn whole(&self) -> Range<usize> {
        (self.from.div_ceil(1 << CODE_BITS) as usize)..(self.to >> CODE_BITS) as usize
    }

    /// What begins with so many bits alike, and has a part of it.
    const fn parts(&self, bits: u32) -> Range<usize> {
        (self.from >> bits) as usize..self.to.div_ceil(1 << bits) as usize
    }
}

/// Lays prefixes out, of which the longest answers for an address alone. `make` gets one chunk after the other, in no order,
/// and makes of it what takes its place in the answer, by the chunk's number; regions that say nothing are none.
///
/// # Errors
/// Those of `make`.
pub fn lay<T: Clone, E>(
    prefixes: &[Prefix],
    make: impl FnMut(&Chunk) -> Result<T, E>,
) -> Result<Vec<Option<T>>, E> {
    let mut layout = Layout {
        make,
        slots: vec![None; REGIONS],
        region: Box::new([0; CHUNK_WORDS]),
        points: Box::new([0; CHUNK_WORDS]),
        used: 0,
        alike: HashMap::new(),
    };
    if prefixes.is_empty() {
        return Ok(layout.slots);
    }
    let stretches = stretches(prefixes);
    let (mut rest, mut within) = (stretches.as_slice(), Vec::new());
    for region in 0..REGIONS {
        let (start, end) = ((region as u64) << REGION_BITS, (region as u64 + 1) << REGION_BITS);
        within.clear();
        while let Some(stretch) = rest.first() {
            if stretch.from < end {
                let (from, to) = (stretch.from.max(start) - start, stretch.to.min(end) - start);
                within.push(Stretch { from, to, said: stretch.said });
            }
            if stretch.to > end {
                break;
            }
            rest = &rest[1..];
        }
        layout.slots[region] = layout.region(&within)?;
    }
    layout.flush()?;
    Ok(layout.slots)
}

/// All addresses, by what is said of them.
fn stretches(prefixes: &[Prefix]) -> Vec<Stretch> {
    let mut sorted: Vec<(u64, u8, u16)> = prefixes
        .iter()
        .map(|&(address, length, listing)| {
            let mask = u64::from(u32::MAX) << (32 - length);
            (u64::from(u32::from_be_bytes(address)) & mask, length, pack(listing))
        })
        .collect();
    // As prefixes are compiled they are in order.
    if !sorted.is_sorted_by_key(|&(address, length, _)| (address, length)) {
        sorted.sort_unstable_by_key(|&(address, length, _)| (address, length));
    }
    let mut changes = Changes(Vec::with_capacity(sorted.len() * 2 + 1));
    changes.0.push((0, 0));
    // What holds where no inner prefix does, each with its end.
    let mut outer: Vec<(u64, u16)> = vec![(1 << 32, 0)];
    for (address, length, said) in sorted {
        changes.close(&mut outer, address);
        changes.push(address, said);
        outer.push((address + (1 << (32 - length)), said));
    }
    changes.close(&mut outer, (1 << 32) - 1);
    let ends = changes.0[1..].iter().map(|&(from, _)| from).chain([1 << 32]);
    changes.0.iter().zip(ends).map(|(&(from, said), to)| Stretch { from, to, said }).collect()
}

/// Where something else begins to be said, and what.
struct Changes(Vec<(u64, u16)>);

impl Changes {
    /// Ends what ends up to an address.
    fn close(&mut self, outer: &mut Vec<(u64, u16)>, address: u64) {
        while let [.., (_, said), (end, _)] = outer.as_slice()
            && *end <= address
        {
            self.push(*end, *said);
            outer.pop();
        }
    }

    fn push(&mut self, from: u64, said: u16) {
        if self.0.last().is_some_and(|last| last.0 == from) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.1 != said) {
            self.0.push((from, said));
        }
    }
}

/// A set in the making.
struct Layout<T, F> {
    make: F,
    slots: Vec<Option<T>>,
    /// The region at hand.
    region: Box<Chunk>,
    /// The chunk of points at hand, and how many it has.
    points: Box<Chunk>,
    used: usize,
    /// Regions that say one thing of all their addresses, by that: they are one chunk.
    alike: HashMap<u16, T>,
}

impl<T: Clone, E, F: FnMut(&Chunk) -> Result<T, E>> Layout<T, F> {
    /// A region that these stretches fill.
    fn region(&mut self, stretches: &[Stretch]) -> Result<Option<T>, E> {
        let whole = match stretches {
            [Stretch { said: 0, .. }] => return Ok(None),
            [Stretch { said, .. }] => Some(*said),
            _ => None,
        };
        if let Some(same) = whole.and_then(|said| self.alike.get(&said)) {
            return Ok(Some(same.clone()));
        }
        self.region.fill(0);
        let searched = self.codes(stretches);
        self.blocks(stretches, &searched)?;
        let made = (self.make)(&self.region)?;
        if let Some(said) = whole {
            self.alike.insert(said, made.clone());
        }
        Ok(Some(made))
    }

    /// Writes bits and codes; gives the blocks that are searched.
    fn codes(&mut self, stretches: &[Stretch]) -> Vec<bool> {
        let most = most(stretches);
        for (word, &said) in self.region[1..].iter_mut().zip(&most) {
            *word = u32::from(said);
        }
        let mut searched = vec![false; BLOCKS];
        for stretch in stretches {
            let whole = stretch.whole();
            if stretch.said != 0 {
                let code = most.iter().position(|&said| said == stretch.said);
                let code = code.map_or(MORE, |index| index as u32 + 1);
                fill(whole.clone(), CODES_PER_WORD, |word, mask| {
                    self.region[code_word(word)] |= (code * ALL_CODES) & mask;
                });
                fill(stretch.parts(BIT_BITS), 32, |word, mask| self.region[BITS_AT + word] |= mask);
                if code == MORE && !whole.is_empty() {
                    searched[block_of(whole.start)..=block_of(whole.end - 1)].fill(true);
                }
            }
            if !stretch.from.is_multiple_of(1 << CODE_BITS) {
                // The /24 in which it begins; so it is where the stretch before ends.
                let place = (stretch.from >> CODE_BITS) as usize;
                self.region[code_word(place / CODES_PER_WORD)] |= MORE << (place % CODES_PER_WORD * 2);
                searched[block_of(place)] = true;
            }
        }
        searched
    }

    /// Writes the points of the blocks that are searched.
    fn blocks(&mut self, stretches: &[Stretch], searched: &[bool]) -> Result<(), E> {
        let mut rest = stretches;
        for (block, _) in searched.iter().enumerate().filter(|(_, searched)| **searched) {
            let (start, end) = ((block as u64) << BLOCK_BITS, (block as u64 + 1) << BLOCK_BITS);
            rest = &rest[rest.partition_point(|stretch| stretch.to <= start)..];
            let count = rest.iter().take_while(|stretch| stretch.from < end).count();
            if self.used + count > POINTS {
                self.flush()?;
            }
            let at = BLOCKS_AT + BLOCK_WORDS * block;
            let first = (self.slots.len() - REGIONS) * POINTS + self.used;
            (self.region[at + FIRST], self.region[at + COUNT]) = (first as u32, count as u32);
            for (word, stretch) in self.points[self.used..].iter_mut().zip(&rest[..count]) {
                *word = point((stretch.from.max(start) - start) as u32, stretch.said);
            }
            self.used += count;
        }
        Ok(())
    }

    /// Ends the chunk of points at hand.
    fn flush(&mut self) -> Result<(), E> {
        if self.used != 0 {
            self.points[self.used..].fill(0);
            let made = (self.make)(&self.points)?;
            self.slots.push(Some(made));
            self.used = 0;
        }
        Ok(())
    }
}

/// What is said of most whole /24s: two things at most.
fn most(stretches: &[Stretch]) -> Vec<u16> {
    let mut counts: HashMap<u16, usize> = HashMap::new();
    for stretch in stretches.iter().filter(|stretch| stretch.said != 0) {
        *counts.entry(stretch.said).or_default() += stretch.whole().len();
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|&(_, count)| count != 0).collect();
    counts.sort_unstable_by_key(|&(said, count)| (std::cmp::Reverse(count), said));
    counts.into_iter().map(|(said, _)| said).take(MORE as usize - 1).collect()
}

/// The block of a /24.
const fn block_of(place: usize) -> usize {
    place >> (BLOCK_BITS - CODE_BITS)
}

/// Where a region has a word of codes.
const fn code_word(word: usize) -> usize {
    BLOCKS_AT + word / CODE_WORDS * BLOCK_WORDS + word % CODE_WORDS
}

/// Code 1 in all places of a word.
const ALL_CODES: u32 = 0x5555_5555;

/// Goes through the words that places are in, of which each has so many; tells which of its bits are theirs.
fn fill(places: Range<usize>, per_word: usize, mut set: impl FnMut(usize, u32)) {
    let bits = 32 / per_word;
    let mut place = places.start;
    while place < places.end {
        let (at, first) = (place / per_word, place % per_word);
        let count = (places.end - place).min(per_word - first);
        set(at, (u32::MAX >> (32 - bits * count)) << (bits * first));
        place += count;
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, rc::Rc};

    use gateway_common::{
        abi::listing::{ALLOW, BLOCK, NEVER},
        prefixes::{CHUNKS, find},
    };
    use proptest::prelude::*;

    use super::*;

    /// A set in memory.
    struct Set(Vec<Option<Rc<Chunk>>>);

    impl Set {
        fn of(prefixes: &[Prefix]) -> Self {
            let made = lay(prefixes, |chunk| Ok::<_, Infallible>(Rc::new(*chunk)));
            Self(made.unwrap_or_else(|never| match never {}))
        }

        fn find(&self, address: u32) -> Option<Listing> {
            find(address, |chunk| self.0.get(chunk as usize)?.as_deref())
        }

        /// Different chunks.
        fn chunks(&self) -> usize {
            let mut all: Vec<_> = self.0.iter().flatten().map(Rc::as_ptr).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        }
    }

    fn mask(length: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    /// The longest prefix's listing, by looking at all.
    fn naive(prefixes: &[Prefix], address: u32) -> Option<Listing> {
        let holding = prefixes
            .iter()
            .filter(|(net, length, _)| (u32::from_be_bytes(*net) ^ address) & mask(*length) == 0);
        let longest = holding.max_by_key(|(_, length, _)| *length)?.2;
        // Nothing is said where neither flags nor a class are.
        (longest != Listing { flags: 0, class: 0, finer: 0 }).then_some(longest)
    }

    /// Addresses where something may change: both ends of each prefix, and what lies beside them.
    fn edges(prefixes: &[Prefix]) -> impl Iterator<Item = u32> {
        prefixes.iter().flat_map(|&(net, length, _)| {
            let (first, last) = (u32::from_be_bytes(net), u32::from_be_bytes(net) | !mask(length));
            [first.wrapping_sub(1), first, first.midpoint(last), last, last.wrapping_add(1)]
        })
    }

    fn agree(prefixes: &[Prefix], more: impl IntoIterator<Item = u32>) {
        let set = Set::of(prefixes);
        for address in edges(prefixes).chain([0, u32::MAX]).chain(more) {
            assert_eq!(set.find(address), naive(prefixes, address), "{address:08x} among {prefixes:?}");
        }
    }

    fn prefix(address: u32, length: u8, flags: u32, class: u32) -> Prefix {
        ((address & mask(length)).to_be_bytes(), length, Listing { flags, class, finer: 0 })
    }

    /// Prefixes of all lengths near each other and anywhere, each once.
    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        let near =
            (0u32..4, 0u32..0x400).prop_map(|(far, near)| 0x0aff_fe00u32.wrapping_add(far << 24 | near));
        let address = prop_oneof![3 => near, 1 => any::<u32>(), 1 => Just(0), 1 => Just(u32::MAX)];
        let one = (address, 0u8..=32, 0u32..8, prop_oneof![Just(0u32), 0u32..64]);
        let one = one.prop_map(|(address, length, flags, class)| prefix(address, length, flags, class));
        prop::collection::vec(one, 0..60).prop_map(|mut all| {
            all.sort_unstable_by_key(|&(net, length, _)| (net, length));
            all.dedup_by_key(|&mut (net, length, _)| (net, length));
            all
        })
    }

    proptest! {
        #[test]
        fn the_longest_prefix_answers(prefixes in prefixes(), more in prop::collection::vec(any::<u32>(), 50)) {
            agree(&prefixes, more);
        }
    }

    #[test]
    fn first_and_last_addresses_and_the_whole_space() {
        agree(&[], [1, 0x8000_0000]);
        agree(&[prefix(0, 0, BLOCK, 0)], [1, 0x8000_0000]);
        agree(&[prefix(0, 32, BLOCK, 0), prefix(u32::MAX, 32, ALLOW, 0)], [1, u32::MAX - 1]);
        agree(&[prefix(0, 0, BLOCK, 0), prefix(0x7fff_ffff, 32, 0, 0), prefix(0x8000_0000, 1, NEVER, 5)], []);
        agree(&[prefix(0x0a00_0000, 24, BLOCK, 0), prefix(0x0a00_0100, 24, BLOCK, 0)], [0x0a00_01ff]);
    }

    #[test]
    fn a_block_of_single_addresses_is_searched_to_its_end() {
        let all: Vec<_> =
            (0..8_192).map(|index| prefix(0x0a00_2000 + index, 32, 1 + index % 2, index % 64)).collect();
        let set = Set::of(&all);
        for (index, &(_, _, listing)) in all.iter().enumerate() {
            assert_eq!(set.find(0x0a00_2000 + index as u32), Some(listing));
        }
        assert_eq!((set.find(0x0a00_1fff), set.find(0x0a00_4000)), (None, None));
    }

    #[test]
    fn prefixes_in_no_order_say_the_same() {
        let nested = [(32, BLOCK), (8, ALLOW), (25, NEVER), (24, BLOCK | NEVER), (16, 0), (31, ALLOW)];
        let all = nested.map(|(length, flags)| prefix(0x0a01_0203, length, flags, u32::from(length)));
        agree(&all, []);
    }

    #[test]
    fn a_few_prefixes_take_a_few_chunks() {
        assert_eq!(Set::of(&[]).chunks(), 0);
        assert_eq!(Set::of(&[prefix(0x0a00_0001, 32, BLOCK, 0)]).chunks(), 2);
        // All regions but one are alike.
        assert_eq!(Set::of(&[prefix(0, 0, BLOCK, 0), prefix(0x0a00_0001, 32, ALLOW, 0)]).chunks(), 3);
    }

    #[test]
    fn a_million_prefixes_fit_and_none_is_lost() {
        // A step through all addresses that returns late.
        let mut all: Vec<_> =
            (0..1_000_000u32).map(|index| prefix(index.wrapping_mul(2_654_435_761), 32, BLOCK, 0)).collect();
        all.sort_unstable_by_key(|&(net, _, _)| net);
        let set = Set::of(&all);
        assert!(all.iter().all(|&(net, _, listing)| set.find(u32::from_be_bytes(net)) == Some(listing)));
        assert!(set.0.len() <= CHUNKS && set.chunks() * size_of::<Chunk>() < 24 << 20, "{}", set.chunks());
    }
}
