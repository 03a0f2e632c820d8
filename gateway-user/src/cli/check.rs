//! `gateway check`: is a configuration right, and what does it mean.

use serde_json::{Value, json};

use super::{
    args::{CheckArgs, Global},
    error::{CliError, Status},
    print, print_json,
};
use crate::{
    config::{Config, Connections, FinerNetwork, Report},
    model::{Quota, duration_text},
    policy::places,
};

/// Validates a configuration and prints its policy; exit status 2 with all errors.
///
/// # Errors
/// When the configuration is wrong, which has been told then.
pub fn check(args: &CheckArgs, global: &Global) -> Result<(), CliError> {
    let path = args.file.as_ref().unwrap_or(&global.config);
    match Config::load_stream(path) {
        Ok(config) if args.output.json => print_json(&document(&config)),
        Ok(config) => {
            tell(&config.warnings);
            print(&text(&config))
        }
        Err(report) => {
            if args.output.json {
                print_json(&json!({ "valid": false, "problems": report.problems }))?;
            } else {
                tell(&report);
            }
            Err(CliError::reported(Status::Usage))
        }
    }
}

fn tell(report: &Report) {
    if !report.is_empty() {
        let color =
            std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        super::tell(&format!("{}\n", report.render(color)));
    }
}

fn document(config: &Config) -> Value {
    let limits: Vec<_> = places(config)
        .into_iter()
        .flat_map(|(place, quotas)| {
            let row = move |quota: Quota| {
                json!({ "place": place, "dimension": quota.dimension().name(),
                        "rate": quota.to_string(), "burst": quota.burst_text() })
            };
            quotas.iter().map(row)
        })
        .collect();
    let services: Vec<_> = config
        .services
        .iter()
        .map(|service| {
            let ports: Vec<_> = service.ports.iter().map(ports_text).collect();
            json!({ "name": service.name, "protocol": service.protocol.name(), "ports": ports,
                    "addresses": service.addresses, "require": service.require.name(),
                    "connections": {
                        "each": service.connections.each, "total": service.connections.total,
                        "hello_timeout_seconds": service.connections.hello_timeout.map(|time| time.as_secs()),
                        "idle_timeout_seconds": service.connections.idle_timeout.map(|time| time.as_secs()),
                    } })
        })
        .collect();
    json!({
        "valid": true,
        "mode": config.mode.name(),
        "interfaces": config.attach.interfaces,
        "limits": limits,
        "neighbours_escalate": config.neighbours.escalate,
        "neighbours_connections": config.neighbours.connections,
        "services": services,
        "classes": config.classes.iter().map(|class| json!({ "name": class.name, "sources": class.sources })).collect::<Vec<_>>(),
        "networks": config.limits.finer.iter().map(|finer| json!({
            "network": finer.network, "ipv6_prefix": finer.ipv6_prefix,
        })).collect::<Vec<_>>(),
        "lists": { "allow": config.lists.allow.len(), "block": config.lists.block.len() },
        "ban": config.ban.as_ref().map(|ban| json!({
            "strikes": ban.strikes, "within_seconds": ban.within.as_secs_f64(), "first_seconds": ban.first.as_secs(),
            "factor": ban.factor, "longest_seconds": ban.longest.as_secs(), "never": ban.never,
        })),
        "problems": config.warnings.problems,
    })
}

fn text(config: &Config) -> String {
    let mut lines = vec![format!("mode {}", config.mode)];
    if !config.attach.interfaces.is_empty() {
        lines.push(format!("interfaces {}", config.attach.interfaces.join(", ")));
    }
    for service in &config.services {
        let ports: Vec<_> = service.ports.iter().map(ports_text).collect();
        let gate = match service.require {
            crate::config::Require::Tls => "only connections that start with a TLS ClientHello",
            crate::config::Require::Quic => "only connections that start with a QUIC Initial",
            crate::config::Require::Any => "anything",
        };
        lines.push(format!("service {}: {} {}, {gate}", service.name, service.protocol, ports.join(" ")));
        lines.extend(connections_text(&service.connections).map(|text| format!("  connections: {text}")));
    }
    for class in &config.classes {
        lines.push(format!("class {}: {} prefixes", class.name, class.sources.len()));
    }
    for FinerNetwork { network, ipv6_prefix } in &config.limits.finer {
        lines.push(format!("sources in {network}: each /{ipv6_prefix}"));
    }
    lines.push(format!("lists: {} allowed, {} blocked", config.lists.allow.len(), config.lists.block.len()));
    if let Some(ban) = &config.ban {
        let [within, first, longest] = [ban.within, ban.first, ban.longest].map(humantime::format_duration);
        lines.push(format!(
            "bans: {} strikes within {within}: banned for {first}, then {} times as long each time, at most {longest}; {} prefixes never",
            ban.strikes, ban.factor, ban.never.len()
        ));
    }
    if let Some(count) = config.neighbours.connections {
        lines.push(format!("connections of a neighbourhood: at most {count} open"));
    }
    if !config.neighbours.escalate {
        lines.push("neighbourhoods do not escalate".to_owned());
    }
    lines.push("limits:".to_owned());
    for (place, quotas) in places(config) {
        let place = place.to_string();
        for quota in quotas.iter() {
            lines.push(format!(
                "  {place:<20} {:<8} {quota}, burst {}",
                quota.dimension().name(),
                quota.burst_text()
            ));
        }
    }
    lines.join("\n") + "\n"
}

/// What its connections are held to, if they are.
fn connections_text(connections: &Connections) -> Option<String> {
    let Connections { each, total, hello_timeout, idle_timeout } = *connections;
    let parts = [
        each.map(|count| format!("{count} open of each source")),
        total.map(|count| format!("{count} of all")),
        hello_timeout.map(|time| format!("{} for a hello", duration_text(time))),
        idle_timeout.map(|time| format!("{} without a byte", duration_text(time))),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("at most {}", parts.join(", ")))
}

fn ports_text(range: &std::ops::RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}
