//! The cgroup that leaves this process the least memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a cgroup allows, and what is used of it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) cgroup: PathBuf,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

/// Limits above this are none: version 1 has no word for it, and the largest number of pages instead.
const NO_LIMIT: u64 = 1 << 60;

impl Memory {
    /// Looks at all cgroups that this process is in, by /proc/self/cgroup and /proc/self/mounts.
    pub(super) fn tightest(cgroups: &str, mounts: &str) -> Option<Self> {
        places(cgroups, mounts).into_iter().filter_map(Self::read).min_by_key(Self::left)
    }

    /// The same of this process as it stands.
    pub(crate) fn of_this_process() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::tightest(&read("/proc/self/cgroup"), &read("/proc/self/mounts"))
    }

    fn read((cgroup, limit, used): (PathBuf, &str, &str)) -> Option<Self> {
        let number = |name: &str| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limit, used) = (number(limit)?, number(used)?);
        let files = fs::read_to_string(cgroup.join("memory.stat")).map_or(0, |stat| of_files(&stat));
        (limit < NO_LIMIT).then_some(Self { cgroup, limit, used: used.saturating_sub(files) })
    }

    pub(crate) const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// One sentence with what to do.
    pub(crate) fn told(&self) -> String {
        format!(
            "the cgroup {} allows {} MiB of memory, of which {} MiB are used: raise its limit (systemd: MemoryMax=), or ask \
             for smaller tables (`gateway run --sources`)",
            self.cgroup.display(),
            self.limit >> 20,
            self.used >> 20
        )
    }
}

/// Bytes of files that a cgroup's memory holds and the kernel gives back when they are wanted, by its memory.stat; version 1 has what is of
/// the cgroups below it, too, by names of its own.
fn of_files(stat: &str) -> u64 {
    let of = |prefix: &str| -> Option<u64> {
        let named = |line: &&str| {
            let name = line.strip_prefix(prefix).and_then(|rest| rest.split(' ').next());
            matches!(name, Some("inactive_file" | "active_file"))
        };
        let lines: Vec<_> = stat.lines().filter(named).collect();
        let sum = lines.iter().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum();
        (!lines.is_empty()).then_some(sum)
    };
    of("total_").or_else(|| of("")).unwrap_or(0)
}

/// The folders of these cgroups and of all above, with the names of the files for limit and use.
fn places(cgroups: &str, mounts: &str) -> Vec<(PathBuf, &'static str, &'static str)> {
    let mut places = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (kind, files) = match controllers {
            "" => ("cgroup2", ("memory.max", "memory.current")),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("cgroup", ("memory.limit_in_bytes", "memory.usage_in_bytes"))
            }
            _ => continue,
        };
        let Some(root) = mount(mounts, kind) else { continue };
        let within = Path::new(path.trim_start_matches('/'));
        places.extend(within.ancestors().map(|path| (root.join(path), files.0, files.1)));
    }
    places
}

/// Where a hierarchy with control of memory is mounted.
fn mount<'m>(mounts: &'m str, kind: &str) -> Option<&'m Path> {
    mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, place, found, options, ..] = fields[..] else { return None };
        let controls = kind == "cgroup2" || options.split(',').any(|option| option == "memory");
        (found == kind && controls).then_some(Path::new(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_gives_back_is_not_used() {
        assert_eq!(of_files("anon 5\nfile 9\ninactive_anon 1\ninactive_file 3\nactive_file 4\n"), 7);
        assert_eq!(
            of_files("inactive_file 3\nactive_file 4\ntotal_inactive_file 30\ntotal_active_file 40\n"),
            70
        );
        assert_eq!(of_files(""), 0);
    }
}
