//! The tables of both sides, compared word by word.

use anyhow::{Context as _, Result, ensure};
use gateway_common::{
    abi::{PAIR_SET_WORDS, SET_WORDS},
    env::LiveEntry as _,
    tables::Table,
};
use gateway_user::host::HostEnv;
use gateway_user::kernel::Kernel;

/// Compares all that frames change, but for what only sockets bring about: see [`compare_unused`].
///
/// # Errors
/// Names the first set, ban or entry that differs.
pub fn compare_tables(host: &HostEnv, kernel: &mut Kernel) -> Result<()> {
    for table in Table::ALL {
        let width = if table.is_of_pairs() { PAIR_SET_WORDS } else { SET_WORDS };
        let (ours, theirs) = (host.tables().words(table), kernel.words(table)?);
        ensure!(
            ours.len() == theirs.len(),
            "table {}: {} and {} words",
            table.name(),
            ours.len(),
            theirs.len()
        );
        for (set, (ours, theirs)) in ours.chunks(width).zip(theirs.chunks(width)).enumerate() {
            ensure!(ours == theirs, "table {}, set {set}: host {ours:x?}, kernel {theirs:x?}", table.name());
        }
    }
    let bans: Vec<(u64, u64)> = host.bans().map(|(source, state)| (source, state.drops())).collect();
    ensure!(bans.len() == kernel.bans(), "host {} bans, kernel {}", bans.len(), kernel.bans());
    for (source, drops) in bans {
        let theirs = kernel.ban_drops(source);
        ensure!(Some(drops) == theirs, "ban of {source:x}: host {drops} drops, kernel {theirs:?}");
    }
    // None before the first was written there.
    let (ours, theirs) = (host.peer_words(), kernel.peer_words().context("cannot read peers")?);
    let is_same = if ours.is_empty() { theirs.iter().all(|&word| word == 0) } else { ours == theirs };
    ensure!(is_same, "peers of link control differ");
    for (prefix, entry) in host.stand().live.iter() {
        let (ours, theirs) = (entry.read().drops, kernel.live_drops(prefix));
        ensure!(Some(ours) == theirs, "live entry {prefix}: host {ours} drops, kernel {theirs:?}");
    }
    Ok(())
}

/// Compares tables in which nothing comes without a socket; there is none where tests run the program.
///
/// # Errors
/// Where there is something in one of them.
pub fn compare_unused(host: &HostEnv, kernel: &mut Kernel) -> Result<()> {
    let (ours, theirs) = (host.strikes().count(), kernel.strikes().count());
    ensure!((ours, theirs) == (0, 0), "sources with strikes: host {ours}, kernel {theirs}");
    let used = |words: Vec<u64>| words.into_iter().filter(|&word| word != 0).count();
    let theirs = kernel.first_syn_words().context("cannot read first_syns")?;
    let (ours, theirs) = (used(host.first_syn_words()), used(theirs));
    ensure!((ours, theirs) == (0, 0), "words of first SYNs: host {ours}, kernel {theirs}");
    Ok(())
}
