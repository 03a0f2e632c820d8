use gateway_common::{
    abi::{Settings, cookies, policy},
    hash::Key,
};

use super::Host;
use crate::{
    config::Config,
    policy::{Overrides, Rows, compile},
};

fn config(modes: &[&str]) -> Config {
    let service = |(index, mode): (usize, &&str)| {
        format!(
            "[[service]]\nname = \"s{index}\"\nprotocol = \"tcp\"\nports = [{}]\nsyn_cookies = \"{mode}\"\n",
            index + 1
        )
    };
    let text: String = modes.iter().enumerate().map(service).collect();
    Config::parse("test", &text).expect("it is valid")
}

fn compiled(config: &Config, host: &Host) -> Box<Settings> {
    let mut rows = Rows::default();
    let settings = compile(config, config.mode, &Overrides::new(), &mut rows, 1, Key([1, 2]));
    let mut settings = settings.expect("it compiles");
    host.fit(&mut settings);
    settings
}

fn host(syncookies: &str, timestamps: &str, sack: &str) -> Host {
    let [syncookies, timestamps, sack] = [syncookies, timestamps, sack].map(|value| Some(value.to_owned()));
    Host { syncookies, timestamps, sack, is_set: false, untagged: Vec::new() }
}

#[test]
fn auto_counts_as_off_where_the_kernel_makes_no_cookie_for_every_syn() {
    let config = config(&["off", "auto", "always"]);
    let seen = |host: &Host| {
        let settings = compiled(&config, host);
        [1, 2, 3].map(|row| settings.services[row].cookies)
    };
    assert_eq!(seen(&host("2", "1", "1")), [cookies::OFF, cookies::AUTO, cookies::ALWAYS]);
    for unfit in [host("1", "2", "1"), host("0", "2", "1"), Host::default()] {
        assert_eq!(seen(&unfit), [cookies::OFF, cookies::OFF, cookies::ALWAYS], "{unfit:?}");
    }
}

/// They are 2 by the time that a cookie is made.
#[test]
fn auto_holds_where_the_daemon_sets_what_it_needs() {
    let host = Host { is_set: true, ..host("1", "1", "1") };
    assert_eq!(compiled(&config(&["auto"]), &host).services[1].cookies, cookies::AUTO);
    assert_eq!(host.lacks(&config(&["auto", "always"])), Vec::<String>::new());
    // Options only from then on.
    assert_eq!(compiled(&config(&["auto"]), &host).flags & policy::COOKIE_OPTIONS, 0);
}

#[test]
fn options_are_offered_where_the_kernel_finds_them_again() {
    let flags =
        |host: &Host| compiled(&config(&["auto"]), host).flags & (policy::COOKIE_OPTIONS | policy::SACK);
    assert_eq!(flags(&host("2", "2", "1")), policy::COOKIE_OPTIONS | policy::SACK);
    assert_eq!(flags(&host("2", "1", "1")), policy::SACK);
    assert_eq!(flags(&host("2", "2", "0")), policy::COOKIE_OPTIONS);
}

#[test]
fn warnings_say_what_holds_and_what_to_do() {
    assert!(host("2", "2", "1").lacks(&config(&["auto", "always"])).is_empty());
    let lacks = |value, mode| host(value, "2", "1").lacks(&config(&[mode])).join("\n");
    for (value, mode, words) in [
        ("1", "auto", "\"auto\" counts as off, since net.ipv4.tcp_syncookies is 1"),
        ("0", "auto", "\"auto\" counts as off, since net.ipv4.tcp_syncookies is 0"),
        ("1", "always", "\"always\": the kernel makes a cookie only once a listener's queue is full"),
        ("0", "always", "\"always\": the kernel makes a cookie never"),
    ] {
        let warning = lacks(value, mode);
        assert!(warning.contains(words), "{value}, {mode}: {warning}");
        let remedy =
            "`sysctl -w net.ipv4.tcp_syncookies=2` and `gateway reload`, or attach.set_sysctls = true";
        assert!(warning.ends_with(remedy) && !warning.contains('\n'), "{warning}");
    }
    assert!(host("2", "1", "1").lacks(&config(&["auto"])).join("").contains("tcp_timestamps=2"));
}

#[test]
fn where_tags_are_taken_off_nothing_is_answered_and_that_is_said() {
    let untagged = vec![("eth0".to_owned(), vec!["eth0.7".to_owned(), "lan".to_owned()])];
    let host = Host { is_set: true, untagged, ..host("2", "2", "1") };
    let config = config(&["auto", "always"]);
    let settings = compiled(&config, &host);
    assert_eq!([1, 2].map(|row| settings.services[row].cookies), [cookies::OFF; 2]);
    let lacks = host.lacks(&config);
    assert!(lacks.len() == 1 && lacks[0].contains("by eth0.7, lan came about"), "{lacks:?}");
}
