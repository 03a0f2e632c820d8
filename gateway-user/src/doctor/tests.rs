//! Checks against texts as kernels write them.

use std::path::Path;

use super::host::{
    architecture, bpffs, btf, capabilities, count_cpus, cpus, jit, kernel, loose, object, syncookies,
    timestamps,
};
use super::interface::{Pinned, attachment, driver, mtu, program, queues, state, takes_native, vlans};
use super::trial::{lack, told};
use super::*;
use crate::config::Driver;
use crate::daemon::{self, trial::Part};
use crate::kernel::btf::{BtfError, NEEDS_SOCKETS};
use crate::kernel::cause::Surroundings;
use crate::kernel::{KernelError, Program};
use crate::net::{Attached, Features, Interface, Mode};

const NATIVE: Option<Features> = Some(Features { native: true, frags: false });
const FRAGS: Option<Features> = Some(Features { native: true, frags: true });
const NONE: Option<Features> = Some(Features { native: false, frags: false });

fn eth0() -> Interface {
    Interface { driver: Some("ixgbe".into()), ..Interface::plain(2, "eth0") }
}

/// The level, and that whatever is wrong comes with a remedy.
fn level(finding: &Finding) -> Level {
    assert!(finding.level == Level::Ok || finding.remedy.is_some(), "{finding:?}");
    assert!(!finding.found.is_empty(), "{finding:?}");
    finding.level
}

#[test]
fn an_old_kernel_is_told_and_the_trial_decides() {
    for (release, expected) in [
        ("6.18.44-fc-v669", Level::Ok),
        ("6.0.0", Level::Ok),
        ("6.0-rc1", Level::Ok),
        ("5.19.17", Level::Warning),
        ("4.19.0-26-amd64", Level::Warning),
        ("6", Level::Warning),
        ("", Level::Warning),
        ("99999999999.1", Level::Warning),
    ] {
        assert_eq!(level(&kernel(release)), expected, "{release}");
    }
}

#[test]
fn machine_and_binary_are_judged() {
    assert_eq!(level(&architecture("x86_64", true)), Level::Ok);
    assert_eq!(level(&architecture("riscv64", true)), Level::Warning);
    assert_eq!(level(&architecture("s390x", false)), Level::Problem);
    assert_eq!(level(&object(Some(b"elf"))), Level::Ok);
    assert_eq!(level(&object(Some(b""))), Level::Problem);
    assert_eq!(level(&object(None)), Level::Problem);
    assert_eq!(level(&cpus(1)), Level::Ok);
}

#[test]
fn cpus_are_counted() {
    let lists =
        [("0", Some(1)), ("0-3", Some(4)), ("0-3,6,8-9", Some(7)), ("", None), ("3-0", None), ("0-x", None)];
    for (text, expected) in lists {
        assert_eq!(count_cpus(text), expected, "{text}");
    }
    assert_eq!(count_cpus("0-18446744073709551615"), None);
}

#[test]
fn bpffs_must_be_mounted_and_writable() {
    let good = "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,nosuid,mode=700 0 0\n";
    assert_eq!(level(&bpffs(good)), Level::Ok);
    let read_only = format!("{good}bpf /sys/fs/bpf bpf ro,nosuid 0 0\n");
    let finding = bpffs(&read_only);
    assert_eq!(level(&finding), Level::Warning);
    assert!(finding.remedy.unwrap().contains("ProtectKernelTunables"));
    for mounts in ["", "bpf /mnt bpf rw 0 0", "tmpfs /sys/fs/bpf tmpfs rw 0 0", "bpf /sys/fs/bpf"] {
        let finding = bpffs(mounts);
        assert_eq!(level(&finding), Level::Warning, "{mounts}");
        assert_eq!(finding.remedy.unwrap(), "`mount -t bpf bpf /sys/fs/bpf`");
    }
}

/// A process of this user with these capabilities.
fn process(uid: u32, effective: u64) -> Surroundings {
    let status =
        format!("Name:\tgateway\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapPrm:\t0\nCapEff:\t{effective:016x}\n");
    Surroundings { status, ..Surroundings::default() }
}

#[test]
fn capabilities_explain_and_keep_from_trying() {
    let (admin, perfmon, bpf, sys_admin) = (1 << 12, 1 << 38, 1 << 39, 1 << 21);
    for (uid, effective, expected, tries) in [
        (0, 0x1ff_ffff_ffff, Level::Ok, true),
        (1000, admin | perfmon | bpf, Level::Ok, true),
        (1000, admin | sys_admin, Level::Ok, true),
        (0, sys_admin, Level::Warning, true),
        (0, 0xa804_25fb, Level::Warning, true),
        (1000, 0, Level::Warning, false),
    ] {
        let host = process(uid, effective);
        assert_eq!(level(&capabilities(&host)), expected, "{uid} {effective:x}");
        assert_eq!(lack(&host).is_none(), tries, "{uid} {effective:x}");
    }
    assert_eq!(capabilities(&process(0, admin | bpf)).found, "root lacks CAP_PERFMON");
    let finding = lack(&process(1000, 0)).unwrap();
    assert!(
        finding.found.starts_with("not tried ") && finding.remedy.unwrap().contains("`sudo gateway doctor`")
    );
    assert_eq!(level(&capabilities(&Surroundings::default())), Level::Warning);
}

#[test]
fn what_is_off_without_types_is_told_feature_by_feature() {
    let missing = || BtfError::NoField { path: "f".into(), field: "tcp_sock.rcv_nxt".into() };
    assert_eq!(level(&btf(None, &Ok(()))), Level::Ok);
    assert_eq!(level(&btf(Some(Path::new("f")), &Ok(()))), Level::Ok);
    assert_eq!(level(&btf(Some(Path::new("f")), &Err(missing()))), Level::Problem);
    let finding = btf(None, &Err(missing()));
    assert_eq!(level(&finding), Level::Warning);
    for (feature, _) in NEEDS_SOCKETS {
        assert!(finding.found.contains(&format!("\n{feature}: ")), "{feature}");
    }
}

/// A trial of which these parts failed.
fn trial(failed: Vec<(Part, anyhow::Error)>) -> daemon::trial::Trial {
    let verified = [Program::Plain, Program::Frags]
        .into_iter()
        .filter(|build| !failed.iter().any(|(part, _)| *part == Part::Program(*build)))
        .map(|build| (build, 70_000));
    daemon::trial::Trial { verified: verified.collect(), failed, sockets_missing: None, smaller: None }
}

#[test]
fn what_the_trial_found_decides() {
    let no_map = || KernelError::NoMap("bans").into();
    let jumbo = Interface { mtu: 9_000, ..eth0() };
    let all_well = told(&trial(Vec::new()), &[eth0()]);
    assert!(all_well[0].found.contains("gateway_frags (70000 instructions verified)"), "{all_well:?}");
    for (part, interfaces, expected) in [
        (Part::Maps, vec![eth0()], Level::Problem),
        (Part::Policy, vec![eth0()], Level::Problem),
        (Part::Live, vec![eth0()], Level::Problem),
        (Part::Program(Program::Plain), vec![eth0()], Level::Problem),
        (Part::Program(Program::Plain), vec![], Level::Problem),
        (Part::Program(Program::Plain), vec![jumbo.clone()], Level::Warning),
        (Part::Program(Program::Frags), vec![eth0()], Level::Warning),
        (Part::Program(Program::Frags), vec![eth0(), jumbo], Level::Problem),
    ] {
        let findings = told(&trial(vec![(part, no_map())]), &interfaces);
        assert_eq!(level(&findings[0]), expected, "{part:?} {findings:?}");
        let is_loaded = findings.iter().any(|finding| finding.found.starts_with("loaded on this kernel"));
        assert_eq!(is_loaded, expected != Level::Problem, "{part:?} {findings:?}");
    }
    // Told by the check of that file.
    let bad_file = BtfError::NoField { path: "f".into(), field: "x".into() };
    assert!(told(&trial(vec![(Part::Maps, KernelError::from(bad_file).into())]), &[]).is_empty());
}

#[test]
fn can_run_is_said_after_a_trial_alone() {
    let (well, ill) = ([Finding::ok("mtu", "1500")], [Finding::problem("bpffs", "not mounted").remedy("x")]);
    for (findings, trial, expected) in [
        (&well, Trial::Done, Some(true)),
        (&well, Trial::NotDone, None),
        (&ill, Trial::Done, Some(false)),
        (&ill, Trial::NotDone, Some(false)),
    ] {
        let document = Document::of(findings, trial);
        assert_eq!(document.can_run, expected);
        let text = render(findings, document.can_run, Style::default());
        assert_eq!(text.contains("the gateway can run:"), expected == Some(true), "{text}");
    }
}

#[test]
fn how_it_would_be_attached_is_looked_at() {
    for (choice, native, expected) in [
        (Driver::Auto, Some(true), "native; looked at, not tried"),
        (Driver::Auto, Some(false), "generic, since"),
        (Driver::Auto, None, "native if the driver takes the program, else generic; looked at, not tried"),
        (Driver::Generic, Some(true), "generic, as attach.driver says; looked at, not tried"),
        (Driver::Native, Some(false), "attach.driver is \"native\", and"),
    ] {
        let finding = attachment(&eth0(), native, choice);
        assert!(finding.found.starts_with(expected), "{finding:?}");
        level(&finding);
    }
    assert_eq!(takes_native(&eth0(), NATIVE, None), Some(true));
    assert_eq!(takes_native(&eth0(), NATIVE, Some("1100010110111011")), Some(false));
    assert_eq!(takes_native(&Interface { mtu: 9_000, ..eth0() }, NATIVE, None), None);
    assert_eq!(takes_native(&Interface { mtu: 9_000, ..eth0() }, FRAGS, None), Some(true));
    assert_eq!((takes_native(&eth0(), NONE, None), takes_native(&eth0(), None, None)), (Some(false), None));
}

#[test]
fn settings_are_judged() {
    let levels = [None, Some("0"), Some("1"), Some("2")].map(|value| level(&jit(value)));
    assert_eq!(levels, [Level::Ok, Level::Warning, Level::Ok, Level::Warning]);
    let levels = ["0", "1", "2"].map(|value| level(&syncookies(value)));
    assert_eq!(levels, [Level::Warning, Level::Warning, Level::Ok]);
    assert_eq!(["0", "1"].map(|value| level(&loose(value))), [Level::Warning, Level::Ok]);
    let levels = ["0", "1", "2"].map(|value| level(&timestamps(value)));
    assert_eq!(levels, [Level::Warning, Level::Warning, Level::Ok]);
}

#[test]
fn an_interface_must_be_up() {
    assert_eq!(level(&state(&eth0())), Level::Ok);
    assert_eq!(level(&state(&Interface { carrier: false, ..eth0() })), Level::Warning);
    let down = state(&Interface { up: false, ..eth0() });
    assert_eq!((level(&down), down.remedy.as_deref()), (Level::Warning, Some("`ip link set dev eth0 up`")));
}

#[test]
fn the_driver_must_have_native_xdp() {
    assert_eq!(level(&driver(&eth0(), None, None)), Level::Ok);
    assert_eq!(level(&driver(&eth0(), FRAGS, None)), Level::Ok);
    let vlan = Interface { kind: Some("vlan".into()), lower: Some(2), ..eth0() };
    let finding = driver(&vlan, NONE, None);
    assert_eq!(level(&finding), Level::Warning);
    assert!(finding.remedy.unwrap().contains("(index 2)"));
    // As a Firecracker machine has it, and with CTRL_GUEST_OFFLOADS, and with nothing merged.
    for (features, expected) in [
        ("1100010110111011", Level::Warning),
        ("1110010110111011", Level::Ok),
        ("1000010000010011", Level::Ok),
        ("", Level::Ok),
    ] {
        assert_eq!(level(&driver(&eth0(), NATIVE, Some(features))), expected, "{features}");
    }
}

#[test]
fn a_large_mtu_needs_a_driver_for_it() {
    let large = |mtu, kind: Option<&str>| Interface { mtu, kind: kind.map(Into::into), ..eth0() };
    for (interface, features, expected) in [
        (large(1500, None), NATIVE, Level::Ok),
        (large(3498, None), NATIVE, Level::Ok),
        (large(3499, None), NATIVE, Level::Warning),
        (large(3506, Some("veth")), NATIVE, Level::Ok),
        (large(3507, Some("veth")), NATIVE, Level::Warning),
        (large(9000, None), FRAGS, Level::Ok),
        (large(9000, None), NONE, Level::Ok),
        (large(9000, None), None, Level::Warning),
    ] {
        assert_eq!(level(&mtu(&interface, features)), expected, "{interface:?} {features:?}");
    }
}

#[test]
fn a_program_of_another_is_a_problem() {
    let with = |mode| Interface { xdp: Some(Attached { program_id: 41, mode }), ..eth0() };
    assert_eq!(level(&program(&eth0(), Some(Pinned::No))), Level::Ok);
    assert!(program(&eth0(), Some(Pinned::Here)).found.contains("left over"));
    assert_eq!(level(&program(&with(Mode::Native), Some(Pinned::Here))), Level::Ok);
    assert_eq!(level(&program(&with(Mode::Native), Some(Pinned::Hidden))), Level::Warning);
    assert_eq!(level(&program(&with(Mode::Native), None)), Level::Warning);
    let foreign = program(&with(Mode::Generic), Some(Pinned::No));
    assert_eq!(level(&foreign), Level::Problem);
    assert!(foreign.found.contains("41"));
    assert!(foreign.remedy.unwrap().contains("`ip link set dev eth0 xdpgeneric off`"));
}

#[test]
fn queues_and_vlans_are_told() {
    assert_eq!(level(&queues("eth0", 4, 4)), Level::Ok);
    assert_eq!(level(&queues("eth0", 1, 4)), Level::Warning);
    let vlan = |lower| Interface { name: "eth0.7".into(), kind: Some("vlan".into()), lower, ..eth0() };
    assert!(net::vlans(&eth0(), &[eth0(), vlan(Some(3))]).is_empty());
    assert_eq!(net::vlans(&eth0(), &[eth0(), vlan(Some(2))]), ["eth0.7"]);
    assert_eq!(vlans(&eth0(), &[], Some(true)), None);
    let told = |is_untagged| vlans(&eth0(), &["eth0.7"], is_untagged).unwrap();
    assert_eq!(level(&told(Some(false))), Level::Ok);
    assert!(
        told(Some(true)).found.starts_with("eth0.7 on top of it") && level(&told(None)) == Level::Warning
    );
}

#[test]
fn this_host_can_be_examined() {
    let own = Own { object: None, pins: Path::new("/nonexistent") };
    let attach = Attach::default();
    let findings = examine(&["lo".into(), "nothere0".into()], &own, &attach);
    for finding in &findings {
        level(finding);
    }
    let of = |name: &str| findings.iter().filter(|one| one.interface.as_deref() == Some(name)).count();
    assert!(of("lo") >= 4, "{findings:?}");
    assert_eq!(of("nothere0"), 1);
    assert!(
        examine(&[], &own, &attach).iter().any(|one| one.check == "interface" && one.level == Level::Warning)
    );
}

#[test]
fn the_configuration_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    assert_eq!(level(&configuration(&path).1), Level::Warning);
    std::fs::write(&path, "mood = 1\n").unwrap();
    assert_eq!(level(&configuration(&path).1), Level::Problem);
    std::fs::write(&path, "[attach]\ninterfaces = [\"eth7\"]\n").unwrap();
    let (config, finding) = configuration(&path);
    assert_eq!(config.attach.interfaces, ["eth7"], "{finding:?}");
}

#[test]
fn findings_are_printed() {
    let remedy = Finding::problem("bpffs", "not mounted").remedy("`mount it`\u{1b}[31m");
    let eth = Finding { interface: Some("eth0".into()), ..Finding::ok("mtu", "1500") };
    let text = render(&[remedy.clone(), eth.clone()], Some(false), Style::default());
    let expected = "         OF    CHECK  FOUND\n\
                    PROBLEM  host  bpffs  not mounted\n                      fix: `mount it`\u{fffd}[31m\n\
                    ok       eth0  mtu    1500\n\n\
                    1 problem, 0 warnings; the gateway does not run, or does not protect, like this.\n";
    assert_eq!(text, expected, "{text}");
    let lines = Finding::problem("trial", "refused\n  R2 is outside").remedy("x");
    assert!(
        render(&[lines], None, Style::default()).contains("refused\n                        R2 is outside\n")
    );
    let json = serde_json::to_value(Document::of(&[remedy, eth], Trial::Done)).unwrap();
    assert_eq!(json["can_run"], false);
    assert_eq!(json["findings"][0]["level"], "problem");
    assert_eq!(
        json["findings"][1],
        serde_json::json!({"check": "mtu", "interface": "eth0", "level": "ok", "found": "1500"})
    );
}
