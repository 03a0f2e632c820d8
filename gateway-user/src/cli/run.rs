//! `gateway run`.

use super::{
    CliError,
    args::{Global, RunArgs},
    error::Status,
    tell,
};
use crate::daemon::{self, Options, RunError};

/// Protects until it is told to end.
///
/// # Errors
/// With exit status 2 when the configuration is wrong, 1 when something else is.
pub fn run(args: RunArgs, global: Global) -> Result<(), CliError> {
    let RunArgs { interfaces, mode, driver, replace, debug_log, on_exit, sources, btf, pins } = args;
    let Global { config, socket } = global;
    let options =
        Options { config, socket, interfaces, mode, driver, replace, debug_log, on_exit, sources, btf, pins };
    daemon::run(options).map_err(|error| match error {
        RunError::Configuration(report) => {
            tell(&format!("{report}\n"));
            CliError::reported(Status::Usage)
        }
        RunError::Failed(error) => CliError::failed(format!("{error:#}")),
    })
}
