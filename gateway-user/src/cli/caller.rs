//! Keeps the user from locking themselves out: is the address that they are connected from in what they want to block?
//!
//! sshd leaves it in `SSH_CONNECTION`. sudo and su drop that, so the environments of the parent processes are looked
//! through as well, as far as they may be read.

use std::fs;
use std::net::IpAddr;

use super::error::{CliError, Status};
use crate::model::Prefix;

/// Processes between this one and sshd are few; a limit for a table that changes while it is read.
const ANCESTORS: usize = 64;

/// Refuses to block prefixes of which one holds the user's own address.
pub(super) fn refuse_lockout(prefixes: &[Prefix]) -> Result<(), CliError> {
    let caller = connected_from();
    prefixes.iter().try_for_each(|prefix| refuse(*prefix, caller))
}

pub(super) fn refuse(prefix: Prefix, caller: Option<IpAddr>) -> Result<(), CliError> {
    match caller {
        Some(address) if prefix.network().contains(&address) => {
            let message = format!("{prefix} holds {address}, which you are connected from");
            let help = "block a prefix without it, or say --force if you have another way in";
            Err(CliError::new(Status::Refused, message).help(help))
        }
        _ => Ok(()),
    }
}

fn connected_from() -> Option<IpAddr> {
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return client_of(&connection);
    }
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..ANCESTORS {
        if let Some(address) = fs::read(format!("/proc/{process}/environ")).ok().and_then(|env| find(&env)) {
            return Some(address);
        }
        process = parent_of(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
        if process <= 1 {
            return None;
        }
    }
    None
}

/// The client's address in an environment, variables ended by zero bytes.
pub(super) fn find(environment: &[u8]) -> Option<IpAddr> {
    let mut variables = environment.split(|byte| *byte == 0);
    let connection = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    client_of(std::str::from_utf8(connection).ok()?)
}

/// `SSH_CONNECTION` is the client's address and port, then the server's (sshd(8)); a link-local one carries its zone.
fn client_of(connection: &str) -> Option<IpAddr> {
    let address = connection.split_ascii_whitespace().next()?;
    let address = address.split_once('%').map_or(address, |(address, _zone)| address);
    address.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// The parent in a line of /proc/PID/stat; the name before it may hold spaces and parentheses (proc_pid_stat(5)).
pub(super) fn parent_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}
