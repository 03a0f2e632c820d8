//! The file's sections, but for classes and services.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::limits::limits;
use super::problem::{Problem, Report};
use super::reader::{Item, Reader, Section};
use super::value::{absolute_path, each, prefixes};
use super::{Attach, Audit, Ban, Config, Control, FromOutside, Metrics, RETENTION_MIN};
use super::{check, guard, lists, reflection, sanity, services, syntax};
use crate::model::wrong::{Wrong, quoted};
use crate::model::{CheckpointTo, Dimension, units};

/// Longest name of a network interface in bytes: `IFNAMSIZ` of linux/if.h less the ending zero.
const INTERFACE_MAX: usize = 15;
/// Longest path of a Unix socket in bytes: `sun_path` of linux/un.h less the ending zero.
const SOCKET_MAX: usize = 107;

/// A configuration from its text.
pub(super) fn parse(name: &str, text: &str, lists: FromOutside) -> Result<Config, Report> {
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { lists, ..Reader::new(name, text) };
    let broken = syntax::report(&mut reader, &syntax_errors);
    let syntax_problems = std::mem::take(&mut reader.problems);

    let config = document(&mut reader, Section::root(table.get_ref()));

    reader.problems.retain(|problem| problem.place.file != name || !broken.explains(problem.place.line));
    reader.problems.extend(syntax_problems);
    // Stable: problems of prefix lists follow in the order in which they were read.
    reader.problems.sort_by_key(
        |Problem { place, .. }| {
            if place.file == name { (0, place.line, place.column) } else { (1, 0, 0) }
        },
    );
    let report = Report { problems: reader.problems };
    if report.has_errors() { Err(report) } else { Ok(Config { warnings: report, ..config }) }
}

/// The sections in the order in which the documentation has them.
fn document<'t>(reader: &mut Reader<'t>, mut root: Section<'t>) -> Config {
    let mode = root.get("mode").and_then(|item| reader.word(&item));
    let attach = each(reader, &mut root, "attach", attach);
    let mut places = check::PrefixPlaces::default();
    let limits = each(reader, &mut root, "limits", |reader, section| limits(reader, section, &mut places));
    let (limits, neighbours) = limits.unwrap_or_default();
    check::prefix_lengths(reader, &limits, &neighbours, &places);
    let classes = root.get("class").map(|item| services::classes(reader, &item)).unwrap_or_default();
    check::classes(reader, &classes);
    let services = root.get("service").map(|item| services::services(reader, &item)).unwrap_or_default();
    check::services(reader, &services);
    let config = Config {
        mode: mode.unwrap_or_default(),
        attach: attach.unwrap_or_default(),
        limits,
        neighbours,
        classes: classes.into_iter().map(|placed| placed.class).collect(),
        services: services.into_iter().map(|placed| placed.service).collect(),
        lists: each(reader, &mut root, "lists", lists::read).unwrap_or_default(),
        reflection: each(reader, &mut root, "reflection", reflection::read).unwrap_or_default(),
        sanity: each(reader, &mut root, "sanity", sanity::read).unwrap_or_default(),
        ban: each(reader, &mut root, "ban", ban),
        metrics: each(reader, &mut root, "metrics", metrics).unwrap_or_default(),
        control: each(reader, &mut root, "control", control).unwrap_or_default(),
        audit: each(reader, &mut root, "audit", audit).unwrap_or_default(),
        guards: guard::read(reader, &mut root),
        warnings: Report::default(),
    };
    root.finish(reader);
    config
}

fn attach<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Attach {
    let mut attach = Attach::default();
    if let Some(item) = section.get("interfaces") {
        for element in reader.array(&item, "interfaces = [\"eth0\"]") {
            let Some(name) = reader.parsed(&element, "\"eth0\"", interface) else {
                continue;
            };
            if attach.interfaces.contains(&name) {
                let message = format!("the interface {} is named twice", quoted(&name));
                reader.error(element.at, message, "name it once");
            } else {
                attach.interfaces.push(name);
            }
        }
    }
    if let Some(item) = section.get("driver") {
        attach.driver = reader.word(&item).unwrap_or_default();
    }
    if let Some(item) = section.get("on_exit") {
        attach.on_exit = reader.word(&item).unwrap_or_default();
    }
    if let Some(item) = section.get("set_sysctls") {
        attach.set_sysctls = reader.flag(&item).unwrap_or_default();
    }
    if let Some(item) = section.get("btf") {
        attach.btf = reader.parsed(&item, "\"/etc/gateway/vmlinux.btf\"", absolute_path);
    }
    attach
}

/// A name that the kernel could give an interface (`dev_valid_name` in net/core/dev.c).
fn interface(text: &str) -> Result<String, Wrong> {
    let foreign = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > INTERFACE_MAX || text.contains(foreign) || matches!(text, "." | "..") {
        let help = "write a name as `ip link` shows it: 1 to 15 bytes without spaces, `/` and `:`";
        return Err(Wrong::new(format!("{} cannot be an interface's name", quoted(text)), help));
    }
    Ok(text.to_owned())
}

fn ban<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Ban {
    let mut ban = Ban::default();
    if let Some(item) = section.get("strikes") {
        ban.strikes = reader.number(&item, 1..=u32::MAX).unwrap_or(ban.strikes);
    }
    ban.within = span_of_time(reader, section, "within", ban.within);
    ban.first = span_of_time(reader, section, "first", ban.first);
    if let Some(item) = section.get("factor") {
        ban.factor = reader.number(&item, 1..=1_000).unwrap_or(ban.factor);
    }
    ban.longest = span_of_time(reader, section, "longest", ban.longest);
    if let Some(item) = section.get("never") {
        ban.never = prefixes(reader, &item).into_iter().map(|(prefix, _)| prefix).collect();
    }
    if ban.longest < ban.first {
        let at = section
            .get("longest")
            .or_else(|| section.get("first"))
            .map_or(section.at.clone(), |item| item.at);
        let first = units::duration_text(ban.first);
        reader.error(
            at,
            "the longest ban is shorter than the first",
            format!("write longest = \"{first}\" or more"),
        );
    }
    ban
}

/// A duration above zero.
fn span_of_time<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    key: &'static str,
    default: Duration,
) -> Duration {
    let item = section.get(key);
    item.and_then(|item| reader.parsed(&item, "\"10m\"", units::time)).unwrap_or(default)
}

fn metrics<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Metrics {
    let mut metrics = Metrics::default();
    let Some(item) = section.get("listen") else {
        return metrics;
    };
    let address = |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            let help = "write an IP address and a port: 127.0.0.1:9464 or [::1]:9464";
            Wrong::new(format!("{} is no address to listen at", quoted(text)), help)
        })
    };
    if let Some(listen) = reader.parsed(&item, "\"127.0.0.1:9464\"", address) {
        metrics.listen = listen;
        if !listen.ip().is_loopback() {
            let message = "metrics can be read from other hosts, without a password";
            reader.warn(item.at, message, "listen at 127.0.0.1, or let a firewall keep others out");
        }
    }
    metrics
}

fn control<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Control {
    let mut control = Control::default();
    if let Some(item) = section.get("socket") {
        let socket = |text: &str| {
            let path = absolute_path(text)?;
            if text.len() > SOCKET_MAX {
                let message = format!("{} is too long for a socket", quoted(text));
                return Err(Wrong::new(message, "write a path of at most 107 bytes"));
            }
            Ok(path)
        };
        control.socket =
            reader.parsed(&item, "\"/run/gateway/control.sock\"", socket).unwrap_or(control.socket);
    }
    if let Some(item) = section.get("group") {
        control.group = reader.text(&item, "group = \"\"").unwrap_or_default().to_owned();
    }
    control
}

fn audit<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Audit {
    let mut audit = Audit::default();
    if let Some(item) = section.get("database") {
        let path = reader.parsed(&item, "\"/var/lib/gateway/audit.db\"", absolute_path);
        audit.database = path.unwrap_or(audit.database);
    }
    if let Some(item) = section.get("retention") {
        let long_enough = |text: &str| match units::duration(text)? {
            short if short < RETENTION_MIN => {
                let message = format!("{} is shorter than the record must be kept", quoted(text));
                Err(Wrong::new(message, "write 365d or more"))
            }
            duration => Ok(duration),
        };
        audit.retention = reader.parsed(&item, "\"365d\"", long_enough).unwrap_or(audit.retention);
    }
    if let Some(item) = section.get("sources") {
        audit.sources = reader.word(&item).unwrap_or_default();
    }
    if let Some(item) = section.get("checkpoint") {
        audit.checkpoint = checkpoint(reader, &item);
    }
    if let Some(item) = section.get("max_size") {
        let size = reader.parsed(&item, "\"8GiB\"", |text| units::burst(Dimension::Bytes, text));
        audit.max_size = size.unwrap_or(audit.max_size);
    }
    audit
}

/// A file, or a command with its arguments.
fn checkpoint<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Option<CheckpointTo> {
    const EXAMPLE: &str = "\"/mnt/other/gateway.checkpoints\", or [\"/usr/bin/logger\", \"-t\", \"gateway\"]";
    if matches!(item.value, DeValue::String(_)) {
        return reader.parsed(item, EXAMPLE, absolute_path).map(CheckpointTo::File);
    }
    let words = reader.array(item, EXAMPLE);
    let Some((program, arguments)) = words.split_first() else {
        reader.error(item.at.clone(), "no command stands here", format!("write: {EXAMPLE}"));
        return None;
    };
    let program = reader.parsed(program, EXAMPLE, absolute_path)?.display().to_string();
    let mut command = vec![program];
    for argument in arguments {
        command.push(reader.text(argument, EXAMPLE)?.to_owned());
    }
    Some(CheckpointTo::Command(command))
}
