//! Options of the long runs: each a name and a number.

use anyhow::{Context as _, Result, bail};

/// Reads `NAME N` pairs from the command line over the defaults.
///
/// # Errors
/// For a name that is not there, or a value that is no number; the message says which.
pub fn numbers<const N: usize>(mut options: [(&str, u64); N]) -> Result<[u64; N]> {
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} wants a value"))?;
        let value: u64 = value.parse().with_context(|| format!("{value} is no number"))?;
        match options.iter_mut().find(|(known, _)| *known == name) {
            Some((_, number)) => *number = value,
            None => {
                let known = options.map(|(known, _)| format!("{known} N")).join(" and ");
                bail!("there is no {name}: the options are {known}");
            }
        }
    }
    Ok(options.map(|(_, number)| number))
}
