//! The command line: what can be typed, and what each verb asks of the running daemon.
//!
//! * [`args`]: verbs and their arguments
//! * [`error`]: exit statuses, and errors as the user sees them
//! * `verbs`: from arguments to request to output
//! * `render`: documents as text for people; `--json` prints them as they are
//! * `caller`: keeps the user from locking themselves out
//! * `generate`: shell completions and manual pages
//!
//! * `run`, `check`, `replay`, `audit`: verbs that need no daemon; `doctor` is a module of its own

pub mod args;
mod audit;
mod caller;
mod check;
pub mod error;
mod events;
mod generate;
mod input;
mod orphan;
pub mod render;
mod replay;
mod run;
#[cfg(test)]
mod tests;
mod verbs;

pub use args::{Cli, Global, Verb};
pub use audit::audit;
pub use check::check;
pub use error::CliError;
pub use replay::replay;
pub use run::run;
pub use verbs::execute;

use std::io::{self, Write};

use serde::Serialize;

/// Writes to standard output. That nobody reads on, as with `| head`, is no error.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| CliError::failed(format!("cannot write the output: {error}"))),
    }
}

/// Writes to standard error. Where nobody reads that, there is nobody left to tell.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints rows as JSON, one object a line.
///
/// # Errors
/// When they cannot be written.
pub fn print_lines(rows: &[impl Serialize]) -> Result<(), CliError> {
    let lines: serde_json::Result<Vec<String>> = rows.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))?;
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>())
}

/// Prints one document as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn print_json(document: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(document);
    let text = text.map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}
