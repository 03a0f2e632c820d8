//! The user at the other end of a connection, for the record.

use std::{fs, path::Path};

use nix::unistd::{Uid, User as Entry};

use super::access::Peer;
use crate::model::User;

/// `/proc/PID/loginuid` of a process that no login has made (`INVALID_UID` of linux/uidgid.h).
const NO_LOGIN: u32 = u32::MAX;
/// The major numbers of pseudo terminals (`UNIX98_PTY_SLAVE_MAJOR` of linux/major.h), and of consoles.
const PTS: std::ops::RangeInclusive<u32> = 136..=143;
const TTY: u32 = 4;

/// Describes the user. May block, since the user database can be elsewhere; what cannot be found out is left out.
pub(super) fn user(peer: Peer) -> User {
    let process = peer.pid.map(|pid| Path::new("/proc").join(pid.to_string()));
    let login = process.as_deref().and_then(login).filter(|login| *login != peer.uid);
    let at = process.as_deref().and_then(|process| terminal(process).or_else(|| unit(process)));
    User {
        uid: peer.uid,
        name: name(peer.uid),
        login: login.map(|uid| name(uid).unwrap_or(uid.to_string())),
        at,
    }
}

fn name(uid: u32) -> Option<String> {
    Entry::from_uid(Uid::from_raw(uid)).ok().flatten().map(|entry| entry.name)
}

fn login(process: &Path) -> Option<u32> {
    let uid = fs::read_to_string(process.join("loginuid")).ok()?.trim().parse().ok()?;
    Some(uid).filter(|uid| *uid != NO_LOGIN)
}

/// The controlling terminal, as `ps` names it.
fn terminal(process: &Path) -> Option<String> {
    terminal_of(&fs::read_to_string(process.join("stat")).ok()?)
}

/// The same of a line of `/proc/PID/stat`. The name in it may hold spaces and parentheses; the terminal is the fifth
/// field behind it (proc_pid_stat(5)), its number as `new_encode_dev` of linux/kdev_t.h has it.
fn terminal_of(stat: &str) -> Option<String> {
    let (_, fields) = stat.rsplit_once(')')?;
    let number = fields.split_ascii_whitespace().nth(4)?.parse::<i32>().ok()?.cast_unsigned();
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        major if PTS.contains(&major) => Some(format!("pts/{}", (major - PTS.start()) * 256 + minor)),
        TTY => Some(format!("tty{minor}")),
        _ => None,
    }
}

/// The systemd unit: the last part of the control group that has a unit's name.
fn unit(process: &Path) -> Option<String> {
    unit_of(&fs::read_to_string(process.join("cgroup")).ok()?)
}

fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    path.rsplit('/').find(is_unit).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_named_as_ps_does() {
        // pts/3 is 136:3; of a name with spaces and parentheses.
        assert_eq!(terminal_of("7 (a ) b) S 1 7 7 34819 7").as_deref(), Some("pts/3"));
        assert_eq!(terminal_of("7 (sh) S 1 7 7 35073 7").as_deref(), Some("pts/257"));
        assert_eq!(terminal_of("7 (sh) S 1 7 7 1025 7").as_deref(), Some("tty1"));
        assert_eq!(terminal_of("7 (sh) S 1 7 7 0 -1"), None);
    }

    #[test]
    fn a_unit_is_the_last_one_of_its_group() {
        let cgroup = "1:name=x:/\n0::/system.slice/backup.service/inner\n";
        assert_eq!(unit_of(cgroup).as_deref(), Some("backup.service"));
        let session = "0::/user.slice/user-1000.slice/session-4.scope\n";
        assert_eq!(unit_of(session).as_deref(), Some("session-4.scope"));
        assert_eq!(unit_of("0::/\n"), None);
    }

    #[test]
    fn the_own_process_is_described() {
        let uid = Uid::current().as_raw();
        let own = Peer { uid, gid: 0, pid: Some(std::process::id().cast_signed()) };
        assert_eq!(user(own).uid, uid);
        assert_eq!(user(own).name, name(uid));
    }
}
