//! Rates, bursts, durations and prefixes as text.

use std::time::Duration;

use gateway_common::limit::rate::{Dimension, Limit, Rate};

use crate::model::{Mode, Prefix, Quota, duration_text, parse_duration};

const SECOND: u64 = 1_000_000_000;

/// Dimension, text, amount, nanoseconds, the text that comes back, and the default burst.
const RATES: &[(Dimension, &str, u64, u64, &str, u64)] = &[
    (Dimension::Packets, "200/s", 200, SECOND, "200/s", 200),
    (Dimension::Packets, "20k/s", 20_000, SECOND, "20k/s", 20_000),
    (Dimension::Udp, "5M/s", 5_000_000, SECOND, "5M/s", 5_000_000),
    (Dimension::Syn, "30/min", 30, 60 * SECOND, "30/min", 1),
    (Dimension::Icmp, "10/h", 10, 3_600 * SECOND, "10/h", 1),
    (Dimension::Icmp, "1/d", 1, 86_400 * SECOND, "1/d", 1),
    (Dimension::Packets, "2000/s", 2_000, SECOND, "2k/s", 2_000),
    (Dimension::Packets, "1Ki/s", 1_024, SECOND, "1024/s", 1_024),
    (Dimension::Packets, "2Mi/min", 2 << 20, 60 * SECOND, "2097152/min", 34_953),
    (Dimension::Bytes, "100MiB/s", 100 << 20, SECOND, "100MiB/s", 100 << 20),
    (Dimension::Bytes, "1Gbit/s", 125_000_000, SECOND, "1Gbit/s", 125_000_000),
    (Dimension::Bytes, "500kB/s", 500_000, SECOND, "4Mbit/s", 500_000),
    (Dimension::Bytes, "8KiB/s", 8_192, SECOND, "8KiB/s", 65_536),
    (Dimension::Bytes, "1GiB/s", 1 << 30, SECOND, "1GiB/s", 1 << 30),
    (Dimension::Bytes, "10GB/s", 10_000_000_000, SECOND, "10GB/s", 10_000_000_000),
    (Dimension::Bytes, "10Mbit/min", 1_250_000, 60 * SECOND, "10Mbit/min", 65_536),
    (Dimension::Bytes, "1001bit/s", 1_001, 8 * SECOND, "1001bit/s", 65_536),
];

#[test]
fn rates_in_all_spellings() {
    for &(dimension, text, amount, per, back, burst) in RATES {
        let quota = Quota::parse(dimension, text, None).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((quota.rate(), quota.burst()), (Rate { amount, per }, burst), "{text}");
        assert_eq!(quota.limit(), Limit::new(dimension, Rate { amount, per }, burst).unwrap(), "{text}");
        assert_eq!(quota.to_string(), back, "{text}");
        let again = Quota::parse(dimension, &quota.to_string(), Some(&quota.burst_text()));
        assert_eq!(again.as_ref(), Ok(&quota), "{text} became {quota} and {}", quota.burst_text());
    }
}

#[test]
fn bursts() {
    let packets = |text| Quota::parse(Dimension::Packets, "1k/s", Some(text)).map(|quota| quota.burst());
    assert_eq!(packets("400"), Ok(400));
    assert_eq!(packets("40k"), Ok(40_000));
    assert_eq!(packets("4Ki"), Ok(4_096));
    let bytes = |text| Quota::parse(Dimension::Bytes, "1MB/s", Some(text)).map(|quota| quota.burst());
    assert_eq!(bytes("64MiB"), Ok(64 << 20));
    assert_eq!(bytes("1518B"), Ok(1_518));
    assert!(bytes("1517B").is_err());
}

#[test]
fn a_rate_that_was_no_text_is_rounded_down() {
    let quota =
        |amount, per| Quota::new(Dimension::Packets, Rate { amount, per }, Some(1)).unwrap().to_string();
    assert_eq!(quota(3, 2 * SECOND), "90/min");
    assert_eq!(quota(10, 7 * SECOND), "1/s");
    assert_eq!(quota(1, 7 * SECOND), "8/min");
}

#[test]
fn a_wrong_rate_says_what_would_be_right() {
    let error = Quota::parse(Dimension::Syn, "200", None).unwrap_err();
    assert_eq!(error, "`200` has no unit of time; write a rate such as 200/s, 20k/s or 30/min");
}

#[test]
fn durations() {
    for (text, seconds) in [("90s", 90), ("10m", 600), ("36h", 129_600), ("400d", 34_560_000), ("0s", 0)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        assert_eq!(duration_text(Duration::from_secs(seconds)), text);
    }
    for (text, seconds) in [("1h30m", 5_400), ("1h 30m", 5_400), ("5min", 300), ("1d 1s", 86_401)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in [
        "",
        "s",
        "10",
        "10 s",
        "1h 30",
        "1h  30m",
        "-1s",
        "1.5h",
        "99999999999999999999s",
        "9999999999999999999d",
        "1S",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn prefixes() {
    for (text, net) in [
        ("192.0.2.10", "192.0.2.10/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(text.parse::<Prefix>().map(|prefix| prefix.network().to_string()), Ok(net.to_owned()));
    }
    for text in
        ["", "/", "1.2.3", "010.0.0.1", "1.2.3.4/+8", "1.2.3.4/ 8", "1.2.3.4/24", "::/129", "::ffff:1.2.3.4"]
    {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
}

#[test]
fn words_are_the_same_both_ways() {
    for mode in [Mode::Enforce, Mode::Monitor, Mode::Off] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
    }
    let error = "drop".parse::<Mode>().unwrap_err();
    assert!(error.contains("`enforce`, `monitor`, `off`"), "{error}");
}
