//! Who may use the control socket: root, the user that the daemon runs as, and the members of one group.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// The process at the other end of a connection, as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id when it connected.
    pub pid: Option<i32>,
}

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The user that the daemon runs as.
    pub owner: u32,
    /// The group whose members may ask.
    pub group: Option<u32>,
}

impl Access {
    /// Whether the rule admits a user whose supplementary groups are found by `groups` if it comes to that.
    pub fn admits(&self, peer: Peer, groups: impl FnOnce(Peer) -> Vec<u32>) -> bool {
        if peer.uid == 0 || peer.uid == self.owner {
            return true;
        }
        self.group.is_some_and(|group| peer.gid == group || groups(peer).contains(&group))
    }

    /// Whether the answer needs the user database, which may have to be asked over a network.
    pub fn needs_groups(&self, peer: Peer) -> bool {
        self.group.is_some() && !self.admits(peer, |_| Vec::new())
    }
}

/// The groups of a user according to the user database; none when it does not know the user.
pub fn groups_of(peer: Peer) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid)) else {
        return Vec::new();
    };
    let Ok(name) = std::ffi::CString::new(user.name) else {
        return Vec::new();
    };
    let groups = getgrouplist(&name, Gid::from_raw(peer.gid)).unwrap_or_default();
    groups.into_iter().map(Gid::as_raw).collect()
}

/// The number of a group given by name.
pub fn group_id(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}
