//! Configurations that are accepted, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use gateway_common::limit::rate::Dimension;

use super::super::*;
use super::accepted;
use crate::model::{Quota, Quotas};

/// The example of the documentation, with the paths of two prefix lists to be put in.
const EXAMPLE: &str = include_str!("example.toml");

fn quota(dimension: Dimension, rate: &str, burst: Option<&str>) -> Quota {
    Quota::parse(dimension, rate, burst).unwrap()
}

fn quotas<const N: usize>(quotas: [Quota; N]) -> Quotas {
    let mut all = Quotas::NONE;
    for quota in quotas {
        all.set(quota);
    }
    all
}

fn nets<const N: usize>(texts: [&str; N]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The example with its lists in a directory of the test.
fn example() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("allow.txt"), "# monitoring\n192.0.2.20\n\n2001:db8::/48 # office\n").unwrap();
    std::fs::write(path("block.txt"), "203.0.113.128/25\r\n").unwrap();
    let text = EXAMPLE.replace("/etc/gateway/", &path(""));
    let file = path("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(file.as_ref()).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn the_example_of_the_documentation() {
    let config = example();
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(
        config.attach,
        Attach {
            interfaces: vec!["eth0".to_owned()],
            driver: Driver::Auto,
            on_exit: OnExit::Detach,
            set_sysctls: false,
            btf: None,
        }
    );
    let network = "2001:db8:8:9::/64".parse().unwrap();
    assert_eq!(config.limits.finer, [FinerNetwork { network, ipv6_prefix: 120 }]);
    assert_eq!(
        config.classes,
        [Class {
            name: "partners".to_owned(),
            sources: nets(["203.0.113.0/24", "2001:db8:7::/48"]),
            quotas: quotas([quota(Dimension::Packets, "200k/s", None)]),
            mode: Mode::Enforce,
        }]
    );
    assert_eq!(config.lists.allow, nets(["192.0.2.10/32", "192.0.2.20/32", "2001:db8::/48"]));
    assert_eq!(config.lists.block, nets(["198.51.100.0/24", "203.0.113.128/25"]));
    assert_eq!(config.ban, Some(Ban { never: nets(["192.0.2.0/24"]), ..Ban::default() }));
}

#[test]
fn the_services_of_the_example() {
    let [api, http3] = &example().services[..] else { panic!("two services") };
    let expected = Service {
        name: "api".to_owned(),
        protocol: Protocol::Tcp,
        ports: vec![443..=443, 8443..=8443],
        addresses: Vec::new(),
        require: Require::Tls,
        min_tls: Some(TlsVersion::V1_2),
        server_names: Vec::new(),
        proxy_protocol: false,
        refuse: Refuse::Reset,
        syn_cookies: SynCookies::Auto,
        syn_answers: Some(quota(Dimension::Syn, "100k/s", Some("20k"))),
        total: quotas([quota(Dimension::Syn, "50k/s", None)]),
        quotas: quotas([quota(Dimension::Packets, "50k/s", None)]),
        connections: Connections {
            each: Some(200),
            total: None,
            hello_timeout: Some(Duration::from_secs(30)),
            idle_timeout: None,
        },
        mode: Mode::Enforce,
    };
    assert_eq!(api, &expected);
    assert_eq!(
        (http3.protocol, http3.require, &http3.ports[..]),
        (Protocol::Udp, Require::Quic, &[443..=443][..])
    );
}

/// A client needs up to three Initials for a connection: as many connections as SYNs.
#[test]
fn openings_of_quic_have_limits_of_their_own() {
    let [_, http3] = &example().services[..] else { panic!("two services") };
    let openings =
        [quota(Dimension::Initial, "600/s", Some("1200")), quota(Dimension::Migration, "50/s", Some("100"))];
    assert_eq!(http3.quotas, quotas(openings));
    let all =
        [quota(Dimension::Initial, "5k/s", Some("10k")), quota(Dimension::Migration, "1k/s", Some("10k"))];
    assert_eq!(http3.total, quotas(all));
}

/// The documentation's example repeats the defaults of every section that an empty file has.
#[test]
fn the_example_has_the_defaults() {
    let (example, empty) = (example(), Config::default());
    // By default no network has finer sources.
    assert_eq!(Limits { finer: Vec::new(), ..example.limits }, empty.limits);
    assert_eq!(example.neighbours, empty.neighbours);
    assert_eq!(example.metrics, empty.metrics);
    assert_eq!(example.control, empty.control);
    assert_eq!(example.audit, empty.audit);
    assert_eq!(example.reflection, empty.reflection);
}

#[test]
fn connections_are_held_as_each_service_says() {
    let config = accepted(
        "[limits.neighbours]\nconnections = 500\n\
         [[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\nconnections = 5\n\
         total.connections = 70\nhello_timeout = \"none\"\nidle_timeout = \"5m\"\n\
         [[service]]\nname = \"b\"\nprotocol = \"tcp\"\nports = [80]\nconnections = \"none\"\n\
         [[service]]\nname = \"c\"\nprotocol = \"udp\"\nports = [443]\nrequire = \"quic\"\n",
    );
    assert_eq!(config.neighbours.connections, Some(500));
    let [a, b, c] = &config.services[..] else { panic!("three services") };
    let held = Connections {
        each: Some(5),
        total: Some(70),
        hello_timeout: None,
        idle_timeout: Some(Duration::from_secs(300)),
    };
    assert_eq!(
        (a.connections, b.connections, c.connections),
        (held, Connections::default(), Connections::default())
    );
}

#[test]
fn the_kernels_types_may_be_named() {
    let config = accepted("[attach]\nbtf = \"/etc/gateway/vmlinux.btf\"\n");
    assert_eq!(config.attach.btf, Some("/etc/gateway/vmlinux.btf".into()));
}

#[test]
fn the_example_needs_no_warning() {
    let warnings = example().warnings;
    assert!(warnings.problems.is_empty(), "{warnings}");
    let more = "[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n\
                server_names = [\"API.example.com\", \"*.example.org\"]\nproxy_protocol = true\nsyn_cookies = \"always\"\n\
                syn_answers = { rate = \"10k/s\" }\nrefuse = \"drop\"\n";
    let config = accepted(more);
    assert_eq!(config.services[0].server_names, ["api.example.com", "*.example.org"]);
    assert_eq!(config.services[0].syn_cookies, SynCookies::Always);
    assert_eq!(config.services[0].refuse, Refuse::Drop);
    assert_eq!(config.services[0].syn_answers, Some(quota(Dimension::Syn, "10k/s", None)));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
}

#[test]
fn ports_of_reflectors() {
    let config = accepted("[reflection]\ndrop = \"off\"\nports_extra = [7, \"8-9\"]\nports_allow = [53]");
    let expected =
        Reflection { drop: DropUnasked::Off, ports_extra: vec![7..=7, 8..=9], ports_allow: vec![53..=53] };
    assert_eq!(config.reflection, expected);
    assert_eq!(accepted("[reflection]").reflection, Reflection::default());
    for (word, expected) in
        [("auto", ReservedSources::Auto), ("pass", ReservedSources::Pass), ("drop", ReservedSources::Drop)]
    {
        let config = accepted(&format!("[sanity]\nreserved_sources = \"{word}\""));
        assert_eq!(config.sanity.reserved_sources, expected);
    }
}

#[test]
fn an_empty_file_is_the_default() {
    for text in
        ["", "\n", "# nothing\r\n", "\u{feff}", "[limits]\n[limits.neighbours]\n[attach]\n[metrics]\n"]
    {
        assert_eq!(accepted(text), Config::default(), "{text:?}");
    }
    let config = Config::default();
    assert_eq!(config.mode, Mode::Monitor);
    assert_eq!(config.ban, None);
    assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.control.socket, PathBuf::from("/run/gateway/control.sock"));
    assert_eq!(config.audit.database, PathBuf::from("/var/lib/gateway/audit.db"));
    assert_eq!(config.audit.retention, Duration::from_secs(365 * 86_400));
}

#[test]
fn a_key_replaces_its_own_default_alone() {
    let config = accepted("[limits]\nsyn = { rate = \"7/s\" }\nudp = \"none\"\nicmp.rate = \"1/s\"\n");
    let default = Limits::default().quotas;
    assert_eq!(config.limits.quotas.get(Dimension::Syn), Some(quota(Dimension::Syn, "7/s", None)));
    assert_eq!(config.limits.quotas.get(Dimension::Icmp), Some(quota(Dimension::Icmp, "1/s", None)));
    assert_eq!(config.limits.quotas.get(Dimension::Udp), None);
    assert!(config.limits.quotas.is_lifted(Dimension::Udp));
    for kept in [Dimension::Packets, Dimension::Bytes] {
        assert_eq!(config.limits.quotas.get(kept), default.get(kept));
    }
    assert_eq!(config.neighbours, Neighbours::default());
}

#[test]
fn what_is_no_services_has_a_total() {
    let config = accepted("[limits.rest]\nudp = { rate = \"2k/s\" }\nicmp = \"none\"\nsyn.rate = \"1k/s\"\n");
    let rest = &config.limits.rest;
    assert_eq!(rest.get(Dimension::Udp), Some(quota(Dimension::Udp, "2k/s", None)));
    assert_eq!(rest.get(Dimension::Syn), Some(quota(Dimension::Syn, "1k/s", None)));
    assert!(rest.is_lifted(Dimension::Icmp));
    assert_eq!(rest.get(Dimension::Packets), None);
    assert_eq!(config.limits.quotas, Limits::default().quotas);
}

#[test]
fn services_may_share_what_does_not_overlap() {
    let service = |name: &str, protocol: &str, ports: &str, addresses: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nports = {ports}\naddresses = {addresses}\n"
        )
    };
    let text = [
        service("a", "tcp", "[443, \"8000-8099\"]", "[\"192.0.2.1\"]"),
        service("b", "tcp", "[443]", "[\"192.0.2.2\", \"2001:db8::1\"]"),
        service("c", "udp", "[443]", "[]"),
        service("d", "tcp", "[\"8100-8200\", \"7999\"]", "[]"),
    ];
    let config = accepted(&text.concat());
    assert_eq!(config.services[0].ports, [443..=443, 8000..=8099]);
    assert_eq!(config.services[3].ports, [8100..=8200, 7999..=7999]);
}

#[test]
fn nested_classes_are_fine() {
    let text = "[[class]]\nname = \"wide\"\nsources = [\"10.0.0.0/8\"]\npackets = \"none\"\n\
                [[class]]\nname = \"narrow-1_b\"\nsources = [\"10.1.0.0/16\", \"10.1.1.1\"]\n";
    let config = accepted(text);
    assert_eq!(config.classes[1].sources, nets(["10.1.0.0/16", "10.1.1.1/32"]));
    assert!(config.classes[0].quotas.is_lifted(Dimension::Packets));
}

#[test]
fn risky_settings_are_warned_of() {
    let config = accepted("[metrics]\nlisten = \"0.0.0.0:9464\"\n[lists]\nallow = [\"::/0\"]\n");
    let places: Vec<_> =
        config.warnings.problems.iter().map(|p| (p.place.line, p.place.column, p.severity)).collect();
    assert_eq!(places, [(2, 10, Severity::Warning), (4, 10, Severity::Warning)]);
    assert!(config.warnings.to_string().starts_with("warning: metrics can be read from other hosts"));
}
