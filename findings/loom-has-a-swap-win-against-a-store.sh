#!/bin/sh
# loom 0.7.2 (crate that tries all interleavings of threads in a test).
#
# Expected: a word is 1. One thread stores 2, another one replaces 1 by 3 by compare-and-swap. If the swap succeeds, it came before the store,
# since it found 1: so the word is 2 when both are done, as it is if the swap fails. C++20 [atomics.order] has an atomic
# read-modify-write read the value that was written last before its own, in the one order of all writes to the word.
# Seen: with SeqCst everywhere, loom also tries executions that end with 3. A test of a lock-free table fails for no fault of
# the table. Where the store is a swap, loom orders the two.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
loom = "=0.7.2"
TOML
cat > src/main.rs <<'RUST'
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::{sync::Arc, thread};
use std::sync::Mutex;

/// What the word is in the end, of each execution in which the compare-and-swap succeeds.
fn ends(write: fn(&AtomicUsize)) -> Vec<usize> {
    let ends = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&ends);
    loom::model(move || {
        let word = Arc::new(AtomicUsize::new(1));
        let other = Arc::clone(&word);
        let writer = thread::spawn(move || write(&other));
        let is_replaced = word.compare_exchange(1, 3, SeqCst, SeqCst).is_ok();
        writer.join().unwrap();
        if is_replaced {
            seen.lock().unwrap().push(word.load(SeqCst));
        }
    });
    let ends = ends.lock().unwrap().clone();
    ends
}

fn main() {
    let stored = ends(|word| word.store(2, SeqCst));
    let swapped = ends(|word| _ = word.swap(2, SeqCst));
    println!("{} {}", stored.contains(&3), swapped.contains(&3));
}
RUST
said=$(cargo run --quiet 2>&1 | tail -1)
case "$said" in
    "true false") echo "as described: the store is lost, the swap is not" ;;
    *) echo "no longer so: $said"; exit 1 ;;
esac
