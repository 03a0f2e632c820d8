//! Prefixes from standard input, one a line.

use std::io::{self, BufRead};

use super::CliError;
use crate::{control::protocol::MANY_MAX, model::Prefix};

/// Wrong lines that are told.
const TOLD: usize = 10;

/// All of them. What follows a `#` or a `;`, and empty lines, say nothing.
pub(super) fn prefixes() -> Result<Vec<Prefix>, CliError> {
    read(io::stdin().lock())
}

fn read(input: impl BufRead) -> Result<Vec<Prefix>, CliError> {
    let (mut prefixes, mut wrong, mut more) = (Vec::new(), Vec::new(), 0);
    for (number, line) in input.lines().enumerate() {
        let line = line.map_err(|error| CliError::failed(format!("cannot read standard input: {error}")))?;
        let text = line.split(['#', ';']).next().unwrap_or_default().trim();
        match text.parse() {
            _ if text.is_empty() => {}
            Ok(prefix) => prefixes.push(prefix),
            Err(error) if wrong.len() < TOLD => wrong.push(format!("line {}: {error}", number + 1)),
            Err(_) => more += 1,
        }
    }
    if more != 0 {
        wrong.push(format!("and {more} lines more"));
    }
    if !wrong.is_empty() {
        return Err(CliError::usage(wrong.join("\n"))
            .help("nothing was changed; write an address or a prefix a line"));
    }
    if prefixes.is_empty() {
        return Err(
            CliError::usage("standard input has no prefix").help("write an address or a prefix a line")
        );
    }
    if prefixes.len() > MANY_MAX as usize {
        return Err(CliError::usage(format!("{} prefixes are too many", prefixes.len()))
            .help("say at most a million at once, or put them into a file of lists.block"));
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_line_is_a_prefix_a_remark_or_wrong() {
        let read = |text: &str| read(text.as_bytes());
        let found = read("192.0.2.7 # a scan\n\n; all\n2001:db8::/32\n").unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7", "2001:db8::/32"]);
        let error = read("192.0.2.7\n192.0.2.7/24\nnobody\n").unwrap_err();
        let text = error.message.unwrap();
        assert!(text.contains("line 2: ") && text.contains("line 3: "), "{text}");
        assert!(read("# nothing\n").is_err());
    }
}
