//! What the kernel's prefix sets take.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{MapInfo, loaded_maps};
use gateway_common::prefixes::Chunk;

/// How often it is looked for the most: a set that is driven out is let go within some 20 ms.
const PAUSE: Duration = Duration::from_millis(5);

/// The kernel's memory for chunks of IPv4 prefix sets, of all gateways that run: a set that is in no place any more is no
/// process's, and takes memory until nothing reads it.
#[derive(Debug, Default)]
pub struct PrefixMemory {
    /// Bytes of each map by its number, which no other gets later.
    known: HashMap<u32, u64>,
}

impl PrefixMemory {
    /// Bytes that they take now.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn read(&mut self) -> Result<u64> {
        let mut sum = 0;
        // One that goes meanwhile takes no memory.
        for map in loaded_maps().flatten().filter(|map| map.value_size() as usize == size_of::<Chunk>()) {
            sum += match self.known.get(&map.id()) {
                Some(&bytes) => bytes,
                None => {
                    let Some(bytes) = bytes(&map)? else { continue };
                    *self.known.entry(map.id()).or_insert(bytes)
                }
            };
        }
        Ok(sum)
    }

    /// Does some work, and gives the most that they took meanwhile.
    ///
    /// # Errors
    /// Where the work fails, or the kernel does not tell.
    pub fn peak<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut peak = self.read()?;
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(PAUSE);
                    peak = peak.max(self.read()?);
                }
                anyhow::Ok(peak)
            });
            let worked = work();
            done.store(true, Ordering::Relaxed);
            let peak = looking.join().map_err(|_| anyhow!("the reader panicked"))?;
            Ok((worked?, peak?))
        })
    }
}

/// The memory of a map; nothing if it is gone.
fn bytes(map: &MapInfo) -> Result<Option<u64>> {
    let Ok(descriptor) = map.fd() else { return Ok(None) };
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).context("the kernel tells no memory of maps")?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(Some(bytes.context("the kernel tells no memory of maps")?.trim().parse()?))
}
