//! The word of `gateway doctor` is what `gateway run` does: both in the same set-ups, each with something that a start needs taken
//! away, as far as that can be had without another kernel.
//!
//! Each command has a network namespace of its own with a veth, and a mount namespace of its own, so nothing of the machine is
//! changed.

mod machine;
mod place;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use gateway_user::kernel::btf::NEEDS_SOCKETS;
use serde_json::Value;

use place::{GATEWAY, Place, Setup, require_root_and_object, setup};

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
    require_root_and_object();
    let (document, _) = compare("root", &setup("", ""), Some(true));
    let trial = found(&document, "trial");
    assert!(trial.contains("loaded on this kernel and let go again: maps, gateway ("), "{trial}");
    assert!(found(&document, "attach").contains("looked at, not tried"), "{document:#}");
    compare("root without CAP_SYS_ADMIN", &setup("", "setpriv --bounding-set=-sys_admin"), Some(true));
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_a_capability_both_say_which() {
    require_root_and_object();
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
    require_root_and_object();
    let nobody = setup("", "setpriv --reuid=65534 --regid=65534 --clear-groups");
    let (document, _) = compare("nobody", &nobody, None);
    assert!(found(&document, "trial").contains("not tried whether the gateway can run here"), "{document:#}");
    let own = Setup { namespaces: "--net --user --map-root-user".into(), ..setup("", "") };
    let (document, _) = compare("root of a user namespace", &own, Some(false));
    assert!(found(&document, "trial").contains("in a user namespace"), "{document:#}");
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_a_place_for_pins_it_starts_and_says_that_it_does_not_last() {
    require_root_and_object();
    let (document, log) = compare("no bpffs", &setup("&& umount -l /sys/fs/bpf", ""), Some(true));
    assert!(found(&document, "bpffs").contains("mount -t bpf bpf /sys/fs/bpf"), "{document:#}");
    let warned =
        log.contains("protection ends with this process") && log.contains("mount -t bpf bpf /sys/fs/bpf");
    assert!(warned, "{log}");
    let read_only = setup("&& mount -o remount,ro,bind /sys/fs/bpf", "");
    compare("bpffs read-only", &read_only, Some(true));
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn without_types_it_runs_and_says_what_is_off() {
    require_root_and_object();
    assert!(
        Path::new("/sys/kernel/btf/vmlinux").exists(),
        "this test needs a kernel that describes its types"
    );
    let files = tempfile::tempdir().unwrap();
    let (empty, right) = (files.path().join("empty"), files.path().join("right.btf"));
    fs::create_dir(&empty).unwrap();
    fs::copy("/sys/kernel/btf/vmlinux", &right).unwrap();
    let hidden = setup(&format!("&& mount --bind {} /sys/kernel/btf", empty.display()), "");
    let (document, log) = compare("no types", &hidden, Some(true));
    let btf = found(&document, "btf");
    for (feature, _) in NEEDS_SOCKETS {
        assert!(
            btf.contains(&format!("\\n{feature}: ")) && log.contains(&format!("off: {feature}: ")),
            "{feature}: {log}"
        );
    }
    let place = Place::new();
    let running = place.run(&hidden).unwrap_or_else(|log| panic!("{log}"));
    let status = running.inside(GATEWAY, &["status", "--json", "--config", &place.path("gateway.toml")]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["sockets"]["asked"], &status["tls_gate"]["asks_host"]),
        (&false.into(), &false.into())
    );
    assert_eq!(status["sockets"]["off"].as_array().unwrap().len(), NEEDS_SOCKETS.len(), "{status:#}");
    let page = running.inside("curl", &["--silent", "http://127.0.0.1:9464/metrics"]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("\ngateway_sockets_asked 0\n"), "{page:?}");
    drop(running);

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
    require_root_and_object();
    let name = format!("gwdoctor-{}", std::process::id());
    let (cgroup, limit) =
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .map(|(root, limit)| (Path::new(root).join(&name), limit))
            .find(|(path, limit)| fs::create_dir(path).is_ok() && path.join(limit).exists())
            .expect("this test needs a cgroup of its own, with a limit of memory");
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
    require_root_and_object();
    let place = Place::new();
    let running = place.run(&setup("", "")).unwrap_or_else(|log| panic!("{log}"));
    let inside = |program: &str, arguments: &[&str]| running.inside(program, arguments);
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
