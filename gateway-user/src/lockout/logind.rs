//! Sessions that systemd-logind knows: those that have authenticated. A connection to port 22 alone is none, so a scanner has none.

use std::{fs, net::IpAddr, path::Path};

use crate::model::Session;

/// Where logind keeps its sessions, a file each, which its library reads too (`sd_session_get_remote_host` of sd-login(3)).
const DIRECTORY: &str = "/run/systemd/sessions";
/// sshd's port. The files name none.
const SSH: u16 = 22;
/// So many are looked at: each costs a login.
const SESSIONS: usize = 64;

/// The sessions of this host that come from elsewhere; none where there is no logind.
pub fn sessions() -> Vec<Session> {
    sessions_in(Path::new(DIRECTORY))
}

fn sessions_in(directory: &Path) -> Vec<Session> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let mut sessions: Vec<Session> = Vec::new();
    for session in texts.filter_map(|text| session(&text)) {
        if sessions.len() < SESSIONS && sessions.iter().all(|other| other.client != session.client) {
            sessions.push(session);
        }
    }
    sessions
}

/// The session of a file, if it comes from elsewhere and is not over.
fn session(text: &str) -> Option<Session> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if value("REMOTE")? != "1" || value("STATE") == Some("closing") {
        return None;
    }
    Some(Session {
        client: address(value("REMOTE_HOST")?)?,
        server: None,
        port: SSH,
        user: Some(value("USER").unwrap_or("somebody").to_owned()),
    })
}

/// An address as sshd writes it: a link-local one carries its zone.
pub fn address(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _zone)| address);
    address.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_those_from_elsewhere_that_go_on() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        let head = "# This is private data. Do not parse.\nUID=1000\nUSER=alice\nACTIVE=1\n";
        file(
            "1",
            &format!("{head}STATE=active\nREMOTE=1\nTYPE=tty\nREMOTE_HOST=203.0.113.2\nSERVICE=sshd\n"),
        );
        file("2", &format!("{head}STATE=online\nREMOTE=1\nREMOTE_HOST=fe80::1%eth0\n"));
        file("3", &format!("{head}STATE=closing\nREMOTE=1\nREMOTE_HOST=203.0.113.3\n"));
        file("4", &format!("{head}STATE=active\nREMOTE=0\nTTY=tty1\n"));
        file("5", &format!("{head}STATE=active\nREMOTE=1\nREMOTE_HOST=laptop.example\n"));
        file("6", &format!("{head}STATE=active\nREMOTE=1\nREMOTE_HOST=::ffff:203.0.113.2\n"));
        fs::create_dir(place.path().join("7")).unwrap();
        let mut found: Vec<String> =
            sessions_in(place.path()).iter().map(|session| session.client.to_string()).collect();
        found.sort_unstable();
        assert_eq!(found, ["203.0.113.2", "fe80::1"]);
        assert_eq!(sessions_in(&place.path().join("none")), []);
    }
}
