//! Live entries, in the kernel's maps.

use gateway_common::{abi::Live, env::LiveEntry, words::Words as _};

use crate::{atomics::MapWords, maps::LiveCell};

/// Words of a live entry. The last one counts drops.
const LIVE_WORDS: usize = size_of::<Live>() / size_of::<u64>();
const _: () = assert!(core::mem::offset_of!(Live, drops) == (LIVE_WORDS - 1) * size_of::<u64>());

/// A live entry in its map.
#[derive(Clone, Copy)]
pub(crate) struct MapEntry(pub(crate) &'static LiveCell);

impl LiveEntry for MapEntry {
    #[inline(always)]
    fn read(self) -> Live {
        // SAFETY: a live map value of plain numbers; a count that another CPU changes meanwhile is the old or the new.
        unsafe { *self.0.0.get() }
    }

    #[inline(always)]
    fn count_drop(self) {
        if let Some(words) = MapWords::<LIVE_WORDS>::new(self.0.0.get().cast()) {
            words.add(LIVE_WORDS - 1, 1);
        }
    }
}
