//! What the gateway tells of itself: status, metrics and sources.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use gateway_common::{
    abi::{ABI_VERSION, BANS_MAX, Class, Limits, SLOT_BYTES, SLOT_COUNTS, SLOT_KEY, SLOT_TATS},
    limit::rate::{self, Dimension},
    tables::{Note, Table},
    verdict::{Action, Reason},
};
use ipnet::IpNet;

use crate::{
    bans::table::source_by_limits,
    connections::{Cause, watched},
    escalation::Neighbourhood,
    kernel::{KernelError, tables::Slot},
    live,
    metrics::Snapshot,
    model::{
        LimitScope, Mode, Order, Prefix,
        document::{
            Budget, ConnectionRow, EndedRow, Escalated, InterfaceRow, ModeRow, ResetRow, ServiceRow,
            SourceRow, Status, TableRow, TlsGate, TrafficRow,
        },
        keyword::Keyword as _,
    },
    policy::modes,
};

use super::{
    part::{attach::Attached, sockets},
    state::Gateway,
};

impl Gateway {
    /// The status document.
    pub(super) fn status(&self) -> Result<Status, KernelError> {
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            pid: std::process::id(),
            mode: self.mode(),
            mode_until_at: self.live.mode.and_then(|(_, until)| until),
            modes: self.mode_rows(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: self.generation,
            config_path: self.config_path(),
            tls_gate: TlsGate {
                asks_host: self.kernel.sockets_missing().is_none(),
                forwards: host_forwards(),
            },
            sockets: sockets::row(&self.kernel),
            interfaces: self.interface_rows(),
            traffic: self.traffic()?,
            services: self.service_rows()?,
            tables: self.table_rows()?,
            escalated: self.escalated(),
            refused_reset: self.reset_rows(),
            connections: self.connection_rows(),
            warnings: self.all_warnings(),
        })
    }

    /// Everything that the metrics page tells.
    pub(super) fn snapshot(&self) -> Result<Snapshot, KernelError> {
        let (record_rows, waiting_since) = self.store.progress();
        Ok(Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            interfaces: self.interface_rows(),
            traffic: self.traffic()?,
            services: self.service_rows()?,
            tables: self.table_rows()?,
            bans: self.bans.all.counts().map(|(origin, bans)| (origin.to_string(), bans as u64)).collect(),
            ban_changes: self.bans.changes(),
            modes: Mode::KEYWORDS
                .iter()
                .map(|(word, mode)| ((*word).to_owned(), *mode == self.mode()))
                .collect(),
            floods: self.flood_rows(),
            record_rows,
            record_lag: waiting_since.map_or(0, |since| live::now_ms().saturating_sub(since) / 1_000),
            record_lost: self.store.lost(),
            escalated: self.escalated(),
            refused_reset: self.reset_rows(),
            connections: self.connection_rows(),
            asks_sockets: self.kernel.sockets_missing().is_none(),
            events_lost: self.hub.lost,
            reloads_ok: self.reloads_ok,
            reloads_failed: self.reloads_failed,
            last_reload_at: self.applied_at,
        })
    }

    /// Floods by service and reason, those that are monitored with those that are dropped.
    fn flood_rows(&self) -> Vec<(String, String, u64, bool)> {
        let mut rows: BTreeMap<(String, String), (u64, bool)> = BTreeMap::new();
        for (key, begun, is_active) in self.drops.floods.counts() {
            let name = (key.service.clone().unwrap_or_default(), key.reason.to_owned());
            let row = rows.entry(name).or_default();
            *row = (row.0 + begun, row.1 | is_active);
        }
        rows.into_iter().map(|((service, reason), (begun, on))| (service, reason, begun, on)).collect()
    }

    fn escalated(&self) -> Escalated {
        let [ipv4, ipv6] = self.pressure.watch.counts();
        Escalated { ipv4, ipv6 }
    }

    fn reset_rows(&self) -> Vec<ResetRow> {
        let Some(ender) = &self.ender else { return Vec::new() };
        self.config
            .gated()
            .filter_map(|service| {
                let row = *self.rows().0.get(&service.name)?;
                Some(ResetRow { service: service.name.clone(), connections: ender.ended(row) })
            })
            .collect()
    }

    fn connection_rows(&self) -> Vec<ConnectionRow> {
        let Some(watcher) = &self.watcher else { return Vec::new() };
        watched(&self.config)
            .filter_map(|service| {
                let row = *self.rows().0.get(&service.name)?;
                let ended = |cause: Cause| EndedRow {
                    cause: cause.name().to_owned(),
                    connections: watcher.ended(row, cause),
                };
                Some(ConnectionRow {
                    service: service.name.clone(),
                    open: watcher.open(row),
                    ended: Cause::ALL.map(ended).to_vec(),
                })
            })
            .collect()
    }

    fn interface_rows(&self) -> Vec<InterfaceRow> {
        let row = |attached: &Attached| InterfaceRow {
            name: attached.name.clone(),
            index: attached.index,
            driver: attached.driver.name().to_owned(),
            attached: attached.lost.is_none(),
            lost: attached.lost.clone(),
        };
        self.attached.iter().map(row).collect()
    }

    fn traffic(&self) -> Result<Vec<TrafficRow>, KernelError> {
        let mut rows = Vec::new();
        for (place, attached) in self.attached.iter().enumerate() {
            let tallies = self.kernel.tallies(place)?;
            for (action, reason) in outcomes() {
                let tally = tallies(action, reason);
                rows.push(TrafficRow {
                    interface: attached.name.clone(),
                    verdict: action,
                    reason: reason.name().to_owned(),
                    packets: tally.packets,
                    bytes: tally.bytes,
                });
            }
        }
        Ok(rows)
    }

    fn mode_rows(&self) -> Vec<ModeRow> {
        let row = |(scope, configured): (LimitScope, Mode)| {
            let said = self.live.modes.get(&scope);
            let (mode, until_at) = said.copied().unwrap_or((configured, None));
            let of = match &scope {
                LimitScope::Service(name) => format!("service {name}"),
                LimitScope::Class(name) => format!("class {name}"),
                other => other.to_string(),
            };
            (said.is_some() || mode != Mode::Enforce).then_some(ModeRow { of, mode, until_at })
        };
        modes(&self.config).filter_map(row).collect()
    }

    fn service_rows(&self) -> Result<Vec<ServiceRow>, KernelError> {
        let mut rows = Vec::new();
        for service in &self.config.services {
            let Some(&row) = self.rows().0.get(&service.name) else { continue };
            let packets = self.kernel.service_packets(usize::from(row))?;
            for (action, reason) in outcomes().filter(|(_, reason)| reason.is_of_service()) {
                rows.push(ServiceRow {
                    name: service.name.clone(),
                    verdict: action,
                    reason: reason.name().to_owned(),
                    packets: packets(action, reason),
                });
            }
        }
        Ok(rows)
    }

    fn table_rows(&self) -> Result<Vec<TableRow>, KernelError> {
        let tables = self.kernel.tables();
        let now = self.clock();
        let mut rows = Vec::new();
        for table in Table::ALL.into_iter().filter(|table| table.constant().is_some()) {
            let entries = match table {
                _ if table.is_of_pairs() => tables.taken(table),
                Table::PartialHellos => tables.slots(table).count(),
                _ => tables.slots(table).filter(|slot| owes(slot, now)).count(),
            };
            let full = self.kernel.note(table, Note::Evicted)? + self.kernel.note(table, Note::Full)?;
            rows.push(TableRow {
                table: table.name().to_owned(),
                entries: entries as u64,
                capacity: tables.capacity(table) as u64,
                full_total: full,
            });
        }
        let row = |table: &str, entries: usize, capacity: usize, full_total| TableRow {
            table: table.to_owned(),
            entries: entries as u64,
            capacity: capacity as u64,
            full_total,
        };
        rows.push(row(Table::Bans.name(), self.kernel.bans(), BANS_MAX, 0));
        let (strikes, evicted) =
            (self.kernel.strikes().count(), self.kernel.note(Table::Strikes, Note::Evicted)?);
        rows.push(row(Table::Strikes.name(), strikes, tables.capacity(Table::Strikes), evicted));
        Ok(rows)
    }

    /// The busiest sources.
    pub(super) fn sources(&self, top: usize, by: Order) -> Vec<SourceRow> {
        let tables = self.kernel.tables();
        let slots = [Table::Sources, Table::ServiceSources]
            .into_iter()
            .flat_map(|table| tables.slots(table).map(move |slot| (table, slot)));
        let rank = |slot: &Slot| match by {
            Order::Packets => (slot.words[SLOT_COUNTS] >> 32) + (slot.words[SLOT_COUNTS] & 0xffff_ffff),
            Order::Bytes => slot.words[SLOT_BYTES],
            Order::Drops => slot.words[SLOT_COUNTS] & 0xffff_ffff,
        };
        // Only as many as are asked for are kept: the table has room for a hundred thousand.
        let mut heap: BinaryHeap<Reverse<(u64, usize, Row)>> = BinaryHeap::new();
        for (place, (table, slot)) in slots.enumerate().filter(|(_, (_, slot))| slot.words[SLOT_COUNTS] != 0)
        {
            let rank = rank(&slot);
            if heap.len() == top && heap.peek().is_some_and(|least| rank <= least.0.0) {
                continue;
            }
            heap.push(Reverse((rank, place, Row { table, slot })));
            if heap.len() > top {
                heap.pop();
            }
        }
        let now = self.clock();
        heap.into_sorted_vec()
            .into_iter()
            .filter_map(|Reverse((_, _, row))| self.source_row(&row, now))
            .collect()
    }

    fn source_row(&self, Row { table, slot }: &Row, now: u64) -> Option<SourceRow> {
        let key = slot.words[SLOT_KEY];
        let shared = Neighbourhood::of_shared(key);
        let source = match shared {
            Some(neighbourhood) => Prefix::try_from(neighbourhood.network()).ok()?,
            None => source_by_limits(key, &self.config.limits)?,
        };
        let settings = self.kernel.settings()?;
        let (class, service, limits) = match table {
            Table::ServiceSources => {
                let (name, value) = self.service_of(slot.region, settings)?;
                ("default".to_owned(), Some(name), value)
            }
            // Who shares is in no class.
            _ if shared.is_some() => ("default".to_owned(), None, settings.classes[0].limits),
            _ => {
                let (name, value) = self.class_of(source.network(), settings)?;
                (name, None, value.limits)
            }
        };
        let counts = slot.words[SLOT_COUNTS];
        let (packets, drops) = (counts >> 32, counts & 0xffff_ffff);
        let budgets = Dimension::ALL
            .into_iter()
            .filter_map(|dimension| budget(slot, &limits, dimension, now))
            .collect();
        Some(SourceRow {
            source,
            class,
            service,
            packets: packets + drops,
            bytes: slot.words[SLOT_BYTES],
            drops,
            budgets,
            saturated: packets == u64::from(u32::MAX) || drops == u64::from(u32::MAX),
        })
    }

    /// The class of a source: the narrowest prefix that holds it.
    fn class_of(&self, source: IpNet, settings: &gateway_common::abi::Settings) -> Option<(String, Class)> {
        let holding = self.config.classes.iter().enumerate().flat_map(|(index, class)| {
            let holds = class.sources.iter().filter(|net| net.contains(&source));
            holds.map(move |net| (net.prefix_len(), index))
        });
        let index = holding.max().map_or(0, |(_, index)| index + 1);
        let name = if index == 0 { "default" } else { &self.config.classes[index - 1].name };
        Some((name.to_owned(), *settings.classes.get(index)?))
    }

    /// The service that has a region of the table.
    fn service_of(&self, region: u32, settings: &gateway_common::abi::Settings) -> Option<(String, Limits)> {
        self.config.services.iter().find_map(|service| {
            let value = settings.services[usize::from(*self.rows().0.get(&service.name)?)];
            (value.own != 0 && value.region == region).then(|| (service.name.clone(), value.limits))
        })
    }
}

/// A slot and where it is from; equal to any other, so that only its rank orders it.
struct Row {
    table: Table,
    slot: Slot,
}

impl PartialEq for Row {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

fn owes(slot: &Slot, now: u64) -> bool {
    slot.words[SLOT_TATS..SLOT_TATS + Dimension::COLUMNS].iter().any(|&tat| rate::debt(tat, now) != 0)
}

fn budget(slot: &Slot, limits: &Limits, dimension: Dimension, now: u64) -> Option<Budget> {
    let limit = limits.of(dimension);
    if !limit.is_limit() || limit.burst == 0 {
        return None;
    }
    let debt = rate::debt(slot.words[SLOT_TATS + dimension.column()], now).min(limit.burst);
    let left = u128::from(limit.burst - debt) * 100 / u128::from(limit.burst);
    Some(Budget { dimension, left_percent: left as u8 })
}

/// Whether this host hands packets on to others: containers behind a bridge too.
fn host_forwards() -> bool {
    ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].iter().any(|name| {
        std::fs::read_to_string(format!("/proc/sys/net/{name}")).is_ok_and(|text| text.trim() != "0")
    })
}

/// Every verdict with every reason that it can have: a drop is `would_drop` in monitor mode.
fn outcomes() -> impl Iterator<Item = (Action, Reason)> {
    Reason::ALL.iter().flat_map(|&reason| {
        let monitored = (reason.action() == Action::Drop).then_some((Action::WouldDrop, reason));
        std::iter::once((reason.action(), reason)).chain(monitored)
    })
}
