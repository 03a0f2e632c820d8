//! A program that goes on without its daemon: what can be told of it, and how it is taken off.

use serde_json::{Value, json};

use super::{
    CliError,
    args::Output,
    error::Status,
    print, print_json,
    render::{clean, moment},
};
use crate::{
    control::client::ClientError,
    kernel::orphan::{Orphan, of_interface, take_off},
    model::Mode,
    net,
};

/// An interface with the gateway's program.
struct Protected {
    interface: net::Interface,
    program: u32,
    orphan: Orphan,
}

impl Protected {
    fn text(&self) -> String {
        let Self { interface, orphan, .. } = self;
        let driver = interface.xdp.map_or("", |xdp| xdp.mode.name());
        let mode = orphan.mode.map_or("in a mode that cannot be read", |mode| mode.name());
        let since = orphan.since.map_or_else(String::new, |since| format!(", since {}", moment(since)));
        format!("{} is still protected: {mode}, {driver}{since}", clean(&interface.name))
    }

    fn document(&self) -> Value {
        json!({
            "interface": self.interface.name,
            "mode": self.orphan.mode.map(Mode::name),
            "driver": self.interface.xdp.map(|xdp| xdp.mode.name()),
            "since": self.orphan.since,
        })
    }
}

/// The interfaces of this host with the gateway's program, as far as this process may look.
fn protected() -> Vec<Protected> {
    let interfaces = net::interfaces().unwrap_or_default();
    let protected = interfaces.into_iter().filter_map(|interface| {
        let program = interface.xdp?.program_id;
        Some(Protected { orphan: of_interface(program)?, interface, program })
    });
    protected.collect()
}

/// `status` without a daemon: what still protects, and exit status 3.
pub(super) fn status(error: ClientError, output: Output) -> Result<(), CliError> {
    let protected = protected();
    if output.json {
        let rows: Vec<Value> = protected.iter().map(Protected::document).collect();
        print_json(&json!({ "running": false, "protected": rows }))?;
    }
    Err(explained(error.into(), &protected))
}

/// The error that there is no daemon, with what still protects.
fn explained(error: CliError, protected: &[Protected]) -> CliError {
    if protected.is_empty() {
        return error;
    }
    let lines: Vec<String> = protected.iter().map(Protected::text).collect();
    let message = format!("{}, but\n  {}", error.message.unwrap_or_default(), lines.join("\n  "));
    CliError::new(Status::NotRunning, message).help(
        "limits, lists and bans hold as they were, and nobody changes them or looks at strikes; `gateway run` takes over without a gap, \
         `gateway stop --detach` takes the program off",
    )
}

/// `stop` without a daemon: takes the program off, if that is asked for.
pub(super) fn stop(error: CliError, keep: Option<bool>, output: Output) -> Result<(), CliError> {
    let protected = protected();
    if keep != Some(false) || protected.is_empty() {
        return Err(explained(error, &protected));
    }
    let mut names = Vec::new();
    for Protected { interface, program, .. } in &protected {
        take_off(*program, interface.index, &interface.name).map_err(|why| {
            CliError::failed(format!("{}: the program cannot be taken off: {why}", interface.name))
                .help("run it with sudo")
        })?;
        names.push(interface.name.as_str());
    }
    let message = format!("no gateway was running; its program was taken off {}", names.join(", "));
    if output.json { print_json(&json!({ "message": message })) } else { print(&format!("{message}\n")) }
}
