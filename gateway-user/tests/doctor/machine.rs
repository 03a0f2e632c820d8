//! Set-ups that change the machine, and not all of them back: for a machine that is there for this alone.

use std::fs;

use super::place::{require_root_and_object, setup};
use super::{compare, found};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

#[test]
#[ignore = "changes the machine: `cargo xtask test --kernel` runs it in an emulated one"]
fn its_word_holds_whatever_the_machine_allows() {
    require_root_and_object();
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

/// Debian 11's kernel: the program's newest helpers are not there.
#[test]
#[ignore = "of an older kernel: `cargo xtask test --kernel 5.10` runs it in an emulated machine"]
fn what_an_older_kernel_lacks_is_told() {
    require_root_and_object();
    let (document, log) = compare("an older kernel", &setup("", ""), Some(false));
    let trial = found(&document, "trial");
    println!("{trial}\n{log}");
    for said in [trial, log] {
        assert!(said.contains("this kernel has no helper") && said.contains("Linux 6.1"), "{said}");
    }
}
