//! The Merkle tree over all rows of the record: RFC 6962, section 2.1, with SHA-256.
//!
//! Of the tree only its right edge is held: one hash for each one in the binary form of the number of leaves. So a leaf costs one
//! or two hashes, and the root at most 63. It is written here because the crates that have it hold all leaves in memory
//! (`ct-merkle`, `rs_merkle`), or bring an old stack of their own with them (`tlog_tiles`: thiserror 1, sha2 0.10, ed25519-dalek 2).

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What a leaf and an inner node begin with, so that one cannot be shown as the other (RFC 6962, section 2.1).
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// Tiles are this many levels of the tree high: 256 leaves, as in C2SP tlog-tiles.
const TILE_HEIGHT: u32 = 8;

/// The hash of a leaf.
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update(LEAF).chain_update(data).finalize().into()
}

/// The hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(NODE).chain_update(left).chain_update(right).finalize().into()
}

/// A whole subtree over `256^level` leaves, the first of which is `index * 256^level`. Its hash is the hash at `index` of C2SP
/// tlog-tiles' level `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// 1 for 256 leaves, 2 for 65,536, and so on.
    pub level: u8,
    /// How many of its level lie before it.
    pub index: u64,
}

impl Tile {
    /// The tile of a level that begins at a leaf, if one does.
    pub fn at(level: u8, leaf: u64) -> Option<Self> {
        let height = u32::from(level) * TILE_HEIGHT;
        let index = leaf >> height;
        (index << height == leaf).then_some(Self { level, index })
    }

    /// Its first leaf, and the one behind its last.
    pub fn leaves(self) -> std::ops::Range<u64> {
        let height = u32::from(self.level) * TILE_HEIGHT;
        self.index << height..(self.index + 1) << height
    }
}

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Hashes of whole subtrees, the largest first.
    peaks: Vec<Hash>,
}

impl Tree {
    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. Each tile that it makes whole is shown to `whole`, which says the hash to go on with: its own, or a better one.
    pub fn push(&mut self, leaf: Hash, whole: &mut impl FnMut(Tile, Hash) -> Hash) {
        self.add(0, leaf, whole);
    }

    /// Appends the leaves of a tile that begins at this size.
    pub fn push_tile(&mut self, tile: Tile, hash: Hash) {
        debug_assert_eq!(tile.leaves().start, self.size);
        self.add(u32::from(tile.level) * TILE_HEIGHT, hash, &mut |_, hash| hash);
    }

    fn add(&mut self, height: u32, hash: Hash, whole: &mut impl FnMut(Tile, Hash) -> Hash) {
        let (mut hash, mut level) = (hash, height);
        loop {
            if level > 0 && level.is_multiple_of(TILE_HEIGHT) {
                #[expect(clippy::cast_possible_truncation, reason = "a tree of u64 leaves is 64 high")]
                let tile = Tile { level: (level / TILE_HEIGHT) as u8, index: self.size >> level };
                hash = whole(tile, hash);
            }
            // Each one at the end of the size is a subtree as high as what is added, left of it.
            let left = if self.size >> level & 1 == 1 { self.peaks.pop() } else { None };
            let Some(left) = left else { break };
            hash = node_hash(&left, &hash);
            level += 1;
        }
        self.peaks.push(hash);
        self.size += 1 << height;
    }

    /// The root hash (RFC 6962, section 2.1: MTH).
    pub fn root(&self) -> Hash {
        let edge = self.peaks.iter().rev().copied();
        edge.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// The hashes of the right edge one after the other, the largest subtree's first.
    pub fn peaks(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// A tree of its size and what [`Self::peaks`] gave; nothing where the two do not fit.
    pub fn from_peaks(size: u64, peaks: &[u8]) -> Option<Self> {
        let (peaks, rest) = peaks.as_chunks::<32>();
        let fits = rest.is_empty() && peaks.len() == size.count_ones() as usize;
        fits.then(|| Self { size, peaks: peaks.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::testing::root_by_definition as by_definition, *};

    /// Inputs and roots of the Certificate Transparency project's tests (`merkle/testonly` of transparency-dev).
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_vec(), bytes(ROOTS[0]));
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.push(leaf_hash(&bytes(leaf)), &mut |_, hash| hash);
            assert_eq!(tree.root().to_vec(), bytes(root), "{}", tree.size());
        }
    }

    #[test]
    fn tiles_stand_for_their_leaves() {
        let leaves: Vec<Hash> = (0..70_000_u32).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let (mut tree, mut tiles) = (Tree::default(), Vec::new());
        for leaf in &leaves {
            tree.push(*leaf, &mut |tile, hash| {
                tiles.push((tile, hash));
                hash
            });
        }
        assert_eq!(tiles.len(), 273 + 1);
        for (tile, hash) in &tiles {
            let range = tile.leaves();
            assert_eq!(by_definition(&leaves[range.start as usize..range.end as usize]), *hash, "{tile:?}");
        }
        let mut again = Tree::default();
        again.push_tile(
            Tile { level: 2, index: 0 },
            tiles.iter().find(|(tile, _)| tile.level == 2).unwrap().1,
        );
        for (tile, hash) in tiles.iter().filter(|(tile, _)| tile.level == 1 && tile.index >= 256) {
            again.push_tile(*tile, *hash);
        }
        for leaf in &leaves[again.size() as usize..] {
            again.push(*leaf, &mut |_, hash| hash);
        }
        assert_eq!((again.size(), again.root()), (70_000, tree.root()));
    }

    #[test]
    fn an_edge_of_the_wrong_length_is_none() {
        assert_eq!(Tree::from_peaks(3, &[0; 32]), None);
        assert_eq!(Tree::from_peaks(1, &[0; 33]), None);
        assert_eq!(Tree::from_peaks(0, &[]), Some(Tree::default()));
    }

    proptest! {
        #[test]
        fn the_edge_gives_the_root_of_the_leaves(count in 0..900_u32, cut in 0..900_u32) {
            let leaves: Vec<Hash> = (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect();
            let mut tree = Tree::default();
            for (number, leaf) in (0..).zip(&leaves) {
                if number == cut {
                    tree = Tree::from_peaks(tree.size(), &tree.peaks()).unwrap();
                }
                tree.push(*leaf, &mut |_, hash| hash);
            }
            prop_assert_eq!(tree.root(), by_definition(&leaves));
        }
    }
}
