//! What SYN cookies need of the host's TCP.
//!
//! The kernel's helper makes a cookie for every SYN only at net.ipv4.tcp_syncookies = 2 (at 1 once the listener's queue is full,
//! at 0 never). So `syn_cookies = "auto"` counts as off at any other value: every SYN of a surge would pay for a cookie that is
//! not made. The client's window scale and SACK are kept in the timestamp of the answer, and the kernel takes a random
//! offset off what comes back before it looks for them, but at net.ipv4.tcp_timestamps = 2 (`cookie_v4_check` in
//! net/ipv4/syncookies.c, `secure_tcp_ts_off` in net/core/secure_seq.c): at any other value none of them is offered.
//!
//! At 2 both cost every listener of the host something: Fast Open, the window scale of clients without timestamps, and segments that are
//! longer than a cookie can say. So with `attach.set_sysctls` the daemon sets them while a SYN flood is under way, and sets them back.

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};

use gateway_common::abi::{Settings, cookies, policy};

use super::attach::Attached;
use crate::{
    config::{Config, Protocol, SynCookies},
    kernel::attach::Driver,
    net,
};

/// Settings of the network namespace that the daemon runs in.
pub(in crate::daemon) const SYNCOOKIES: &str = "/proc/sys/net/ipv4/tcp_syncookies";
pub(in crate::daemon) const TIMESTAMPS: &str = "/proc/sys/net/ipv4/tcp_timestamps";
const SACK: &str = "/proc/sys/net/ipv4/tcp_sack";
/// The value of the first two that lets cookies do all they can.
pub(in crate::daemon) const BEST: &str = "2";

/// What the host's settings said when the policy was compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Host {
    syncookies: Option<String>,
    timestamps: Option<String>,
    sack: Option<String>,
    /// The daemon sets the first two when they are needed.
    is_set: bool,
    /// Interfaces whose VLAN tags a program in the driver does not see, with the VLAN devices on them: its answers would leave without.
    untagged: Vec<(String, Vec<String>)>,
}

impl Host {
    /// What they say now.
    pub(in crate::daemon) fn read(config: &Config, attached: &[Attached]) -> Self {
        Self {
            syncookies: read(SYNCOOKIES),
            timestamps: read(TIMESTAMPS),
            sack: read(SACK),
            is_set: config.attach.set_sysctls && [SYNCOOKIES, TIMESTAMPS].into_iter().all(is_writable),
            untagged: untagged(config, attached),
        }
    }

    /// Tells the program what the host's TCP does with cookies, and takes back what it cannot do.
    pub(in crate::daemon) fn fit(&self, settings: &mut Settings) {
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        settings.flags |= bit(is_best(&self.timestamps), policy::COOKIE_OPTIONS);
        settings.flags |= bit(self.sack.as_deref() != Some("0"), policy::SACK);
        if !self.untagged.is_empty() {
            settings.services.iter_mut().for_each(|service| service.cookies = cookies::OFF);
        }
        if !is_best(&self.syncookies) && !self.is_set {
            let automatic = settings.services.iter_mut().filter(|service| service.cookies == cookies::AUTO);
            automatic.for_each(|service| service.cookies = cookies::OFF);
        }
    }

    /// What services lack of cookies, and what to do about it.
    fn lacks(&self, config: &Config) -> Vec<String> {
        let mut lacks = Vec::new();
        for (name, vlans) in &self.untagged {
            lacks.push(format!(
                "no SYN is answered by a cookie: VLAN tags are taken off before the program on {name} sees a frame, and its answers would leave \
                 without, so that no connection by {} came about; {}, then `gateway reload`",
                vlans.join(", "),
                net::keep_tags(name)
            ));
        }
        if self.is_set || !self.untagged.is_empty() {
            return lacks;
        }
        if !is_best(&self.syncookies) {
            let value = self.syncookies.as_deref().unwrap_or("not to be read");
            let remedy = remedy(SYNCOOKIES);
            if wants(config, SynCookies::Auto) {
                lacks.push(format!(
                    "syn_cookies = \"auto\" counts as off, since net.ipv4.tcp_syncookies is {value} and not 2; the service's SYN \
                     budget alone holds a flood: {remedy}"
                ));
            }
            if wants(config, SynCookies::Always) {
                let made = match value {
                    "1" => "only once a listener's queue is full, until then the service's SYN budget holds",
                    _ => "never, the service's SYN budget alone holds a flood",
                };
                lacks.push(format!(
                    "syn_cookies = \"always\": the kernel makes a cookie {made}, since net.ipv4.tcp_syncookies is {value}: {remedy}"
                ));
            }
        }
        if !is_best(&self.timestamps) {
            lacks.push(format!(
                "connections that a SYN cookie makes go without window scale and SACK: {}",
                remedy(TIMESTAMPS)
            ));
        }
        lacks
    }
}

/// Interfaces with VLAN devices whose tags a program in the driver does not see. In generic mode a frame keeps its tag beside it.
fn untagged(config: &Config, attached: &[Attached]) -> Vec<(String, Vec<String>)> {
    if !are_wanted(config) {
        return Vec::new();
    }
    let is_generic =
        |name: &str| attached.iter().any(|one| one.name == name && one.driver == Driver::Generic);
    let all = net::interfaces().unwrap_or_default();
    let named =
        all.iter().filter(|one| config.attach.interfaces.contains(&one.name) && !is_generic(&one.name));
    let of = |interface: &net::Interface| {
        let vlans: Vec<String> = net::vlans(interface, &all).into_iter().map(str::to_owned).collect();
        // What cannot be asked is supposed: a connection that does not come about is worse than a cookie less.
        let is_untagged = !vlans.is_empty() && net::is_untagged(interface).unwrap_or(true);
        is_untagged.then(|| (interface.name.clone(), vlans))
    };
    named.filter_map(of).collect()
}

/// Whether any service says so.
pub(in crate::daemon) fn wants(config: &Config, when: SynCookies) -> bool {
    let mut services = config.services.iter().filter(|service| service.protocol == Protocol::Tcp);
    services.any(|service| service.syn_cookies == when)
}

/// Whether any service may be answered for.
fn are_wanted(config: &Config) -> bool {
    wants(config, SynCookies::Auto) || wants(config, SynCookies::Always)
}

/// Why cookies do not answer, or not as well as they could, and what to do about it.
pub(in crate::daemon) fn warnings(config: &Config, host: &Host, attached: &[Attached]) -> Vec<String> {
    if !are_wanted(config) {
        return Vec::new();
    }
    let mut warnings = host.lacks(config);
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

fn remedy(path: &str) -> String {
    format!("`sysctl -w {}={BEST}` and `gateway reload`, or attach.set_sysctls = true", name(path))
}

fn is_best(value: &Option<String>) -> bool {
    value.as_deref() == Some(BEST)
}

pub(in crate::daemon) fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// Whether a setting can be changed: it is opened, and left as it is. In a container /proc/sys can be read-only.
pub(in crate::daemon) fn is_writable(path: &str) -> bool {
    OpenOptions::new().write(true).open(path).is_ok()
}

/// The setting as `sysctl` names it.
pub(in crate::daemon) fn name(path: &str) -> String {
    path.trim_start_matches("/proc/sys/").replace('/', ".")
}
