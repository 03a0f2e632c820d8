//! The tables of both sides, compared word by word.

use anyhow::{Result, ensure};
use gateway_common::{env::LiveEntry as _, tables::Table};
use gateway_user::host::HostEnv;
use gateway_user::kernel::Kernel;

/// The tables that frames change without a socket. User space writes bans.
pub(crate) fn of_frames() -> impl Iterator<Item = Table> {
    Table::ALL.into_iter().filter(|table| !matches!(table, Table::Bans | Table::Strikes | Table::FirstSyns))
}

/// Compares all that frames change, but for what only sockets bring about: see [`compare_unused`].
///
/// # Errors
/// Names the first set, ban or entry that differs.
pub fn compare_tables(host: &HostEnv, kernel: &mut Kernel) -> Result<()> {
    for table in of_frames() {
        let width = table.set_words();
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
    let theirs = kernel.words(Table::FirstSyns)?;
    let (ours, theirs) = (used(host.tables().words(Table::FirstSyns)), used(theirs));
    ensure!((ours, theirs) == (0, 0), "words of first SYNs: host {ours}, kernel {theirs}");
    Ok(())
}
