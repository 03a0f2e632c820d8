//! A hundred thousand bans in one request.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Scale;
use crate::lab::{Gateway, Lab};

/// How long a request for addresses may take, and one for networks, which the kernel matches by their length.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(1);
const NETWORKS_WITHIN: Duration = Duration::from_secs(2);
/// So many are asked for, at full length.
const COUNT: u32 = 100_000;

/// Prefixes of a length, in order, from 10.0.0.0 on.
fn list(count: u32, length: u8) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let address = std::net::Ipv4Addr::from_bits((10 << 24) + (number << (32 - length)));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address}/{length}");
        text
    })
}

/// A list of bans is applied as one change, all of it, and taken back.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn claims(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let count = if *scale == Scale::FULL { COUNT } else { COUNT / 100 };
    for (what, length, within) in [("addresses", 32, ADDRESSES_WITHIN), ("networks", 28, NETWORKS_WITHIN)] {
        let list = list(count, length);
        let began = Instant::now();
        let output = gateway.cli_with(&["block", "add", "-"], &list)?;
        let added = began.elapsed();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let blocked = gateway.blocked()?.len();
        ensure!(blocked == count as usize, "{blocked} of {count} {what} are blocked");
        let began = Instant::now();
        let output = gateway.cli_with(&["block", "del", "-"], &list)?;
        let taken = began.elapsed();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(gateway.blocked()?.is_empty(), "{what} are left");
        println!("claims: {count} {what} blocked in {added:.2?}, and no longer in {taken:.2?}");
        ensure!(added < within, "{count} {what} took {added:.2?}");
    }
    Ok(())
}
