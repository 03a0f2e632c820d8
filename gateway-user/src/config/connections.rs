//! Which connections may be open: how many, and for how long.

use std::time::Duration;

use super::policy::{Connections, Protocol, Service};
use super::reader::{Item, Reader, Section};
use super::requirements::only_tls;
use crate::model::units;
use crate::model::wrong::quoted;

/// Of one service, each key in the place of its default.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    protocol: Option<Protocol>,
    service: &mut Service,
) {
    let Connections { each, hello_timeout, idle_timeout, .. } = &mut service.connections;
    if let Some(item) = section.get("connections") {
        only_tcp(reader, &item, protocol);
        count(reader, &item, each);
    }
    if let Some(item) = section.get("hello_timeout")
        && only_tls(reader, &item, Some(service.require))
    {
        timeout(reader, &item, hello_timeout);
    }
    if let Some(item) = section.get("idle_timeout") {
        only_tcp(reader, &item, protocol);
        timeout(reader, &item, idle_timeout);
    }
}

/// Of all sources of a service together.
pub(super) fn total<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    protocol: Option<Protocol>,
    connections: &mut Connections,
) {
    if let Some(item) = section.get("connections") {
        only_tcp(reader, &item, protocol);
        count(reader, &item, &mut connections.total);
    }
}

/// A number of connections, or the word `none`, in the place of a default.
pub(super) fn count<'t>(reader: &mut Reader<'t>, item: &Item<'t>, count: &mut Option<u32>) {
    if is_none(item) {
        *count = None;
    } else if let Some(number) = reader.number(item, 1..=u32::MAX) {
        *count = Some(number);
    }
}

fn timeout<'t>(reader: &mut Reader<'t>, item: &Item<'t>, timeout: &mut Option<Duration>) {
    if is_none(item) {
        *timeout = None;
    } else if let Some(duration) = reader.parsed(item, "\"10s\"", units::time) {
        *timeout = Some(duration);
    }
}

fn is_none(item: &Item<'_>) -> bool {
    item.value.as_str() == Some("none")
}

fn only_tcp(reader: &mut Reader<'_>, item: &Item<'_>, protocol: Option<Protocol>) {
    if protocol == Some(Protocol::Udp) {
        let message = format!("{} needs a tcp service", quoted(&item.name));
        let help = "udp has no connections to count: leave the key out";
        reader.error(item.key.clone(), message, help);
    }
}
