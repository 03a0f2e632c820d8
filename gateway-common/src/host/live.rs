//! Live entries in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{abi::Live, env};

/// A live entry, with the packets that its ban has dropped.
#[derive(Debug)]
pub struct LiveEntry {
    said: Live,
    drops: AtomicU64,
}

impl From<Live> for LiveEntry {
    fn from(said: Live) -> Self {
        Self { said, drops: AtomicU64::new(said.drops) }
    }
}

impl Clone for LiveEntry {
    fn clone(&self) -> Self {
        env::LiveEntry::read(self).into()
    }
}

impl env::LiveEntry for &LiveEntry {
    fn read(self) -> Live {
        Live { drops: self.drops.load(Ordering::Relaxed), ..self.said }
    }

    fn count_drop(self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}
