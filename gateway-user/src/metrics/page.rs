//! The page: families of a [`Snapshot`] in Prometheus' text format.
//!
//! The kernel keeps the counters, so families are built from its values as they are; the `prometheus` crate's own
//! counters, which can only be added to, would be a second copy. No label takes an address.

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::Snapshot;

/// The page's text.
///
/// # Errors
/// When the encoder refuses a family.
pub fn render(snapshot: &Snapshot) -> Result<String, prometheus::Error> {
    let mut families = Vec::from(traffic(snapshot));
    families.extend(tables(snapshot));
    families.extend(daemon(snapshot));
    families.extend(history(snapshot));
    // The encoder takes a family without series for a mistake; here it is a gateway without services, say.
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families)
}

fn traffic(snapshot: &Snapshot) -> [MetricFamily; 3] {
    let rows = || snapshot.traffic.iter();
    [
        counters(
            "gateway_packets_total",
            "Packets by interface, verdict and reason.",
            rows().map(|row| {
                let labels = [row.interface.as_str(), row.verdict.name(), row.reason.as_str()];
                (pairs(["interface", "verdict", "reason"], labels), row.packets)
            }),
        ),
        counters(
            "gateway_bytes_total",
            "Bytes of frames by interface, verdict and reason.",
            rows().map(|row| {
                let labels = [row.interface.as_str(), row.verdict.name(), row.reason.as_str()];
                (pairs(["interface", "verdict", "reason"], labels), row.bytes)
            }),
        ),
        counters(
            "gateway_service_packets_total",
            "Packets to a service by verdict and reason; each is also in gateway_packets_total.",
            snapshot.services.iter().map(|row| {
                let labels = [row.name.as_str(), row.verdict.name(), row.reason.as_str()];
                (pairs(["service", "verdict", "reason"], labels), row.packets)
            }),
        ),
    ]
}

fn tables(snapshot: &Snapshot) -> [MetricFamily; 3] {
    let rows = || snapshot.tables.iter().map(|row| (pairs(["table"], [row.table.as_str()]), row));
    [
        gauges(
            "gateway_table_entries",
            "Entries in use in a table of the packet path.",
            rows().map(|(labels, row)| (labels, row.entries)),
        ),
        gauges(
            "gateway_table_capacity",
            "Entries that fit into a table of the packet path.",
            rows().map(|(labels, row)| (labels, row.capacity)),
        ),
        counters(
            "gateway_table_full_total",
            "How often something found no room in a table of the packet path.",
            rows().map(|(labels, row)| (labels, row.full_total)),
        ),
    ]
}

fn daemon(snapshot: &Snapshot) -> [MetricFamily; 12] {
    let reloads = [("ok", snapshot.reloads_ok), ("failed", snapshot.reloads_failed)];
    let abi = snapshot.abi.to_string();
    [
        gauges(
            "gateway_bans",
            "Bans in force by who made them.",
            snapshot.bans.iter().map(|(origin, bans)| (pairs(["origin"], [origin.as_str()]), *bans)),
        ),
        gauges(
            "gateway_claims",
            "Claims in force by origin: a prefix may have several.",
            snapshot.bans.iter().map(|(origin, claims)| (pairs(["origin"], [origin.as_str()]), *claims)),
        ),
        gauges(
            "gateway_escalated_neighbourhoods",
            "Neighbourhoods whose sources share one budget, by family.",
            [("ipv4", snapshot.escalated.ipv4), ("ipv6", snapshot.escalated.ipv6)]
                .map(|(family, count)| (pairs(["family"], [family]), count)),
        ),
        counters(
            "gateway_refused_reset_total",
            "Connections that were reset because their opening was refused, by service.",
            snapshot
                .refused_reset
                .iter()
                .map(|row| (pairs(["service"], [row.service.as_str()]), row.connections)),
        ),
        gauges(
            "gateway_connections",
            "Connections that are open, by service.",
            snapshot.connections.iter().map(|row| (pairs(["service"], [row.service.as_str()]), row.open)),
        ),
        counters(
            "gateway_connections_ended_total",
            "Connections that were ended because there were too many or they waited too long, by service and cause.",
            snapshot.connections.iter().flat_map(|row| {
                let labels = |cause| pairs(["service", "cause"], [row.service.as_str(), cause]);
                row.ended.iter().map(move |ended| (labels(&ended.cause), ended.connections))
            }),
        ),
        counters(
            "gateway_events_lost_total",
            "Events that found the ring buffer full and were not reported; their packets are counted all the same.",
            [(Vec::new(), snapshot.events_lost)],
        ),
        counters(
            "gateway_config_reloads_total",
            "Reloads of the configuration by result.",
            reloads.map(|(result, count)| (pairs(["result"], [result]), count)),
        ),
        gauges(
            "gateway_config_last_reload_timestamp_seconds",
            "When the policy in force was applied, in seconds since the Unix epoch.",
            [(Vec::new(), snapshot.last_reload_at)],
        ),
        gauges(
            "gateway_attached",
            "Whether the program is attached to an interface, and how.",
            snapshot.interfaces.iter().map(|row| {
                let labels = [row.name.as_str(), row.driver.as_str()];
                (pairs(["interface", "driver"], labels), u64::from(row.attached))
            }),
        ),
        gauges(
            "gateway_sockets_asked",
            "Whether the program asks the sockets of its host; at 0 `gateway status` says what is off therefore, SYN cookies and bans for strikes among it.",
            [(Vec::new(), u64::from(snapshot.asks_sockets))],
        ),
        gauges(
            "gateway_build_info",
            "Version of the gateway, and of the layout that it shares with the kernel; always 1.",
            [(pairs(["version", "abi"], [snapshot.version.as_str(), abi.as_str()]), 1)],
        ),
    ]
}

/// What has happened, and what is on record of it.
fn history(snapshot: &Snapshot) -> [MetricFamily; 7] {
    let floods = || {
        snapshot.floods.iter().map(|(service, reason, begun, is_active)| {
            (pairs(["service", "reason"], [service.as_str(), reason.as_str()]), *begun, *is_active)
        })
    };
    [
        gauges(
            "gateway_mode",
            "Which mode the gateway is in: 1 for that one.",
            snapshot.modes.iter().map(|(mode, is_on)| (pairs(["mode"], [mode.as_str()]), u64::from(*is_on))),
        ),
        counters(
            "gateway_floods_total",
            "Floods that have begun since the daemon did, by service (none: empty) and reason.",
            floods().map(|(labels, begun, _)| (labels, begun)),
        ),
        gauges(
            "gateway_flood_active",
            "Whether a flood is under way, by service (none: empty) and reason.",
            floods().map(|(labels, _, is_active)| (labels, u64::from(is_active))),
        ),
        counters(
            "gateway_bans_total",
            "What became of bans since the daemon began, by origin: made, lengthened, ended, or taken back.",
            snapshot
                .ban_changes
                .iter()
                .map(|(origin, what, count)| (pairs(["origin", "what"], [origin.as_str(), what]), *count)),
        ),
        counters(
            "gateway_record_rows_total",
            "Rows that the record has had.",
            [(Vec::new(), snapshot.record_rows)],
        ),
        gauges(
            "gateway_record_lag_seconds",
            "For how long the oldest row waits that the record does not have yet.",
            [(Vec::new(), snapshot.record_lag)],
        ),
        counters(
            "gateway_record_lost_total",
            "Rows for the record that were lost, since a disk took none for too long.",
            [(Vec::new(), snapshot.record_lost)],
        ),
    ]
}

fn pairs<const N: usize>(names: [&str; N], values: [&str; N]) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    names.into_iter().zip(values).map(pair).collect()
}

type Series = (Vec<LabelPair>, u64);

fn counters(name: &str, help: &str, series: impl IntoIterator<Item = Series>) -> MetricFamily {
    let metrics = series.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(float(value));
        let mut metric = Metric::from_label(labels);
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

fn gauges(name: &str, help: &str, series: impl IntoIterator<Item = Series>) -> MetricFamily {
    let metrics = series.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(float(value));
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Prometheus keeps floats: exact up to 2^53, nine petabytes.
fn float(value: u64) -> f64 {
    value as f64
}
