//! No text makes the parser panic, and every place that it reports is in the text.

use gateway_common::limit::rate::{Dimension, Rate};
use proptest::prelude::*;

use super::super::Config;
use super::cases::BAD;
use crate::model::{Prefix, Quota, duration_text, parse_duration};

/// Parses, and looks at every place of the report.
fn survives(text: &str) -> Result<(), TestCaseError> {
    let (Ok(Config { warnings: report, .. }) | Err(report)) = Config::parse("gateway.toml", text);
    for problem in &report.problems {
        let place = &problem.place;
        prop_assert!(place.line >= 1 && place.column >= 1, "{place:?}");
        prop_assert!(text.contains(&place.text), "{place:?}");
        prop_assert!(place.column <= place.text.chars().count() + 1, "{place:?}");
    }
    prop_assert!(report.render(true).len() >= report.problems.len());
    Ok(())
}

/// Words that the parser knows, and what can go wrong around them.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "mode",
        "[limits]",
        "[[service]]",
        "[[class]]",
        "[lists]",
        "[ban]",
        "[service]",
        "[limits.neighbours]",
        "[limits.rest]",
        "\n",
        "\r\n",
        " = ",
        "\"",
        "'",
        "\"\"\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        "packets",
        "rate",
        "burst",
        "\"20k/s\"",
        "\"none\"",
        "name = \"a\"\n",
        "protocol = \"tcp\"\n",
        "ports = [443, \"1-9\"]\n",
        "sources = [\"10.0.0.0/8\"]\n",
        "total.",
        "syn = { rate = \"1/s\" }\n",
        "allow = [\"::/0\"]\n",
        "0x",
        "1e9",
        "-1",
        "true",
        "#",
        "\u{e4}",
        "\0",
        "\u{feff}",
        "2020-01-01",
        "\\u001b",
        "min_tls = \"1.2\"\n",
        "require = \"tls\"\n",
        ".",
        "a.b.c = 1\n",
        "\t",
    ];
    prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn text_of_known_pieces(pieces in prop::collection::vec(piece(), 0..40)) {
        survives(&pieces.concat())?;
    }

    #[test]
    fn broken_cases(case in 0..BAD.len(), other in 0..BAD.len(), at in any::<prop::sample::Index>(), piece in piece()) {
        let text = format!("{}\n{}", BAD[case].text, BAD[other].text);
        let mut at = at.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        survives(&format!("{}{piece}{}", &text[..at], &text[at..]))?;
        survives(&text[..at])?;
    }

    #[test]
    fn values_of_any_text(text in any::<String>(), digits in "[0-9]{0,22}[kMGKi]{0,2}(B|bit|b)?/?(s|min|h|d)?") {
        for text in [text, digits] {
            for dimension in Dimension::ALL {
                let _ = Quota::parse(dimension, &text, Some(&text));
                let _ = Quota::parse(dimension, "1k/s", Some(&text));
            }
            let _ = (parse_duration(&text), text.parse::<Prefix>());
        }
    }

    /// What is printed reads back as the same.
    #[test]
    fn printed_rates_read_back(amount in 1..200_000_000u64, unit in 0..4usize, dimension in 0..Dimension::COUNT) {
        let dimension = Dimension::ALL[dimension];
        let per = [1, 60, 3_600, 86_400][unit] * 1_000_000_000;
        if let Ok(quota) = Quota::new(dimension, Rate { amount, per }, None) {
            let again = Quota::parse(dimension, &quota.to_string(), Some(&quota.burst_text()));
            prop_assert_eq!(again, Ok(quota));
        }
    }

    /// A rate that no text gives is printed as one that is not higher.
    #[test]
    fn printed_rates_do_not_grow(amount in 1..1_000_000u64, per in 1_000_000_000..1_000_000_000_000u64) {
        if let Ok(quota) = Quota::new(Dimension::Packets, Rate { amount, per }, Some(1)) {
            let again = Quota::parse(Dimension::Packets, &quota.to_string(), Some("1")).unwrap().rate();
            prop_assert!(u128::from(again.amount) * u128::from(per) <= u128::from(amount) * u128::from(again.per));
        }
    }

    #[test]
    fn printed_durations_read_back(seconds in any::<u32>()) {
        let duration = std::time::Duration::from_secs(seconds.into());
        prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
    }
}
