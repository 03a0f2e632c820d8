//! What can be typed, and what is printed.

use clap::{CommandFactory, Parser};

use super::args::{BlockVerb, LimitVerb, Span};
use super::error::Status as Exit;
use super::render;
use super::{Cli, CliError, Verb, caller, verbs};
use crate::control::client::ClientError;
use crate::control::protocol::{Failure, FailureKind};
use crate::model::{Dimension, LimitScope, Mode, Order};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn verb(line: &str) -> Verb {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).verb
}

#[test]
fn the_command_is_sound_and_every_verb_has_an_example() {
    Cli::command().debug_assert();
    fn walk(command: &clap::Command, path: &str) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example:\n  gateway "), "{path}: {help:?}");
            for example in help.lines().skip(1).map(str::trim) {
                let own =
                    example.split(['|', '<', '>', '&']).next().unwrap().replace("'login flood'", "flood");
                parse(&own).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
            walk(verb, &path);
        }
    }
    walk(&Cli::command(), "gateway");
}

#[test]
fn verbs_parse() {
    let Verb::Run(run) = verb("gateway run --interface eth0 --interface eth1 --mode enforce --replace")
    else {
        panic!("not run")
    };
    assert_eq!((run.interfaces.len(), run.mode, run.replace), (2, Some(Mode::Enforce), true));
    assert_eq!(run.sources, 131_072);
    let Verb::Run(run) = verb("gateway run --sources 1000000") else { panic!("not run") };
    assert_eq!(run.sources, 1_000_000);
    let set = verb("gateway limit set class/partners syn 200/s --burst 400 --for 10m");
    let Verb::Limit(LimitVerb::Set { place, dimension, for_seconds, .. }) = set else { panic!("{set:?}") };
    assert_eq!(place, LimitScope::Class("partners".into()));
    assert_eq!((dimension, for_seconds), (Dimension::Syn, Some(Span(Some(600)))));
    for (text, seconds) in [
        ("90s", Some(90)),
        ("36h", Some(129_600)),
        ("400d", Some(34_560_000)),
        // As fail2ban has them.
        ("600", Some(600)),
        ("-1", None),
    ] {
        let add = verb(&format!("gateway block add 192.0.2.0/24 --for {text}"));
        let Verb::Block(BlockVerb::Add { for_seconds, .. }) = add else { panic!("{add:?}") };
        assert_eq!(for_seconds, Some(Span(seconds)));
    }
    let Verb::Sources(sources) = verb("gateway sources --by drops") else { panic!("not sources") };
    assert_eq!((sources.top, sources.by), (20, Order::Drops));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    for (line, word) in [
        ("gateway block add 192.0.2.77/24", "192.0.2.0/24"),
        ("gateway block add example.com", "no IP address or prefix"),
        ("gateway block add 192.0.2.7 --for 0", "less than a second"),
        ("gateway block add 192.0.2.7 --for -2", "-1 for no end"),
        ("gateway block add 192.0.2.7 --for soon", "10m"),
        ("gateway block add 192.0.2.7 --for 500ms", "no duration"),
        ("gateway block add 192.0.2.7 --for 99999d", "century"),
        ("gateway limit set klass/x syn 1/s", "class/NAME"),
        ("gateway limit set default sin 1/s", "syn"),
        ("gateway mode on", "monitor"),
        ("gateway stop --keep --detach", "cannot be used with"),
        ("gateway sources --top 0", "1..="),
        ("gateway fly", "unrecognized"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(word), "{line}: {error}");
    }
    let long = format!("--reason={}", "x".repeat(201));
    for bad in [long.as_str(), "--reason=\u{1b}[2J"] {
        assert!(Cli::try_parse_from(["gateway", "block", "add", "192.0.2.7", bad]).is_err());
    }
}

#[test]
fn the_socket_is_as_given_or_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gateway.toml");
    let global = |more: &str| parse(&format!("gateway status --config {} {more}", config.display())).unwrap();
    assert_eq!(verbs::socket(&global("").global).to_str(), Some(super::args::SOCKET));
    std::fs::write(&config, "[control]\nsocket = \"/run/other.sock\"\n").unwrap();
    assert_eq!(verbs::socket(&global("").global).to_str(), Some("/run/other.sock"));
    assert_eq!(verbs::socket(&global("--socket /tmp/x").global).to_str(), Some("/tmp/x"));
}

#[test]
fn failures_have_their_exit_status() {
    let failed =
        |kind| ClientError::Failed(Failure { kind, message: "no".into(), help: Some("do this".into()) });
    for (error, status) in [
        (ClientError::NotRunning("/run/x".into()), Exit::NotRunning),
        (ClientError::Permission("/run/x".into()), Exit::Failed),
        (ClientError::Timeout, Exit::Failed),
        (ClientError::Answer("?".into()), Exit::Failed),
        (failed(FailureKind::Usage), Exit::Usage),
        (failed(FailureKind::Failed), Exit::Failed),
        (failed(FailureKind::Denied), Exit::Failed),
        (failed(FailureKind::Refused), Exit::Refused),
    ] {
        let error = CliError::from(error);
        assert_eq!(error.status, status, "{error:?}");
        let text = error.text();
        assert!(text.starts_with("error: ") && text.contains("\nhelp: "), "{text}");
    }
    let codes = [Exit::Failed, Exit::Usage, Exit::NotRunning, Exit::Refused].map(|status| status as u8);
    assert_eq!(codes, [1, 2, 3, 4]);
    assert_eq!(CliError::reported(Exit::Usage).text(), "");
}

#[test]
fn the_caller_has_come_by_a_session() {
    let found =
        caller::find(b"HOME=/home/x\0SSH_CONNECTION=192.0.2.7 50000 198.51.100.1 2222\0TERM=x\0").unwrap();
    assert_eq!(
        (found.client, found.server, found.port),
        ("192.0.2.7".parse().unwrap(), "198.51.100.1".parse().ok(), 2222)
    );
    let zone = caller::find(b"SSH_CONNECTION=fe80::1%eth0 1 fe80::2%eth0 22").unwrap();
    assert_eq!(zone.client, "fe80::1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(caller::find(b"A=SSH_CONNECTION=192.0.2.7 1 2 3\0"), None);
    assert_eq!(caller::find(b"SSH_CONNECTION=192.0.2.7\0"), None);
    assert_eq!(caller::parent_of("12 (a) b) S 7 12 12 0 -1"), Some(7));
}

#[test]
fn numbers_read_well() {
    assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1_000, 12_345_678].map(render::thousands)[..]);
    assert_eq!(render::thousands(u64::MAX), "18,446,744,073,709,551,615");
    let sizes = [0, 999, 1_000, 999_999, 1_000_000, 23_450_000_000].map(render::bytes);
    assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "23.4 GB"]);
    assert_eq!(render::bytes(u64::MAX), "18.4 EB");
    assert_eq!(render::duration(129_661), "1day 12h");
    assert_eq!(render::duration(0), "0s");
    assert_eq!(render::moment(1_700_000_000), "2023-11-14T22:13:20Z");
    assert_eq!(render::moment(u64::MAX), "9999-12-31T23:59:59Z");
    let shares = [(0, 0), (0, 9), (1, 100_000), (1, 3), (9, 9)].map(|(a, b)| render::percent(a, b));
    assert_eq!(shares, ["-", "0.0 %", "<0.1 %", "33.3 %", "100.0 %"]);
    assert_eq!(render::clean("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
}
