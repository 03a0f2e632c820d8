//! The word of `gateway doctor` is what `gateway run` does: both in the same set-ups, each with something that a start needs taken
//! away, as far as that can be had without another kernel.
//!
//! Each command has a network namespace of its own with a veth, and a mount namespace of its own, so nothing of the machine is
//! changed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// How long a start may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Makes the interface. Its MTU takes the build for frames of one buffer.
const VETH: &str =
    "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up";

/// Has a test fail where it cannot be run. Such a test says `#[ignore]`, so only who asks for it comes here.
fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root (`cargo xtask test` asks for it)");
    assert!(
        gateway_user::kernel::embedded().is_some(),
        "this test needs the eBPF object (`cargo xtask ebpf`)"
    );
}

/// A place for a gateway: its files and its pins, which go with it.
struct Place {
    directory: TempDir,
    pins: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let text = format!(
            "[control]\nsocket = \"{path}/control.sock\"\n[audit]\ndatabase = \"{path}/audit.db\"\n\
             [lists]\nblock = [\"198.51.100.0/24\", \"2001:db8:1::/48\"]\n"
        );
        fs::write(directory.path().join("gateway.toml"), text).unwrap();
        // Whoever has no privilege reads it too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), mode).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = PathBuf::from(format!("/sys/fs/bpf/gwdoctor-{}-{number}", std::process::id()));
        Self { directory, pins }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A shell with namespaces of its own that prepares them and becomes the gateway.
    fn command(&self, setup: &Setup, verb: &str) -> Command {
        let Setup { namespaces, prepare, wrap, arguments } = setup;
        let config = self.path("gateway.toml");
        let line =
            format!("{VETH} && {prepare} && exec {wrap} {GATEWAY} {verb} --config {config} {arguments}");
        let mut command = Command::new("unshare");
        command.args(namespaces.split(' ')).args(["--mount", "sh", "-c", &line]).stdin(Stdio::null());
        command
    }

    /// What doctor says: whether the gateway can run, and all of it.
    fn doctor(&self, setup: &Setup) -> (Option<bool>, Value, Output) {
        let output = self.command(setup, "doctor v0 --json").output().unwrap();
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (document["can_run"].as_bool(), document, output)
    }

    /// Starts the gateway; it runs, or it has ended with this log.
    fn run(&self, setup: &Setup) -> Result<Running, String> {
        let log = self.path("log");
        let mut command = self.command(setup, &format!("run --interface v0 --pins {}", self.pins.display()));
        let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap();
            if text.contains("protecting v0") {
                return Ok(Running { child, log: text });
            }
            if child.try_wait().unwrap().is_some() {
                return Err(fs::read_to_string(&log).unwrap());
            }
            assert!(began.elapsed() < PATIENCE, "neither started nor ended: {text}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pins);
    }
}

/// A gateway that runs; dropped, it is ended and takes its program off.
struct Running {
    child: Child,
    log: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What is special about a start.
#[derive(Clone, Debug)]
struct Setup {
    /// Options of `unshare` beside those of every set-up.
    namespaces: String,
    /// What the shell does first.
    prepare: String,
    /// What stands before the gateway.
    wrap: String,
    arguments: String,
}

fn setup(prepare: &str, wrap: &str) -> Setup {
    Setup {
        namespaces: "--net".to_owned(),
        prepare: format!("true {prepare}"),
        wrap: wrap.to_owned(),
        arguments: String::new(),
    }
}

/// Holds doctor's word against what happens; what each said.
fn compare(name: &str, setup: &Setup, expected: Option<bool>) -> (Value, String) {
    let place = Place::new();
    let (can_run, document, output) = place.doctor(setup);
    let outcome = place.run(setup);
    let log = match &outcome {
        Ok(running) => running.log.clone(),
        Err(log) => log.clone(),
    };
    println!("{name}: doctor {can_run:?}, run {}", if outcome.is_ok() { "starts" } else { "does not start" });
    assert_eq!(can_run, expected, "{name}: {document:#}");
    assert_eq!(outcome.is_ok(), expected == Some(true), "{name}: {document:#} {log}");
    let status = if expected == Some(false) { 1 } else { 0 };
    assert_eq!(output.status.code(), Some(status), "{name}");
    (document, log)
}

/// What a check found.
fn found(document: &Value, check: &str) -> String {
    let findings = document["findings"].as_array().unwrap().iter().filter(|one| one["check"] == check);
    findings.map(Value::to_string).collect()
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn with_all_that_is_needed_it_runs() {
    require_root();
    let (document, _) = compare("root", &setup("", ""), Some(true));
    let trial = found(&document, "trial");
    assert!(trial.contains("loaded on this kernel and let go again: maps, gateway ("), "{trial}");
    assert!(found(&document, "attach").contains("native; looked at, not tried"), "{document:#}");
    compare("root without CAP_SYS_ADMIN", &setup("", "setpriv --bounding-set=-sys_admin"), Some(true));
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_a_capability_both_say_which() {
    require_root();
    for name in ["bpf", "net_admin", "perfmon"] {
        let setup = setup("", &format!("setpriv --bounding-set=-{name},-sys_admin"));
        let (document, log) = compare(name, &setup, Some(false));
        let expected = format!("this process lacks CAP_{}", name.to_uppercase());
        for said in [found(&document, "trial"), log] {
            assert!(
                said.contains("EPERM (Operation not permitted)") || said.contains("EACCES"),
                "{name}: {said}"
            );
            assert!(said.contains(&expected), "{name}: {said}");
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn who_has_no_privilege_is_told_that_nothing_was_tried() {
    require_root();
    let nobody = setup("", "setpriv --reuid=65534 --regid=65534 --clear-groups");
    let (document, _) = compare("nobody", &nobody, None);
    assert!(found(&document, "trial").contains("not tried whether the gateway can run here"), "{document:#}");
    let own = Setup { namespaces: "--net --user --map-root-user".into(), ..setup("", "") };
    let (document, _) = compare("root of a user namespace", &own, Some(false));
    assert!(found(&document, "trial").contains("in a user namespace"), "{document:#}");
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_a_place_for_pins_it_does_not_start() {
    require_root();
    let (document, log) = compare("no bpffs", &setup("&& umount -l /sys/fs/bpf", ""), Some(false));
    assert!(found(&document, "bpffs").contains("mount -t bpf bpf /sys/fs/bpf"), "{document:#}");
    assert!(log.contains("mount -t bpf bpf /sys/fs/bpf"), "{log}");
    let read_only = setup("&& mount -o remount,ro,bind /sys/fs/bpf", "");
    compare("bpffs read-only", &read_only, Some(false));
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_types_it_runs_and_says_what_is_off() {
    require_root();
    assert!(Path::new("/sys/kernel/btf/vmlinux").exists(), "this kernel has no types to hide");
    let files = tempfile::tempdir().unwrap();
    let (empty, right) = (files.path().join("empty"), files.path().join("right.btf"));
    fs::create_dir(&empty).unwrap();
    fs::copy("/sys/kernel/btf/vmlinux", &right).unwrap();
    let hidden = setup(&format!("&& mount --bind {} /sys/kernel/btf", empty.display()), "");
    let (document, log) = compare("no types", &hidden, Some(true));
    let btf = found(&document, "btf");
    for (feature, _) in gateway_user::kernel::btf::NEEDS_SOCKETS {
        assert!(
            btf.contains(&format!("\\n{feature}: ")) && log.contains(&format!("off: {feature}: ")),
            "{feature}: {log}"
        );
    }
    let named = |path: &Path| Setup { arguments: format!("--btf {}", path.display()), ..hidden.clone() };
    let (document, log) = compare("types from a file", &named(&right), Some(true));
    assert!(found(&document, "btf").contains("right.btf describes") && !log.contains("off: "), "{log}");
    let (_, log) = compare("no such file", &named(&files.path().join("none")), Some(false));
    assert!(log.contains("cannot read ") && log.contains("--btf"), "{log}");

    let wrong = files.path().join("wrong.btf");
    File::create(&wrong).unwrap().write_all(&shifted(&fs::read(&right).unwrap())).unwrap();
    let (document, log) = compare("types of another kernel", &named(&wrong), Some(false));
    for said in [found(&document, "trial").replace("\\n", "\n"), log] {
        assert!(said.contains("BPF_PROG_LOAD: EACCES (Permission denied)"), "{said}");
        assert!(said.contains("in struct tcp_sock") && said.contains("\n  processed "), "{said}");
        assert!(
            said.contains("takes the same program without the offsets of ") && said.lines().count() < 60,
            "{said}"
        );
    }
    let shown = Setup { prepare: "true".into(), ..named(&wrong) };
    let (document, log) = compare("a file that the kernel denies", &shown, Some(false));
    assert!(
        found(&document, "btf").contains("is of another kernel") && log.contains("is of another kernel"),
        "{log}"
    );
}

/// The kernel's types with `rcv_nxt` two bytes from where it is.
fn shifted(types: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_ne_bytes(types[at..at + 4].try_into().unwrap()) as usize;
    let (start, length, strings) = (word(4) + word(8), word(12), word(4) + word(16));
    let text = types[strings..].windows(9).position(|text| text == b"\0rcv_nxt\0").unwrap() + 1;
    let mut shifted = types.to_vec();
    // Members are three words: name, type, place in bits. The name stands elsewhere too, followed by no place below 2^24.
    for at in (start..start + length - 8).step_by(4).filter(|&at| word(at) == text) {
        let place = word(at + 8) as u32;
        shifted[at + 8..at + 12].copy_from_slice(&(place + 16).to_ne_bytes());
    }
    shifted
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_cgroup_with_too_little_memory_is_named() {
    require_root();
    let name = format!("gwdoctor-{}", std::process::id());
    let (cgroup, limit) =
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .map(|(root, limit)| (Path::new(root).join(&name), limit))
            .find(|(path, limit)| fs::create_dir(path).is_ok() && path.join(limit).exists())
            .expect("a cgroup with a limit of memory can be made");
    fs::write(cgroup.join(limit), "50331648").unwrap();
    let inside = setup(&format!("&& echo $$ > {}/cgroup.procs", cgroup.display()), "");
    let (document, log) = compare("48 MiB of memory", &inside, Some(false));
    for said in [found(&document, "trial"), log] {
        assert!(said.contains("BPF_MAP_CREATE: ENOMEM (Out of memory)"), "{said}");
        assert!(said.contains(&format!("{name} allows 48 MiB")), "{said}");
    }
    fs::remove_dir(&cgroup).unwrap();
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_gateway_that_runs_notices_nothing() {
    require_root();
    let place = Place::new();
    let running = place.run(&setup("", "")).unwrap_or_else(|log| panic!("{log}"));
    let inside = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &running.child.id().to_string(), program]).args(arguments);
        command.output().unwrap()
    };
    let config = place.path("gateway.toml");
    let look = || {
        let status = inside(GATEWAY, &["status", "--json", "--config", &config]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let link = inside("ip", &["-details", "link", "show", "dev", "v0"]);
        let mut pins: Vec<_> =
            fs::read_dir(place.pins.join("links")).unwrap().flatten().map(|pin| pin.path()).collect();
        pins.sort();
        (status["generation"].clone(), status["pid"].clone(), link.stdout, pins)
    };
    let before = look();
    let output = inside(GATEWAY, &["doctor", "v0", "--json", "--config", &config]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found(&document, "trial").contains("let go again"), "{document:#}");
    assert_eq!(look(), before);
    let second = inside(GATEWAY, &["run", "--interface", "v0", "--config", &config]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another gateway is running"), "{second:?}");
    assert_eq!(look(), before);
}

/// Set-ups that change the machine, and not all of them back: for a machine that is there for this alone.
mod machine {
    use super::*;

    const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

    #[test]
    #[ignore = "changes the machine: `cargo xtask test --kernel` runs it in an emulated one"]
    fn its_word_holds_whatever_the_machine_allows() {
        require_root();
        assert!(std::env::var_os("GATEWAY_OWN_MACHINE").is_some(), "only in a machine of its own");
        let plain = setup("", "");
        // 1 cannot be taken back.
        for level in ["0", "2", "1"] {
            if fs::write("/proc/sys/kernel/unprivileged_bpf_disabled", level).is_ok() {
                compare(&format!("kernel.unprivileged_bpf_disabled = {level}"), &plain, Some(true));
            }
        }
        fs::write("/proc/sys/net/core/bpf_jit_enable", "0").unwrap();
        let (document, log) = compare("net.core.bpf_jit_enable = 0", &plain, Some(false));
        for said in [found(&document, "trial"), log] {
            assert!(said.contains("net.core.bpf_jit_enable"), "{said}");
        }
        fs::write("/proc/sys/net/core/bpf_jit_enable", "1").unwrap();
        compare("net.core.bpf_jit_enable = 1", &plain, Some(true));
        for level in ["integrity", "confidentiality"] {
            fs::write(LOCKDOWN, level).unwrap_or_else(|error| panic!("{LOCKDOWN}: {error}"));
            compare(&format!("lockdown = {level}"), &plain, Some(true));
        }
    }
}
