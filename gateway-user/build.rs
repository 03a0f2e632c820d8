//! Embeds the eBPF object that `cargo xtask ebpf` made, or nothing: then `gateway run` says what to do.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=GATEWAY_BPF_OBJECT");
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/gateway.bpf.o");
    let object = env::var_os("GATEWAY_BPF_OBJECT").map_or(default, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("gateway.bpf.o");
    fs::write(embedded, fs::read(object).unwrap_or_default()).expect("OUT_DIR can be written");
}
