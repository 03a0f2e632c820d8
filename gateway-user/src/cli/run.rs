//! `gateway run`.

use super::{
    CliError,
    args::{Global, RunArgs},
    error::Status,
    replay::apart,
    tell,
};
use crate::{
    config::Report,
    daemon::{self, Options, RunError},
    replay::PolicyChoice,
};

/// Protects until it is told to end.
///
/// # Errors
/// With exit status 2 when the configuration is wrong, 1 when something else is.
pub fn run(args: RunArgs, global: Global) -> Result<(), CliError> {
    apart(&args.services, "name each port once")?;
    let services = PolicyChoice::as_configured(&args.services).map_err(|report| wrong(&report))?;
    let RunArgs { interfaces, services: _, mode, driver, replace, debug_log, on_exit, sources, btf, pins } =
        args;
    let Global { config, socket } = global;
    let options = Options {
        config,
        socket,
        interfaces,
        services,
        mode,
        driver,
        replace,
        debug_log,
        on_exit,
        sources,
        btf,
        pins,
    };
    daemon::run(options).map_err(|error| match error {
        RunError::Configuration(report) => wrong(&report),
        RunError::Failed(error) => CliError::failed(format!("{error:#}")),
    })
}

fn wrong(report: &Report) -> CliError {
    tell(&format!("{report}\n"));
    CliError::reported(Status::Usage)
}
