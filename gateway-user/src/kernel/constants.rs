//! What the object is given when it is loaded: values of its constants, sizes of its maps, and which of them are pinned.

use std::path::PathBuf;

use aya::{EbpfLoader, util::online_cpus};
use gateway_common::{
    abi::{BAN_FILTER_WORDS, INTERFACES, Identity, SERVICES, Tally},
    limit::rate::{INSTANT_SHIFT, Instant},
    tables::{Note, Table, TableSizes},
    verdict::COLUMNS,
};
use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_getres},
};

use super::{LoadOptions, btf::SocketFields, pins::Shape};
use crate::policy::TICK_MAX;

/// The maps that outlive a daemon, and what they must look like.
pub(super) fn pinned(tables: &TableSizes) -> Vec<(&'static str, Shape)> {
    let array = |value: usize, entries: u32| Shape { key: 4, value: value as u32, entries };
    let of_table =
        |table: &Table| (table.name(), array(table.set_words() * size_of::<u64>(), tables.all_sets(*table)));
    let others = [
        ("identity", array(size_of::<Identity>(), 1)),
        ("ban_filter", array(size_of::<u64>(), BAN_FILTER_WORDS)),
        ("counters", array(size_of::<Tally>() * COLUMNS, INTERFACES as u32)),
        ("service_counts", array(size_of::<u64>() * COLUMNS, SERVICES as u32)),
        ("samples_lost", array(size_of::<u64>(), 1)),
        ("notes", array(size_of::<u64>(), (Table::COUNT * Note::COUNT) as u32)),
    ];
    Table::ALL.iter().map(of_table).chain(others).collect()
}

/// What an object is given when it is loaded: values of its constants, sizes of its maps, and where these are pinned.
pub(super) struct Constants {
    identity: Identity,
    tick: Instant,
    debug_log: u32,
    testing: u32,
    fields: SocketFields,
    /// The sets of one region of each table whose size is told, by the program's constant for them.
    sets: Vec<(&'static str, u32)>,
    tables: TableSizes,
    /// Of each CPU's drop cache.
    drop_sets: u32,
    drop_shift: u32,
    pins: Vec<(&'static str, PathBuf)>,
}

impl Constants {
    pub(super) fn of(options: &LoadOptions, identity: Identity, fields: SocketFields) -> Self {
        let tables = &options.tables;
        let drop_sets = tables.drop_sets(cpus());
        let sets = Table::ALL.iter().filter_map(|table| {
            let (name, _) = table.constant()?;
            Some((name, tables.sets(*table)))
        });
        let pins = options.pins.iter();
        let pins = pins.flat_map(|pins| pinned(tables).into_iter().map(|(name, _)| (name, pins.map(name))));
        Self {
            identity,
            tick: tick(),
            debug_log: options.debug_log.into(),
            testing: options.testing.into(),
            fields,
            sets: sets.collect(),
            tables: *tables,
            drop_sets,
            drop_shift: u64::BITS - drop_sets.ilog2(),
            pins: pins.collect(),
        }
    }

    /// Gives all of it to a loader.
    pub(super) fn give<'loader, 'constants>(
        &'constants self,
        loader: &'loader mut EbpfLoader<'constants>,
    ) -> &'loader mut EbpfLoader<'constants> {
        let Self { identity, fields, drop_sets, drop_shift, .. } = self;
        for (name, sets) in &self.sets {
            loader.override_global(name, sets, true);
        }
        for table in Table::ALL {
            loader.map_max_entries(table.name(), self.tables.all_sets(table));
        }
        for name in ["drop_cache", "drop_cache_rest"] {
            loader.map_max_entries(name, drop_sets * cpus());
        }
        for (name, path) in &self.pins {
            loader.map_pin_path(name, path.as_path());
        }
        loader
            .override_global("KEY_0", &identity.key[0], true)
            .override_global("KEY_1", &identity.key[1], true)
            .override_global("DROP_SETS", drop_sets, true)
            .override_global("DROP_SHIFT", drop_shift, true)
            .override_global("EPOCH", &identity.epoch, true)
            .override_global("TICK", &self.tick, true)
            .override_global("DEBUG_LOG", &self.debug_log, true)
            .override_global("TESTING", &self.testing, true)
            .override_global("TCP_SOCK_RCV_NXT", &fields.rcv_nxt, true)
            .override_global("TCP_SOCK_RCV_WND", &fields.rcv_wnd, true)
            .override_global("TCP_SOCK_BYTES_RECEIVED", &fields.bytes_received, true)
            .override_global("TCP_REQUEST_SOCK_RCV_ISN", &fields.rcv_isn, true)
            .override_global("TCP_SOCK_RCV_WSCALE", &fields.rcv_wscale, true)
            .override_global("TCP_SOCK_RCV_WSCALE_SHIFT", &fields.rcv_wscale_shift, true)
            .override_global("TCP_SOCK_SND_UNA", &fields.snd_una, true)
            .override_global("TCP_SOCK_SND_NXT", &fields.snd_nxt, true)
            .override_global("TCP_SOCK_TS_RECENT", &fields.ts_recent, true)
            .override_global("TCP_REQUEST_SOCK_SNT_ISN", &fields.snt_isn, true)
            .override_global("REQUEST_SOCK_TS_RECENT", &fields.request_ts_recent, true)
    }
}

/// How many CPUs may have a drop cache: up to the last one that is online.
pub fn cpus() -> u32 {
    online_cpus().ok().and_then(|cpus| cpus.into_iter().max()).map_or(1, |last| last + 1)
}

/// From one tick of the kernel to the next: what the coarse clock tells apart (`TICK_NSEC`).
fn tick() -> Instant {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .map_or(TICK_MAX, |tick| tick.num_nanoseconds().unsigned_abs() << INSTANT_SHIFT)
}
