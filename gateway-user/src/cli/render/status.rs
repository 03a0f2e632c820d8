//! `gateway status`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Attribute, Cell, Color};

use super::{Style, bytes, clean, duration, moment, number, outcome, percent, table, thousands, word};
use crate::connections::Cause;
use crate::model::document::{ConnectionRow, Escalated, Status, TlsGate};
use crate::model::{Mode, Outcome};

/// The whole page; `now` in seconds since the Unix epoch.
pub fn status(status: &Status, style: Style, now: u64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = head(&mut text, status, now);
    for part in [
        interfaces(status, style),
        totals(status, style),
        reasons(status, style),
        services(status, style),
        connections(status, style),
        tables(status, style),
    ] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    for (index, warning) in status.warnings.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}warning: {}", clean(warning));
    }
    text
}

fn head(text: &mut String, status: &Status, now: u64) -> std::fmt::Result {
    let meaning = match status.mode {
        Mode::Enforce => "dropping what the policy says to drop",
        Mode::Monitor => "deciding and counting, dropping nothing",
        Mode::Off => "counting only, deciding nothing",
    };
    writeln!(text, "Mode     {}: {meaning}", status.mode)?;
    if let Some(until) = status.mode_until_at {
        writeln!(text, "         reverts in {}, at {}", duration(until.saturating_sub(now)), moment(until))?;
    }
    for row in &status.modes {
        let end = row.until_at.map(|at| format!(", reverts in {}", duration(at.saturating_sub(now))));
        writeln!(text, "         {}: {}{}", clean(&row.of), row.mode, end.unwrap_or_default())?;
    }
    writeln!(text, "Policy   {}, change {}", clean(&status.config_path), status.generation)?;
    writeln!(text, "TLS gate {}", tls_gate(status.tls_gate))?;
    if let Some(why) = &status.sockets.why {
        writeln!(text, "Off      sockets of this host are not asked: {}", clean(why))?;
    }
    for off in &status.sockets.off {
        writeln!(text, "         {:<13} {}", clean(&off.feature), clean(&off.instead))?;
    }
    let Escalated { ipv4, ipv6 } = status.escalated;
    if ipv4 + ipv6 != 0 {
        let what = "the sources of each share one limit";
        writeln!(text, "Escalated {ipv4} networks of IPv4 and {ipv6} of IPv6: {what}")?;
    }
    let reset: Vec<_> = status.refused_reset.iter().filter(|row| row.connections != 0).collect();
    for (place, row) in reset.iter().enumerate() {
        let title = if place == 0 { "Reset" } else { "" };
        let (count, service) = (thousands(row.connections), clean(&row.service));
        writeln!(text, "{title:<8} {count} connections to {service} that were refused")?;
    }
    let (version, pid) = (clean(&status.version), status.pid);
    writeln!(text, "Gateway  {version}, process {pid}, up {}", duration(status.uptime_seconds))
}

const fn tls_gate(gate: TlsGate) -> &'static str {
    match (gate.asks_host, gate.forwards) {
        (true, false) => "asks this host's TCP",
        (true, true) => "asks this host's TCP; goes by the SYN it saw where connections are forwarded",
        (false, _) => "goes by the SYN it saw",
    }
}

fn interfaces(status: &Status, style: Style) -> String {
    if status.interfaces.is_empty() {
        return "No interface: nothing is protected. Name one in attach.interfaces.\n".into();
    }
    let rows = status.interfaces.iter().map(|row| {
        let state = if row.attached {
            Cell::new("attached").fg(Color::Green)
        } else {
            Cell::new("NOT ATTACHED").fg(Color::Red).add_attribute(Attribute::Bold)
        };
        vec![Cell::new(clean(&row.name)), Cell::new(clean(&row.driver)), state]
    });
    let mut text = table(&[word("INTERFACE"), word("DRIVER"), word("STATE")], rows, style);
    for row in &status.interfaces {
        if let Some(why) = &row.lost {
            text += &format!("{} is not protected: {}\n", clean(&row.name), clean(why));
        }
    }
    text
}

/// Packets and bytes.
#[derive(Clone, Copy, Default)]
struct Count(u64, u64);

impl Count {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.0 = self.0.saturating_add(packets);
        self.1 = self.1.saturating_add(bytes);
    }

    fn cells(self) -> [Cell; 2] {
        [Cell::new(thousands(self.0)), Cell::new(bytes(self.1))]
    }
}

fn totals(status: &Status, style: Style) -> String {
    let mut totals = BTreeMap::from([(Outcome::Pass, Count::default()), (Outcome::Drop, Count::default())]);
    if status.mode == Mode::Monitor {
        totals.insert(Outcome::WouldDrop, Count::default());
    }
    for row in status.traffic.iter().filter(|row| row.packets > 0) {
        totals.entry(row.verdict).or_default().add(row.packets, row.bytes);
    }
    let all = totals.values().fold(0u64, |sum, count| sum.saturating_add(count.0));
    let rows = totals.into_iter().map(|(verdict, count)| {
        let mut cells = vec![outcome(verdict)];
        cells.extend(count.cells());
        cells.push(Cell::new(percent(count.0, all)));
        cells
    });
    table(&[word("TRAFFIC"), number("PACKETS"), number("BYTES"), number("SHARE")], rows, style)
}

/// All interfaces together, most packets first, without rows of zero.
fn reasons(status: &Status, style: Style) -> String {
    let mut sums: BTreeMap<(&str, Outcome), Count> = BTreeMap::new();
    for row in status.traffic.iter().filter(|row| row.packets > 0) {
        sums.entry((&row.reason, row.verdict)).or_default().add(row.packets, row.bytes);
    }
    if sums.is_empty() {
        return "No traffic yet.\n".into();
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| Reverse(count.0));
    let rows = sums.into_iter().map(|((reason, verdict), count)| {
        let mut cells = vec![Cell::new(clean(reason)), outcome(verdict)];
        cells.extend(count.cells());
        cells
    });
    table(&[word("REASON"), word("VERDICT"), number("PACKETS"), number("BYTES")], rows, style)
}

fn services(status: &Status, style: Style) -> String {
    let mut seen: Vec<_> = status.services.iter().filter(|row| row.packets > 0).collect();
    if seen.is_empty() {
        return String::new();
    }
    seen.sort_by_key(|row| (row.name.as_str(), Reverse(row.packets)));
    let rows = seen.into_iter().map(|row| {
        let name = Cell::new(clean(&row.name));
        vec![name, Cell::new(clean(&row.reason)), outcome(row.verdict), Cell::new(thousands(row.packets))]
    });
    table(&[word("SERVICE"), word("REASON"), word("VERDICT"), number("PACKETS")], rows, style)
}

/// Those of services that have or had some, with what became of the others.
fn connections(status: &Status, style: Style) -> String {
    let is_seen =
        |row: &&ConnectionRow| row.open != 0 || row.ended.iter().any(|ended| ended.connections != 0);
    let rows: Vec<_> = status.connections.iter().filter(is_seen).collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        word("SERVICE"),
        number("CONNECTIONS"),
        number("ENDED: LIMIT"),
        number("HELLO TIMEOUT"),
        number("IDLE TIMEOUT"),
    ];
    let cells = rows.into_iter().map(|row| {
        let of = |cause: Cause| row.ended.iter().find(|ended| ended.cause == cause.name());
        let ended = Cause::ALL.map(|cause| of(cause).map_or(0, |ended| ended.connections));
        let counts = [row.open].into_iter().chain(ended).map(|count| Cell::new(thousands(count)));
        [Cell::new(clean(&row.service))].into_iter().chain(counts).collect()
    });
    table(&columns, cells, style)
}

fn tables(status: &Status, style: Style) -> String {
    if status.tables.is_empty() {
        return String::new();
    }
    let rows = status.tables.iter().map(|row| {
        let full = Cell::new(thousands(row.full_total));
        vec![
            Cell::new(clean(&row.table)),
            Cell::new(thousands(row.entries)),
            Cell::new(thousands(row.capacity)),
            Cell::new(percent(row.entries, row.capacity)),
            if row.full_total > 0 { full.fg(Color::Yellow) } else { full },
        ]
    });
    let columns =
        [word("TABLE"), number("ENTRIES"), number("CAPACITY"), number("FILL"), number("FOUND FULL")];
    table(&columns, rows, style)
}
