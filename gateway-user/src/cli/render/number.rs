//! Numbers, sizes and times as people read them.

use std::time::{Duration, UNIX_EPOCH};

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `999 B`, `1.5 kB`, `23.4 GB`: decimal units, as rates are given.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let (mut tenths, mut unit) = (count / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `36h` is `1day 12h`: the two highest units.
pub fn duration(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A moment in seconds since the Unix epoch, in UTC: `2023-11-14T22:13:20Z`.
pub fn moment(at: u64) -> String {
    // The formatter takes no year of five digits; no counter of seconds from a healthy clock gets there.
    const YEAR_9999: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(at.min(YEAR_9999));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// `12.3 %`; what is there but less than that shows as `<0.1 %`.
pub fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 1_000).checked_div(u128::from(whole)) {
        None => "-".into(),
        Some(0) if part > 0 => "<0.1 %".into(),
        Some(tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}
