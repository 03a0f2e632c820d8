//! `gateway replay`.

use comfy_table::{Cell, Color};
use gateway_common::verdict::{Action, Reason};

use super::{Style, bytes, number, outcome, table, thousands, word};
use crate::model::Outcome;
use crate::replay::Connection;

/// What became of connections.
pub fn connections<'a>(connections: impl Iterator<Item = &'a Connection>, style: Style) -> String {
    let rows = connections.map(|connection| {
        let end = |(address, port)| Cell::new(std::net::SocketAddr::new(address, port));
        let dropped = Cell::new(thousands(connection.packets_dropped));
        let reasons: Vec<_> = connection.reasons.keys().copied().collect();
        vec![
            Cell::new(connection.first_frame.map_or_else(|| "-".into(), thousands)),
            Cell::new(connection.protocol.name()),
            end(connection.client),
            end(connection.server),
            Cell::new(thousands(connection.packets_passed)),
            if connection.packets_dropped > 0 { dropped.fg(Color::Red) } else { dropped },
            Cell::new(bytes(connection.payload_bytes_passed)),
            Cell::new(reasons.join(" ")),
        ]
    });
    let columns = [
        number("FRAME"),
        word("PROTO"),
        word("CLIENT"),
        word("SERVER"),
        number("PASSED"),
        number("DROPPED"),
        number("PAYLOAD PASSED"),
        word("REASONS"),
    ];
    table(&columns, rows, style)
}

/// Packets by the reason of their verdict, with what the reasons mean.
pub fn reasons(reasons: &[(Reason, u64)], style: Style) -> String {
    let rows = reasons.iter().map(|&(reason, count)| {
        let verdict = if reason.action() == Action::Pass { Outcome::Pass } else { Outcome::Drop };
        vec![
            Cell::new(reason.name()),
            outcome(verdict),
            Cell::new(thousands(count)),
            Cell::new(reason.text()),
        ]
    });
    table(&[word("REASON"), word("VERDICT"), number("PACKETS"), word("MEANING")], rows, style)
}
