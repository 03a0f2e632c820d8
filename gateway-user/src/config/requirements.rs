//! What a service's connections must be like.

use std::net::IpAddr;

use gateway_common::{abi::NAMES, limit::rate::Dimension};

use super::policy::{Protocol, Require, Service};
use super::reader::{Item, Reader, Section};
use super::value::quota;
use crate::model::Quotas;
use crate::model::wrong::{Wrong, quoted};

/// Reads into `service` what its connections must be like.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    protocol: Option<Protocol>,
    service: &mut Service,
) {
    // Nothing: the word is wrong, and what it would have allowed cannot be judged.
    let mut require = Some(Require::default());
    if let Some(item) = section.get("require") {
        require = reader.word(&item);
        service.require = require.unwrap_or_default();
        let needed = match service.require {
            Require::Tls => Some(Protocol::Tcp),
            Require::Quic => Some(Protocol::Udp),
            Require::Any => None,
        };
        if let (Some(needed), Some(protocol)) = (needed, protocol)
            && needed != protocol
        {
            let message = format!("a {protocol} service cannot require `{}`", service.require);
            let alternative = if protocol == Protocol::Udp { "quic" } else { "tls" };
            reader.error(
                item.at,
                message,
                format!("write protocol = \"{needed}\", or require = \"{alternative}\""),
            );
        }
    }
    tls_details(reader, section, require, service);
    let no_syn = |reader: &mut Reader<'t>, item: Item<'t>| {
        if protocol == Some(Protocol::Udp) {
            let help = format!("leave `{}` out", item.word());
            reader.error(item.key, "a udp service has no SYN to answer", help);
        }
    };
    if let Some(item) = section.get("syn_cookies") {
        service.syn_cookies = reader.word(&item).unwrap_or_default();
        no_syn(reader, item);
    }
    if let Some(item) = section.get("syn_answers") {
        let mut answers = Quotas::NONE;
        quota(reader, &item, Dimension::Syn, &mut answers);
        service.syn_answers = answers.get(Dimension::Syn);
        no_syn(reader, item);
    }
}

/// What only a TLS service can have.
fn tls_details<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    require: Option<Require>,
    service: &mut Service,
) {
    if let Some(item) = section.get("min_tls")
        && only_tls(reader, &item, require)
    {
        service.min_tls = reader.word(&item);
    }
    if let Some(item) = section.get("server_names") {
        let empty = item.value.as_array().is_some_and(|array| array.is_empty());
        if !empty && only_tls(reader, &item, require) {
            for element in reader.array(&item, "server_names = [\"api.example.com\"]") {
                service.server_names.extend(reader.parsed(&element, "\"api.example.com\"", server_name));
            }
            if service.server_names.len() > NAMES {
                let message =
                    format!("{} server names; a service can have {NAMES}", service.server_names.len());
                reader.error(item.at, message, "a wildcard stands for many: *.example.com");
            }
        }
    }
    if let Some(item) = section.get("proxy_protocol") {
        service.proxy_protocol = reader.flag(&item).unwrap_or_default();
        if service.proxy_protocol {
            only_tls(reader, &item, require);
        }
    }
    if let Some(item) = section.get("refuse")
        && only_tls(reader, &item, require)
    {
        service.refuse = reader.word(&item).unwrap_or_default();
    }
}

pub(super) fn only_tls(reader: &mut Reader<'_>, item: &Item<'_>, require: Option<Require>) -> bool {
    let tls = require.is_none_or(|require| require == Require::Tls);
    if !tls {
        let message = format!("{} needs a service that requires TLS", quoted(&item.name));
        reader.error(item.key.clone(), message, "add require = \"tls\", or leave the key out");
    }
    tls
}

/// A host name as a ClientHello carries it (RFC 6066 section 3, RFC 1035 section 2.3.4), or `*.` and one; a dot at its end is left out.
fn server_name(text: &str) -> Result<String, Wrong> {
    let wrong = |help: &str| Err(Wrong::new(format!("{} is no server name", quoted(text)), help));
    if !text.is_ascii() {
        return wrong("write the name in its ASCII form, with xn--");
    }
    if text.parse::<IpAddr>().is_ok() {
        return wrong("TLS has no server name for an address; leave it out");
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let host = text.strip_prefix("*.").unwrap_or(text);
    if host.contains('*') {
        return wrong("the star can only be the whole first label: *.example.com");
    }
    let label = |label: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(valid)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return wrong("write a host name: api.example.com or *.example.com");
    }
    Ok(text.to_ascii_lowercase())
}
