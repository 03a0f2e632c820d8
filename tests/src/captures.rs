//! Captures that nobody here made, with an independent analyser's word on every connection in them.
//!
//! They are no part of the project: `GATEWAY_CAPTURES` names the folder.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What the analyser says of a TCP connection or a UDP flow.
#[derive(Clone, Debug)]
pub struct Truth {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Frame that it starts with.
    pub first_frame: u64,
    /// Who began it.
    pub client: (IpAddr, u16),
    /// What its first bytes are.
    pub class: String,
    /// `allow`, `drop`, `undecided` or `no_client_data`, where only a ClientHello may come first.
    pub verdict: String,
    /// Inside a tunnel, which an edge filter does not look into.
    pub is_inner: bool,
    /// It comes in IP fragments.
    pub is_fragmented: bool,
    /// Highest version that its hello offers.
    pub max_version: Option<u16>,
}

/// The folder.
///
/// # Panics
/// Where it is not said, or holds no truth.
#[must_use]
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("GATEWAY_CAPTURES").map(PathBuf::from);
    let folder = folder.expect("this test needs captures of others: GATEWAY_CAPTURES names their folder");
    assert!(folder.join("truth.jsonl").is_file(), "{} has no truth.jsonl", folder.display());
    folder
}

/// Every capture of the folder by its path in it, with what the truth says of it.
///
/// # Errors
/// Where folder or truth cannot be read.
pub fn all(folder: &Path) -> Result<BTreeMap<String, Vec<Truth>>> {
    let mut captures = BTreeMap::new();
    walk(folder, folder, &mut captures)?;
    let text = std::fs::read_to_string(folder.join("truth.jsonl"))?;
    for (number, line) in text.lines().enumerate() {
        let value: Value = serde_json::from_str(line)?;
        let truth = truth(&value).with_context(|| format!("truth.jsonl:{}", number + 1))?;
        let file = value["file"].as_str().unwrap_or_default();
        // Of a few captures only the truth is there.
        if let Some(truths) = captures.get_mut(file) {
            truths.push(truth);
        }
    }
    Ok(captures)
}

fn walk(root: &Path, folder: &Path, captures: &mut BTreeMap<String, Vec<Truth>>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, captures)?;
        } else if folder != root {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            captures.insert(name, Vec::new());
        }
    }
    Ok(())
}

fn truth(value: &Value) -> Option<Truth> {
    let text = |key: &str| Some(value[key].as_str()?.to_owned());
    let version = value["max_version"].as_str().and_then(|text| text.strip_prefix("0x"));
    Some(Truth {
        protocol: text("proto")?,
        first_frame: value["first_frame"].as_u64()?,
        client: (value["client"].as_str()?.parse().ok()?, u16::try_from(value["cport"].as_u64()?).ok()?),
        class: text("class")?,
        verdict: text("strict_tls_verdict").unwrap_or_default(),
        is_inner: value["under"].as_str()?.contains("[inner]"),
        is_fragmented: value["ip_fragments"].as_u64().unwrap_or(0) > 0,
        max_version: version.and_then(|digits| u16::from_str_radix(digits, 16).ok()),
    })
}
