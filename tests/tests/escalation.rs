//! What it costs the daemon to look which neighbourhoods are over their limits.

use std::time::Duration;

use gateway_common::{
    abi::{SLOT_TATS, SLOT_WORDS},
    limit::rate::{Dimension, SECOND},
    source::KEY_V4,
    tables::{Table, TableSizes},
};
use gateway_tests::cases::{Draft as _, START, limit};
use gateway_tests::kernel::options;
use gateway_tests::lab::require_lab;
use gateway_user::escalation::{LOOK, Readings, Watch, is_over};
use gateway_user::host::Stand;
use gateway_user::kernel::{Kernel, LoadOptions};
use nix::time::{ClockId, clock_gettime};

/// Slots of a table that is larger than any that the daemon makes.
const SLOTS: u32 = 1 << 20;
/// What a look may take of the time between two, without optimisation too.
const SHARE: u32 = 2;

/// CPU time of the quickest of some turns: others may have the CPU meanwhile.
fn quickest(mut work: impl FnMut()) -> Duration {
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let turn = |_| {
        let began = used();
        work();
        used() - began
    };
    (0..5).map(turn).min().unwrap_or_default()
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_million_slots_are_looked_at_in_passing() {
    require_lab();
    let tables = TableSizes { sources: SLOTS, ..TableSizes::default() };
    let kernel = Kernel::load(&LoadOptions { tables, testing: true, ..options() }).unwrap();
    let mut readings = Readings::default();
    let took = quickest(|| assert!(readings.grown(kernel.tables().drops(Table::Sources)).is_empty()));
    println!("a million slots, of which none has dropped anything: {took:.1?}");
    assert!(took < LOOK / SHARE);
}

/// The most that there can be: every slot is of a source over its limit.
#[test]
fn a_million_offenders_are_judged_in_passing() {
    let stand = Stand::new().each(Dimension::Udp, limit(Dimension::Udp, 100, 200));
    let mut words = [0; SLOT_WORDS];
    words[SLOT_TATS + Dimension::Udp.column()] = START + 2 * SECOND;
    let limits = &stand.settings.classes[0].limits;
    let mut counts = 0;
    let mut readings = Readings::default();
    readings.grown((0..SLOTS).map(|_| counts));
    let took = quickest(|| {
        counts += 1;
        let grown = readings.grown((0..SLOTS).map(|_| counts)).into_iter();
        let over = grown.filter(|_| is_over(&words, limits, START, SECOND));
        // Sixteen of each of 65,536 networks.
        let keys = over.map(|(place, _)| KEY_V4 | (place as u64 / 16) << 8 | (place as u64 % 16));
        let changes = Watch::default().look(keys, START);
        assert!(changes.left_out > 60_000);
    });
    println!("a million offenders: {took:.1?}");
    assert!(took < 4 * LOOK);
}
