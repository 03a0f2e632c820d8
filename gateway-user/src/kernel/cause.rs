//! Why a call of the kernel may have failed, found by looking at this process and this host, each with what to do.
//!
//! What was not seen is not told: without a finding there is no cause, and the error stands by itself.

mod helpers;
mod memory;
#[cfg(test)]
mod tests;

use std::fs;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

pub(crate) use memory::Memory;

/// The capabilities needed, and their bits (linux/capability.h).
pub(crate) const CAPABILITIES: [(&str, u32); 3] =
    [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
/// Stands for `CAP_BPF` and `CAP_PERFMON` as well.
const SYS_ADMIN: u32 = 21;
/// What the verifier says of a program that calls `bpf_loop` when no compiler turns it into machine code (`fixup_call_args`).
const NO_JIT: &str = "callbacks are not allowed in non-JITed programs";
/// What it says of a program of more than a million steps (`do_check`).
const TOO_LARGE: &str = "BPF program is too large";

/// What was read of this process and this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// /proc/self/status.
    pub(crate) status: String,
    /// /proc/self/uid_map.
    pub(crate) uid_map: String,
    /// /sys/kernel/security/lockdown.
    pub(crate) lockdown: String,
    /// /sys/kernel/security/lsm.
    pub(crate) modules: String,
    /// /proc/sys/net/core/bpf_jit_enable.
    pub(crate) jit: String,
    /// /proc/sys/kernel/osrelease.
    pub(crate) release: String,
    /// RLIMIT_MEMLOCK in bytes, where it is finite.
    pub(crate) locked: Option<u64>,
    /// The cgroup that leaves the least memory.
    pub(crate) memory: Option<Memory>,
    /// Helpers that the program calls and this kernel does not have; looked for once it has refused the program.
    pub(crate) helpers: Vec<String>,
}

impl Surroundings {
    /// Looks. What cannot be read stays empty, and is no cause.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let locked = getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft);
        Self {
            status: read("/proc/self/status"),
            uid_map: read("/proc/self/uid_map"),
            lockdown: read("/sys/kernel/security/lockdown"),
            modules: read("/sys/kernel/security/lsm"),
            jit: read("/proc/sys/net/core/bpf_jit_enable"),
            release: read("/proc/sys/kernel/osrelease"),
            locked: locked.filter(|&bytes| bytes != RLIM_INFINITY),
            memory: Memory::of_this_process(),
            helpers: Vec::new(),
        }
    }

    /// Looks at what may have the kernel refuse the program, too.
    pub(crate) fn look_for_helpers() -> Self {
        Self { helpers: helpers::missing(), ..Self::look() }
    }

    /// What stands in the way of a call that failed with this error, after the verifier said this, if anything.
    pub(crate) fn cause(&self, errno: Errno, verifier: &str) -> Option<String> {
        if verifier.contains(NO_JIT) {
            return Some(self.no_jit());
        }
        if verifier.contains(TOO_LARGE) {
            return Some(
                "the verifier goes through a million instructions at most, and this kernel's gave up there; \
                 docs/kernels.md names kernels that take it"
                    .into(),
            );
        }
        match errno {
            Errno::EPERM => self.forbidden(),
            // The verifier says so too, with its reason.
            Errno::EACCES if verifier.is_empty() => self.forbidden(),
            Errno::ENOMEM => self.memory.as_ref().map(Memory::told),
            Errno::ENOSYS => Some(match self.is_filtered() {
                true => FILTERED.into(),
                false => {
                    "this kernel is built without CONFIG_BPF_SYSCALL: boot a kernel of a distribution".into()
                }
            }),
            Errno::EINVAL | Errno::EACCES if !verifier.is_empty() => {
                Some(self.lack().unwrap_or_else(|| self.not_followed()))
            }
            _ => None,
        }
    }

    /// What the verifier has against a program of somebody who may load one.
    fn not_followed(&self) -> String {
        if self.helpers.is_empty() {
            return "this kernel's verifier does not follow the program: docs/kernels.md names kernels that take it".into();
        }
        let helpers = self.helpers.join(", ");
        format!("this kernel has no helper {helpers}: boot Linux 6.1 or later, which has all of them")
    }

    fn no_jit(&self) -> String {
        const NEED: &str = "the program calls bpf_loop, which the kernel runs by its JIT compiler alone";
        match self.jit.trim() {
            "0" => format!("{NEED}, and net.core.bpf_jit_enable is 0: `sysctl -w net.core.bpf_jit_enable=1`"),
            "" => format!("{NEED}: see that the kernel has CONFIG_BPF_JIT and net.core.bpf_jit_enable is 1"),
            _ => format!("{NEED}, and that could not compile it: the kernel's log (`dmesg`) may say why"),
        }
    }

    /// Who refuses, in the order in which the kernel asks.
    fn forbidden(&self) -> Option<String> {
        if let Some(lack) = self.lack() {
            return Some(lack);
        }
        if self.is_in_user_namespace() {
            return Some(
                "this process is in a user namespace, whose capabilities do not count for bpf(): run it outside, or in a \
                 container without one"
                    .into(),
            );
        }
        if let Some(limit) = self.locked.filter(|_| self.charges_locked_memory()) {
            return Some(format!(
                "before Linux 5.11 maps count as locked memory, of which this process may have {} KiB: `ulimit -l unlimited` \
                 (systemd: LimitMEMLOCK=infinity)",
                limit >> 10
            ));
        }
        if self.is_filtered() {
            return Some(FILTERED.into());
        }
        if let Some(level) =
            ["integrity", "confidentiality"].into_iter().find(|level| self.is_locked_down(level))
        {
            return Some(format!(
                "the kernel is locked down ({level}) and may forbid it for that: `lockdown` is set at boot, by its command line or \
                 by Secure Boot"
            ));
        }
        let modules = self.modules.trim().split(',');
        let strict: Vec<_> =
            modules.filter(|name| ["selinux", "apparmor", "smack", "tomoyo", "bpf"].contains(name)).collect();
        (!strict.is_empty()).then(|| {
            format!(
                "security modules are active ({}) and may forbid it: look for `bpf` in the audit log (`journalctl -k`, \
                 `ausearch -m avc`)",
                strict.join(", ")
            )
        })
    }

    /// Which capabilities this process lacks, if any. Without `CAP_PERFMON` the verifier follows less of a program.
    fn lack(&self) -> Option<String> {
        let missing = self.missing_capabilities().filter(|missing| !missing.is_empty())?;
        let (names, grant) = (missing.join(", "), missing.join(" "));
        Some(format!(
            "this process lacks {names}: run it as root, or grant them (systemd: AmbientCapabilities={grant})"
        ))
    }

    /// Which of [`CAPABILITIES`] this process lacks; nothing where that cannot be read.
    pub(crate) fn missing_capabilities(&self) -> Option<Vec<&'static str>> {
        let effective = u64::from_str_radix(self.field("CapEff:")?, 16).ok()?;
        let has = |bit: u32| effective >> bit & 1 == 1;
        let lacks = |&(name, bit): &(&'static str, u32)| {
            let is_covered = name != "CAP_NET_ADMIN" && has(SYS_ADMIN);
            (!has(bit) && !is_covered).then_some(name)
        };
        Some(CAPABILITIES.iter().filter_map(lacks).collect())
    }

    /// Whether this process runs as root.
    pub(crate) fn is_root(&self) -> bool {
        self.field("Uid:").and_then(|ids| ids.split_ascii_whitespace().nth(1)) == Some("0")
    }

    /// The first namespace maps all numbers onto themselves.
    fn is_in_user_namespace(&self) -> bool {
        let numbers: Vec<_> = self.uid_map.split_ascii_whitespace().collect();
        !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
    }

    fn is_filtered(&self) -> bool {
        self.field("Seccomp:") == Some("2")
    }

    fn is_locked_down(&self, level: &str) -> bool {
        self.lockdown.contains(&format!("[{level}]"))
    }

    fn charges_locked_memory(&self) -> bool {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (5, 11))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
    }
}

const FILTERED: &str = "a seccomp filter is on this process, as containers have it, and may forbid bpf(): let it through \
                        (Docker and Podman do with --cap-add=BPF,PERFMON,NET_ADMIN or --security-opt seccomp=unconfined)";
