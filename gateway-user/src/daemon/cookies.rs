//! What SYN cookies need of the host's TCP.
//!
//! The kernel's helper makes a cookie for every SYN only at net.ipv4.tcp_syncookies = 2 (at 1 once the listener's queue is full,
//! at 0 never). The client's window scale and SACK are kept in the timestamp of the answer, and the kernel takes a random
//! offset off what comes back before it looks for them, but at net.ipv4.tcp_timestamps = 2 (`cookie_v4_check` in
//! net/ipv4/syncookies.c, `secure_tcp_ts_off` in net/core/secure_seq.c): at any other value none of them is offered.

use std::fs;

use gateway_common::abi::policy;

use super::attach::Attached;
use crate::{
    config::{Config, Protocol, SynCookies},
    kernel::attach::Driver,
    net,
};

/// Settings of the network namespace that the daemon runs in.
const SYNCOOKIES: &str = "/proc/sys/net/ipv4/tcp_syncookies";
const TIMESTAMPS: &str = "/proc/sys/net/ipv4/tcp_timestamps";
const SACK: &str = "/proc/sys/net/ipv4/tcp_sack";
/// The value of the first two that lets cookies do all they can.
const BEST: &str = "2";

/// Bits of [`gateway_common::abi::Settings::flags`] that say what the host's TCP does with cookies.
pub(super) fn flags() -> u32 {
    let bit = |is_set, bit| if is_set { bit } else { 0 };
    bit(is(TIMESTAMPS, BEST), policy::COOKIE_OPTIONS) | bit(!is(SACK, "0"), policy::SACK)
}

/// Whether any service may be answered for.
fn are_wanted(config: &Config) -> bool {
    let wants = |service: &crate::config::Service| {
        service.protocol == Protocol::Tcp && service.syn_cookies != SynCookies::Off
    };
    config.services.iter().any(wants)
}

/// Changes the host's settings if the configuration says so; what goes wrong is told in [`warnings`].
pub(super) fn set(config: &Config) {
    if !config.attach.set_sysctls || !are_wanted(config) {
        return;
    }
    for path in [SYNCOOKIES, TIMESTAMPS] {
        if !is(path, BEST) {
            match fs::write(path, BEST) {
                Ok(()) => log::info!("{} set to {BEST}, as attach.set_sysctls says", name(path)),
                Err(error) => log::warn!("cannot write {path}: {error}"),
            }
        }
    }
}

/// Why cookies do not answer, or not as well as they could, and what to do about it.
pub(super) fn warnings(config: &Config, attached: &[Attached]) -> Vec<String> {
    if !are_wanted(config) {
        return Vec::new();
    }
    let fix = |path| {
        format!("`sysctl -w {}={BEST}` and `gateway reload`, or attach.set_sysctls = true", name(path))
    };
    let mut warnings = Vec::new();
    match read(SYNCOOKIES).as_deref() {
        Some(BEST) => {}
        Some("1") => warnings.push(format!(
            "SYN cookies answer only once a listener's queue is full, until then the service's SYN budget holds: {}",
            fix(SYNCOOKIES)
        )),
        _ => warnings.push(format!(
            "SYN cookies are off in the kernel, only the service's SYN budget holds: {}",
            fix(SYNCOOKIES)
        )),
    }
    if !is(TIMESTAMPS, BEST) {
        warnings.push(format!(
            "connections that a SYN cookie makes go without window scale and SACK: {}",
            fix(TIMESTAMPS)
        ));
    }
    for attached in attached.iter().filter(|attached| attached.driver == Driver::Native) {
        let kind = net::interface(&attached.name).ok().and_then(|interface| interface.kind);
        if kind.as_deref() == Some("veth") {
            let name = &attached.name;
            warnings.push(format!(
                "{name}: a veth delivers the answers of SYN cookies only if an XDP program is on its other end; where there \
                 is none, set syn_cookies = \"off\", or attach.driver = \"generic\""
            ));
        }
    }
    warnings
}

fn is(path: &str, value: &str) -> bool {
    read(path).as_deref() == Some(value)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// The setting as `sysctl` names it.
fn name(path: &str) -> String {
    path.trim_start_matches("/proc/sys/").replace('/', ".")
}
