//! Changes, limits, prefixes and sources.

use comfy_table::{Cell, Color};

use super::{Style, bytes, clean, duration, moment, number, table, thousands, word};
use crate::model::{
    What,
    document::{Changed, LimitOrigin, LimitRow, PrefixRow, SourceRow},
};

/// A change that was made; `now` in seconds since the Unix epoch.
pub fn changed(changed: &Changed, now: u64) -> String {
    let mut text = clean(&changed.message);
    if let Some(until) = changed.until_at {
        let left = duration(until.saturating_sub(now));
        text += &format!("; reverts in {left}, at {}", moment(until));
    }
    text.push('\n');
    // Of a reload: what it has changed. Of any other change the message says it.
    for fact in
        changed.facts.iter().filter(|fact| fact.what == What::Configuration || changed.facts.len() > 1)
    {
        text += &format!("  {}\n", clean(&fact.to_string()));
    }
    if !changed.durable {
        text += "in force, not yet on disk: it is written as soon as it can be, see `gateway status`\n";
    }
    text
}

/// `gateway limit list`.
pub fn limits(rows: &[LimitRow], style: Style, now: u64) -> String {
    if rows.is_empty() {
        return "No limits. Set one with `gateway limit set default syn 200/s`.\n".into();
    }
    let cells = rows.iter().map(|row| {
        let origin = match row.origin {
            LimitOrigin::Configuration => Cell::new("configuration"),
            LimitOrigin::Live => Cell::new("live").fg(Color::Yellow),
        };
        let end = match (row.until_at, row.origin) {
            (None, LimitOrigin::Live) => "next reload".into(),
            (until, _) => left(until, now),
        };
        vec![
            Cell::new(&row.place),
            Cell::new(row.dimension),
            Cell::new(clean(&row.rate)),
            Cell::new(clean(&row.burst)),
            origin,
            Cell::new(end),
        ]
    });
    let columns =
        [word("WHERE"), word("COUNTS"), number("RATE"), number("BURST"), word("ORIGIN"), word("REVERTS")];
    table(&columns, cells, style)
}

/// `gateway block list` and `gateway allow list`.
pub fn prefixes(rows: &[PrefixRow], style: Style, now: u64) -> String {
    if rows.is_empty() {
        return "Nothing on the list.\n".into();
    }
    let cells = rows.iter().map(|row| {
        vec![
            Cell::new(row.prefix),
            Cell::new(origin(row)),
            Cell::new(moment(row.added_at)),
            Cell::new(left(row.until_at, now)),
            Cell::new(row.packets.map_or_else(|| "-".into(), thousands)),
            Cell::new(clean(row.reason.as_deref().unwrap_or("-"))),
        ]
    });
    let columns =
        [word("PREFIX"), word("ORIGIN"), word("SINCE"), word("ENDS"), number("PACKETS"), word("REASON")];
    table(&columns, cells, style)
}

/// Who put a prefix there, and for how manieth time.
fn origin(row: &PrefixRow) -> String {
    match row.level {
        Some(level) => format!("{}, level {level}", clean(&row.origin)),
        None => clean(&row.origin),
    }
}

/// `gateway sources`.
pub fn sources(rows: &[SourceRow], style: Style, _now: u64) -> String {
    if rows.is_empty() {
        return "No sources seen yet.\n".into();
    }
    let cells = rows.iter().map(|row| {
        let drops = Cell::new(thousands(row.drops));
        let at_least = if row.saturated { ">=" } else { "" };
        vec![
            Cell::new(row.source),
            Cell::new(clean(&row.class)),
            Cell::new(clean(row.service.as_deref().unwrap_or("-"))),
            Cell::new(format!("{at_least}{}", thousands(row.packets))),
            Cell::new(format!("{at_least}{}", bytes(row.bytes))),
            if row.drops > 0 { drops.fg(Color::Red) } else { drops },
            Cell::new(budgets(row)),
        ]
    });
    let columns = [
        word("SOURCE"),
        word("CLASS"),
        word("SERVICE"),
        number("PACKETS"),
        number("BYTES"),
        number("DROPS"),
        word("BUDGET LEFT"),
    ];
    table(&columns, cells, style)
}

/// `syn 40 %, packets 98 %`: the scarcest first; full ones are left out.
fn budgets(row: &SourceRow) -> String {
    let mut scarce: Vec<_> = row.budgets.iter().filter(|budget| budget.left_percent < 100).collect();
    if scarce.is_empty() {
        return "full".into();
    }
    scarce.sort_by_key(|budget| budget.left_percent);
    let words = scarce.iter().map(|budget| format!("{} {} %", budget.dimension, budget.left_percent));
    words.collect::<Vec<_>>().join(", ")
}

/// When something ends.
fn left(until: Option<u64>, now: u64) -> String {
    until.map_or_else(|| "never".into(), |until| format!("in {}", duration(until.saturating_sub(now))))
}
