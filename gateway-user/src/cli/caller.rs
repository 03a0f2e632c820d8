//! The sessions that this command has come by, for the gateway to spare them.
//!
//! sshd leaves where a session comes from in `SSH_CONNECTION`. sudo and su drop that, so the environments of the parent processes are
//! looked through as well, as far as this command may read them.

use std::{fs, iter, os::unix::process::parent_id};

use crate::{lockout::logind::address, model::Session};

/// Processes between this one and sshd are few; a limit for a table that changes while it is read.
const ANCESTORS: usize = 64;

/// The sessions, the nearest first.
pub(super) fn sessions() -> Vec<Session> {
    let own = std::env::var("SSH_CONNECTION").ok().and_then(|connection| session(&connection));
    let parents = iter::successors(Some(parent_id()), |process| {
        parent_of(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?).filter(|parent| *parent > 1)
    });
    let parents = parents
        .take(ANCESTORS)
        .filter_map(|process| find(&fs::read(format!("/proc/{process}/environ")).ok()?));
    let mut sessions = Vec::new();
    for session in own.into_iter().chain(parents) {
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    sessions
}

/// The session in an environment, variables ended by zero bytes.
pub(super) fn find(environment: &[u8]) -> Option<Session> {
    let mut variables = environment.split(|byte| *byte == 0);
    let connection = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    session(std::str::from_utf8(connection).ok()?)
}

/// `SSH_CONNECTION` is the client's address and port, then the server's (ssh(1)).
fn session(connection: &str) -> Option<Session> {
    let mut words = connection.split_ascii_whitespace();
    let (client, server) = (address(words.next()?)?, address(words.nth(1)?)?);
    Some(Session { client, server: Some(server), port: words.next()?.parse().ok()?, user: None })
}

/// The parent in a line of /proc/PID/stat; the name before it may hold spaces and parentheses (proc_pid_stat(5)).
pub(super) fn parent_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}
