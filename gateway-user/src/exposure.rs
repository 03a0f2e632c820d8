//! What of this host stays open, or is less sure, although a policy looks as if it were closed: servers behind a gate that is for some of the
//! host's addresses alone, and gated services whose servers the program does not find.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use crate::{
    config::{Config, Protocol},
    net::{self, Covered, Interface, Listener, NetError},
};

/// Looks at this host; `addresses` are its own. A sentence for each gap, and what to do about it.
///
/// # Errors
/// Whatever keeps the kernel from telling which servers listen.
pub fn gaps(config: &Config, addresses: &[IpAddr]) -> Result<Vec<String>, NetError> {
    let interfaces = net::interfaces()?;
    let mut gaps = unpacked(&config.attach.interfaces, &interfaces);
    gaps.extend(twice(&config.attach.interfaces, &interfaces));
    gaps.extend(below(&config.attach.interfaces, &interfaces));
    // Where this process may not ask, the gateway itself does not run.
    gaps.extend(ipsec(net::ipsec_peers().unwrap_or_default().len()));
    if config.gated().next().is_none() {
        return Ok(gaps);
    }
    let listeners = net::listeners()?;
    gaps.extend(unfound(config, &listeners, &interfaces));
    if config.gated().all(|service| service.addresses.is_empty()) {
        return Ok(gaps);
    }
    gaps.extend(beside(config, addresses, &listeners));
    let accepts = |of: &str| {
        fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{of}/accept_source_route"))
            .is_ok_and(|text| text.trim() != "0")
    };
    gaps.extend(source_routed(&config.attach.interfaces, accepts));
    Ok(gaps)
}

/// Tunnels that this host unpacks itself, where the program is not: it has seen their packets from outside alone.
fn unpacked(protected: &[String], interfaces: &[Interface]) -> Vec<String> {
    let open = net::tunnel_devices(interfaces).filter(|one| one.up && !protected.contains(&one.name));
    open.map(|one| {
        let (name, kind) = (&one.name, one.kind.as_deref().unwrap_or_default());
        let remedy = match one.unjudged() {
            None => format!("add {name} to attach.interfaces, and it is"),
            Some(_) => "have services listen on other addresses than its".to_owned(),
        };
        format!("what comes out of the tunnel {name} ({kind}) is not judged, only the packets that it comes in: {remedy}")
    })
    .collect()
}

/// What IPsec unpacks: unlike a tunnel's, its packets come out of no device of their own, but for xfrm interfaces.
fn ipsec(associations: usize) -> Option<String> {
    (associations != 0).then(|| {
        format!(
            "what IPsec unpacks is not judged, only the packets that it comes in ({associations} security associations): route it by an xfrm \
             interface, and add that to attach.interfaces"
        )
    })
}

/// The protected interfaces, each with how much of what comes by it has come by others of them before.
fn covered<'a>(
    protected: &'a [String],
    interfaces: &'a [Interface],
) -> impl Iterator<Item = (&'a Interface, Covered)> {
    let others: Vec<&str> = protected.iter().map(String::as_str).collect();
    let named = interfaces.iter().filter(|one| protected.contains(&one.name));
    named.map(move |one| (one, net::covered(one, &others, interfaces)))
}

/// Interfaces of which some packets have come by another of them before: ports that a bridge or bond was given after the start, too.
fn twice(protected: &[String], interfaces: &[Interface]) -> Vec<String> {
    let in_part = covered(protected, interfaces).filter(|(_, by_others)| *by_others == Covered::InPart);
    in_part
        .map(|(one, _)| {
            format!(
                "some of what comes by {} has come by another of attach.interfaces before, and is judged and charged twice: name all of its \
                 ports instead, or it alone, and start the gateway again",
                one.name
            )
        })
        .collect()
}

/// Devices below a protected macvlan by which packets to this host come in as well.
fn below(protected: &[String], interfaces: &[Interface]) -> Vec<String> {
    let alone = covered(protected, interfaces).filter(|(_, by_others)| *by_others == Covered::No);
    let below = alone.filter_map(|(one, _)| Some((one, net::below_macvlan(one, interfaces)?)));
    let open = below.filter(|(_, lower)| lower.up);
    open.map(|(one, lower)| {
        format!(
            "what comes by {lower}, the device below {one} (macvlan), is not judged, and it answers ARP for addresses of {one}, too: name \
             {lower} in attach.interfaces in place of {one}, and both are",
            lower = lower.name,
            one = one.name
        )
    })
    .collect()
}

/// Gated services whose connections the program does not find among this host's sockets: it looks for the port that packets have on the wire,
/// and for sockets of the interface that they come in by.
fn unfound(config: &Config, listeners: &[Listener], interfaces: &[Interface]) -> Vec<String> {
    const JUDGED: &str = "its connections are judged as those that pass through this host, by the SYN that was seen: best effort";
    let mut gaps = Vec::new();
    for service in config.gated() {
        let has_port = |listener: &&Listener| service.has_port(listener.address.port());
        let on_ports: Vec<_> = listeners.iter().filter(has_port).collect();
        let name = &service.name;
        if on_ports.is_empty() {
            gaps.push(format!(
                "no server of this host listens on a port of {name}: {JUDGED}; if a rule redirects them to another port, have the server \
                 listen on this one"
            ));
        }
        for listener in on_ports.into_iter().filter(|listener| listener.device != 0) {
            let device = interfaces.iter().find(|interface| interface.index == listener.device);
            if let Some(device) = device.filter(|device| !config.attach.interfaces.contains(&device.name)) {
                gaps.push(format!(
                    "a server of {name} listens on {} by {} alone, where the program is not attached: {JUDGED}; leave out that it is bound \
                     to an interface (`BindToDevice=` of systemd)",
                    listener.address, device.name
                ));
            }
        }
    }
    gaps
}

/// Servers that listen on a gated port on addresses that no service names.
fn beside(config: &Config, addresses: &[IpAddr], listeners: &[Listener]) -> Vec<String> {
    // Whoever names an address for a service without a gate means it.
    let is_named = |address: &IpAddr, port: u16| {
        let mut services = config.services.iter().filter(|service| service.protocol == Protocol::Tcp);
        services.any(|service| service.takes(SocketAddr::new(*address, port)))
    };
    let mut gaps = Vec::new();
    for service in config.gated() {
        let on_ports = listeners.iter().filter(|listener| service.has_port(listener.address.port()));
        for listener in on_ports {
            let port = listener.address.port();
            let open: Vec<String> = addresses
                .iter()
                .filter(|address| listener.serves(address) && !is_named(address, port))
                .map(IpAddr::to_string)
                .collect();
            let gap = format!(
                "a server listens on {} and so on {}, which no service has among its `addresses`: what comes there is not \
                 judged; leave `addresses` of {} out, add them, or have the server listen on those of the service alone",
                listener.address,
                open.join(", "),
                service.name
            );
            if !open.is_empty() && !gaps.contains(&gap) {
                gaps.push(gap);
            }
        }
    }
    gaps
}

/// Interfaces by which a packet names the next of the host's addresses itself (RFC 791, loose source and record route).
fn source_routed(interfaces: &[String], accepts: impl Fn(&str) -> bool) -> Option<String> {
    let names: Vec<&str> = interfaces.iter().map(String::as_str).filter(|name| accepts(name)).collect();
    (accepts("all") && !names.is_empty()).then(|| {
        format!(
            "this host accepts source routes by {}: a packet to an address that no service names is led on to one that is gated, past the \
             gate; `sysctl -w net.ipv4.conf.all.accept_source_route=0`",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(services: &str) -> Config {
        Config::parse("f", services).unwrap()
    }

    fn listener(address: &str, is_v6_only: bool) -> Listener {
        Listener { address: address.parse().unwrap(), is_v6_only, device: 0 }
    }

    fn addresses() -> Vec<IpAddr> {
        ["192.0.2.1", "192.0.2.7", "2001:db8::1"].map(|address| address.parse().unwrap()).to_vec()
    }

    const ONE: &str = "[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\naddresses = [\"192.0.2.1\"]\n";

    #[test]
    fn a_server_on_all_addresses_behind_a_gate_for_one_is_told() {
        for (listener, open) in [
            (listener("0.0.0.0:443", false), Some("192.0.2.7")),
            (listener("[::]:443", false), Some("192.0.2.7, 2001:db8::1")),
            (listener("[::]:443", true), Some("2001:db8::1")),
            (listener("192.0.2.7:443", false), Some("192.0.2.7")),
            (listener("192.0.2.1:443", false), None),
            (listener("0.0.0.0:80", false), None),
            (listener("127.0.0.1:443", false), None),
        ] {
            let gaps = beside(&config(ONE), &addresses(), &[listener]);
            match open {
                Some(open) => {
                    assert!(gaps.len() == 1 && gaps[0].contains(&format!("so on {open},")), "{gaps:?}");
                }
                None => assert!(gaps.is_empty(), "{gaps:?}"),
            }
        }
    }

    #[test]
    fn what_is_judged_twice_or_not_at_all_is_told() {
        let port = Interface { master: Some(5), ..Interface::plain(2, "eth0") };
        let other = Interface { master: Some(5), ..Interface::plain(3, "eth1") };
        let bridge = Interface { kind: Some("bridge".into()), ..Interface::plain(5, "br0") };
        let all = [port, other, bridge];
        let told = |named: &[&str]| twice(&named.iter().map(|&name| name.into()).collect::<Vec<_>>(), &all);
        assert!(matches!(told(&["eth0", "br0"]).as_slice(), [one] if one.contains("comes by br0")));
        assert_eq!((told(&["eth0", "eth1"]), told(&["br0"])), (vec![], vec![]));
        let macvlan =
            |kind: &str| Interface { kind: Some(kind.into()), lower: Some(2), ..Interface::plain(6, "mac0") };
        let told = |named: &[&str], kind| {
            let protected: Vec<String> = named.iter().map(|&name| name.into()).collect();
            below(&protected, &[Interface { up: true, ..Interface::plain(2, "eth0") }, macvlan(kind)])
        };
        assert!(
            matches!(told(&["mac0"], "macvlan").as_slice(), [one] if one.contains("what comes by eth0,"))
        );
        assert_eq!((told(&["mac0", "eth0"], "macvlan"), told(&["eth0"], "macvlan")), (vec![], vec![]));
        assert_eq!(told(&["mac0"], "macvlan passthru"), [""; 0]);
        // All that comes by the bond has come by its port.
        let port = Interface { master: Some(2), ..Interface::plain(3, "eth0") };
        let bond = Interface { kind: Some("bond".into()), up: true, ..Interface::plain(2, "bond0") };
        let all = [port, bond, macvlan("macvlan")];
        assert_eq!(below(&["eth0".into(), "mac0".into()], &all), [""; 0]);
        assert!(ipsec(2).is_some_and(|told| told.contains("2 security associations")) && ipsec(0).is_none());
    }

    #[test]
    fn servers_that_are_not_found_are_told() {
        let interfaces = [Interface::plain(2, "eth0"), Interface::plain(5, "br0")];
        let config = config(&format!("[attach]\ninterfaces = [\"eth0\"]\n{ONE}"));
        let bound = |device| Listener { device, ..listener("0.0.0.0:443", false) };
        let told = |listeners: &[Listener]| unfound(&config, listeners, &interfaces);
        for found in [listener("[::]:443", false), bound(2)] {
            assert_eq!(told(&[found]), [""; 0]);
        }
        assert!(
            told(&[listener("0.0.0.0:8443", false)])[0]
                .starts_with("no server of this host listens on a port of api:")
        );
        assert!(told(&[bound(5)])[0].contains("listens on 0.0.0.0:443 by br0 alone"));
    }

    #[test]
    fn what_another_service_names_is_no_gap() {
        for require in ["tls", "any"] {
            let other =
                format!("name = \"other\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"{require}\"\n");
            let both = format!("{ONE}[[service]]\n{other}addresses = [\"192.0.2.7\", \"2001:db8::1\"]\n");
            assert_eq!(beside(&config(&both), &addresses(), &[listener("[::]:443", false)]), [""; 0]);
        }
    }

    #[test]
    fn source_routes_count_where_both_settings_allow_them() {
        let interfaces = ["eth0".to_owned(), "eth1".to_owned()];
        let told = |on: &[&str]| source_routed(&interfaces, |name| on.contains(&name));
        assert!(told(&["all", "eth1"]).is_some_and(|gap| gap.contains("by eth1:")));
        assert_eq!((told(&["all"]), told(&["eth0"])), (None, None));
    }
}
