//! Rates, sizes and durations as text.
//!
//! `k M G` are decimal and `Ki Mi Gi` binary. `B` is a byte and `bit` a bit: a bare `b` would leave the reader in doubt.

use std::time::Duration;

use gateway_common::limit::rate::{Dimension, Rate};

use super::wrong::{Wrong, quoted};

/// Multipliers by their letters; the longer ones first, for `Mi` starts like `M`.
const PREFIXES: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// The times that a rate may be for, in nanoseconds.
const PERIODS: [(&str, u64); 4] =
    [("s", 1_000_000_000), ("min", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000)];

/// Units of a duration, in seconds; the last spelling of a minute is that of rates.
const DURATIONS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("min", 60)];

/// Bits of a byte.
const BITS: u64 = 8;

/// Examples of a rate in a dimension.
pub(crate) const fn rate_example(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Bytes => "1Gbit/s, 100MiB/s or 500kB/s",
        _ => "200/s, 20k/s or 30/min",
    }
}

/// Examples of a burst in a dimension.
pub(crate) const fn burst_example(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Bytes => "64MiB or 500kB",
        _ => "400 or 40k",
    }
}

/// A rate: `20k/s` for packets, `1Gbit/s` for bytes.
pub(crate) fn rate(dimension: Dimension, text: &str) -> Result<Rate, Wrong> {
    let example = format!("write a rate such as {}", rate_example(dimension));
    let Some((amount, period)) = text.split_once('/') else {
        return Err(Wrong::new(format!("{} has no unit of time", quoted(text)), example));
    };
    let Some(&(_, per)) = PERIODS.iter().find(|(unit, _)| *unit == period) else {
        let message = format!("{} is no unit of time for a rate", quoted(period));
        return Err(Wrong::new(message, "use `s`, `min`, `h` or `d` after the slash, as in 30/min"));
    };
    let (count, unit) = number(amount).map_err(|why| why.about(text, &example))?;
    match (dimension, unit) {
        (Dimension::Bytes, "B") => Ok(Rate { amount: count, per }),
        // An odd number of bits is bytes in eight times the time.
        (Dimension::Bytes, "bit") if count.is_multiple_of(BITS) => Ok(Rate { amount: count / BITS, per }),
        (Dimension::Bytes, "bit") => Ok(Rate { amount: count, per: per * BITS }),
        (Dimension::Bytes, "") => {
            let message = format!("{} does not say bits or bytes", quoted(text));
            Err(Wrong::new(message, format!("write {amount}bit/{period} or {amount}B/{period}")))
        }
        (Dimension::Bytes, _) => Err(Wrong::new(format!("{} is no unit of bytes", quoted(unit)), example)),
        (_, "") => Ok(Rate { amount: count, per }),
        (_, "B" | "bit") => {
            let name = dimension.name();
            let message = format!("`{name}` counts packets, but {} is a rate of bytes", quoted(text));
            Err(Wrong::new(message, example))
        }
        (_, unit) => Err(Wrong::new(format!("{} is no unit of packets", quoted(unit)), example)),
    }
}

/// A burst: `40k` packets or `64MiB`.
pub(crate) fn burst(dimension: Dimension, text: &str) -> Result<u64, Wrong> {
    let example = format!("write a burst such as {}", burst_example(dimension));
    let (count, unit) = number(text).map_err(|why| why.about(text, &example))?;
    match (dimension, unit) {
        (Dimension::Bytes, "B") => Ok(count),
        (Dimension::Bytes, "") => {
            let message = format!("{} has no unit", quoted(text));
            Err(Wrong::new(message, format!("write {text}B for bytes")))
        }
        (Dimension::Bytes, _) => Err(Wrong::new(format!("{} is no size", quoted(text)), example)),
        (_, "") => Ok(count),
        (_, _) => Err(Wrong::new(format!("{} is no number of packets", quoted(text)), example)),
    }
}

/// A duration: `90s`, `10m`, `36h`, `400d`, and several of them one behind the other: `1h 30m`.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|wrong| wrong.to_string())
}

pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = |what: &str| {
        let example = "write a duration such as 90s, 10m, 36h or 400d";
        Wrong::new(format!("{} {what}", quoted(text)), example)
    };
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() || total == 0 {
        let (digits, behind) = split_digits(rest);
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        if unit.is_empty() && behind.is_empty() && !digits.is_empty() {
            return Err(wrong("has no unit"));
        }
        let seconds = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| seconds);
        let Some(seconds) = seconds.filter(|_| !digits.is_empty()) else {
            return Err(wrong("is no duration"));
        };
        let part = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*seconds));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| wrong("is too long"))?;
        if behind.is_empty() {
            break;
        }
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    Ok(Duration::from_secs(total))
}

/// A duration above zero.
pub(crate) fn time(text: &str) -> Result<Duration, Wrong> {
    match duration(text)? {
        Duration::ZERO => Err(Wrong::new(format!("{} is no time at all", quoted(text)), "write at least 1s")),
        duration => Ok(duration),
    }
}

/// A duration in the largest unit that holds it exactly; what is below a second is left out.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = DURATIONS[..4].iter().rev().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (name, unit) = unit.unwrap_or(&DURATIONS[0]);
    format!("{}{name}", seconds / unit)
}

/// Why a text does not start with a number.
enum NotNumber {
    NoDigits,
    NotWhole,
    TooLarge,
}

impl NotNumber {
    fn about(self, text: &str, help: &str) -> Wrong {
        let what = match self {
            Self::NoDigits => "does not start with a number",
            Self::NotWhole => "is not a whole number",
            Self::TooLarge => "is too large",
        };
        Wrong::new(format!("{} {what}", quoted(text)), help)
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// A number with its multiplier applied, and the unit that follows.
fn number(text: &str) -> Result<(u64, &str), NotNumber> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Err(NotNumber::NoDigits);
    }
    if rest.starts_with(['.', ',', '_']) {
        return Err(NotNumber::NotWhole);
    }
    let (multiplier, unit) = PREFIXES
        .iter()
        .find_map(|(prefix, multiplier)| Some((*multiplier, rest.strip_prefix(prefix)?)))
        .unwrap_or((1, rest));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(multiplier));
    Ok((number.ok_or(NotNumber::TooLarge)?, unit))
}

/// A number with the multiplier that makes it shortest without changing it.
fn short(number: u64, prefixes: &[(&str, u64)]) -> String {
    let fits = |(_, multiplier): &&(&str, u64)| number > 0 && number.is_multiple_of(*multiplier);
    let texts =
        prefixes.iter().filter(fits).map(|(prefix, multiplier)| format!("{}{prefix}", number / multiplier));
    texts.fold(number.to_string(), shorter)
}

/// The shorter of two texts; the first where they are as long.
fn shorter(one: String, other: String) -> String {
    if other.len() < one.len() { other } else { one }
}

/// A burst as [`burst`] reads it.
pub(crate) fn burst_text(dimension: Dimension, burst: u64) -> String {
    let unit = if dimension == Dimension::Bytes { "B" } else { "" };
    format!("{}{unit}", short(burst, &PREFIXES))
}

/// A rate as [`rate`] reads it.
///
/// Exact for every rate that came from text; of another, the nearest one below in whole units a second, minute, hour or day.
pub(crate) fn rate_text(dimension: Dimension, rate: Rate) -> String {
    let bits = if dimension == Dimension::Bytes { BITS } else { 1 };
    let per = u128::from(rate.per.max(1));
    let scaled = |period: u64| u128::from(rate.amount) * u128::from(bits) * u128::from(period);
    let own = |(_, period): &&(&str, u64)| rate.per == *period || rate.per == period * bits;
    let exact = |(_, period): &&(&str, u64)| scaled(*period).is_multiple_of(per);
    let coarse = |(_, period): &&(&str, u64)| scaled(*period) >= per;
    let mut choices =
        [PERIODS.iter().find(own), PERIODS.iter().find(exact), PERIODS.iter().find(coarse)].into_iter();
    let (name, period) = choices.find_map(|choice| choice).unwrap_or(&PERIODS[0]);
    let amount = u64::try_from(scaled(*period) / per).unwrap_or(u64::MAX);
    let decimal = &PREFIXES[3..];
    let mut text = short(amount, decimal);
    if dimension == Dimension::Bytes {
        text.push_str("bit");
        if amount.is_multiple_of(BITS) {
            text = shorter(text, format!("{}B", short(amount / BITS, &PREFIXES)));
        }
    }
    format!("{text}/{name}")
}
