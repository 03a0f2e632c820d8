//! Shell completions and manual pages, made from the same description as `--help`.

use std::path::Path;

use clap::CommandFactory;

use super::{Cli, CliError, print};

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gateway", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Prints gateway(1), or writes it and a page for each verb into a directory.
pub(super) fn man(directory: Option<&Path>) -> Result<(), CliError> {
    let failed = |error| CliError::failed(format!("cannot write the manual: {error}"));
    if let Some(directory) = directory {
        return clap_mangen::generate_to(Cli::command(), directory)
            .map_err(|error| failed(error).help(format!("is {} a directory?", directory.display())));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
    print(&String::from_utf8_lossy(&page))
}
