//! Changes that the kernel refuses. A map that was frozen takes no more writes: what is asked for then is done whole, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::TcpStream,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gateway_common::abi::Active;
use gateway_tests::lab::{CLIENT_V4, CLIENT_V6, Gateway, Lab, SERVER_V4, alone, await_that, require_lab};
use serde_json::Value;

/// The maps that changes are written to by calls of the kernel, by their names. The table of banned sources is memory of the daemon too,
/// and no call can be refused there.
const MAPS: [&str; 6] = [".bss.active", ".bss.settings", "PREFIXES_V4", "PREFIXES_V6", "live_v4", "live_v6"];
/// A port that nobody listens on: the server's kernel answers at once.
const CLOSED: u16 = 9;
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_millis(300);

const BEFORE: &str = "mode = \"enforce\"\n";
const AFTER: &str = "mode = \"monitor\"\n[[class]]\nname = \"partners\"\nsources = [\"203.0.113.0/24\", \"2001:db8:7::/48\"]\n";

/// What is asked for. The last ban is of the client itself, and leaves no count of its packets to the others.
fn doors() -> Vec<Vec<String>> {
    let (v4, v6) = (CLIENT_V4.to_string(), CLIENT_V6.to_string());
    [
        vec!["block", "add", "198.51.100.0/24"],
        vec!["block", "add", "2001:db8:9::/48"],
        vec!["allow", "add", "192.0.2.9"],
        vec!["allow", "add", &v6],
        vec!["limit", "set", "default", "syn", "7/s"],
        vec!["mode", "monitor"],
        vec!["reload"],
        vec!["block", "add", &v4],
    ]
    .into_iter()
    .map(|words| words.into_iter().map(str::to_owned).collect())
    .collect()
}

/// Runs bpftool, and gives what it says as JSON.
fn bpftool(arguments: &[&str]) -> Result<Value> {
    let output =
        Command::new("bpftool").arg("--json").args(arguments).output().context("cannot run bpftool")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "bpftool {arguments:?}: {said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    if said.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&said)?) }
}

/// The numbers of maps of the gateway that was started last.
fn maps() -> Result<BTreeMap<String, String>> {
    let all = bpftool(&["map", "list"])?;
    let all = all.as_array().context("no maps")?;
    // Later ones have greater numbers, and stand behind.
    let named = all
        .iter()
        .filter_map(|map| Some((map["name"].as_str()?.to_owned(), map["id"].as_u64()?.to_string())));
    Ok(named.filter(|(name, _)| MAPS.contains(&name.as_str())).collect())
}

/// Bytes as bpftool writes them.
fn bytes(value: &Value) -> Vec<u8> {
    let byte = |byte: &Value| u8::from_str_radix(byte.as_str()?.strip_prefix("0x")?, 16).ok();
    value.as_array().into_iter().flatten().filter_map(byte).collect()
}

/// What holds: by the kernel's tables, by a packet of the client, and as the daemon says it.
struct State {
    flags: u64,
    settings: Vec<u8>,
    live: [BTreeSet<(Vec<u8>, Vec<u8>)>; 2],
    is_answered: bool,
    said: Vec<String>,
}

impl State {
    fn of(lab: &Lab, gateway: &Gateway<'_>, maps: &BTreeMap<String, String>) -> Result<Self> {
        let dump = |name: &str| bpftool(&["map", "dump", "id", maps.get(name).context("no such map")?]);
        let entries = |name: &str| -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let entries = dump(name)?;
            let entries = entries.as_array().into_iter().flatten();
            Ok(entries.map(|entry| (bytes(&entry["key"]), bytes(&entry["value"]))).collect())
        };
        let first = |name: &str| -> Result<Vec<u8>> {
            Ok(entries(name)?.into_iter().next().context("an empty map")?.1)
        };
        let word = first(".bss.active")?;
        let word = Active(u64::from_le_bytes(word[..8].try_into()?));
        let settings = first(".bss.settings")?;
        let half = settings.len() / 2;
        let live = [entries("live_v4")?, entries("live_v6")?].map(|entries| entries.into_iter().collect());
        let documents: [&[&str]; 3] =
            [&["block", "list", "--json"], &["allow", "list", "--json"], &["limit", "list", "--json"]];
        let mut said = documents.iter().map(|words| gateway.done(words)).collect::<Result<Vec<_>>>()?;
        said.push(gateway.document(&["status", "--json"])?["mode"].to_string());
        Ok(Self {
            flags: word.0 >> 32,
            settings: settings[half * word.slot() as usize..][..half].to_vec(),
            live,
            is_answered: is_answered(lab)?,
            said,
        })
    }
}

impl State {
    /// What is other than it was.
    fn differences(&self, before: &Self) -> Vec<String> {
        let live = |place: usize| format!("live: {:?}, was {:?}", self.live[place], before.live[place]);
        let said = self.said.iter().zip(&before.said).filter(|(after, before)| after != before);
        let parts = [
            (self.flags != before.flags).then(|| format!("flags: {}, were {}", self.flags, before.flags)),
            (self.settings != before.settings).then(|| "settings".to_owned()),
            (self.live[0] != before.live[0]).then(|| live(0)),
            (self.live[1] != before.live[1]).then(|| live(1)),
            (self.is_answered != before.is_answered)
                .then(|| format!("the client is answered: {}", self.is_answered)),
        ];
        parts
            .into_iter()
            .flatten()
            .chain(said.map(|(after, before)| format!("{after}, was {before}")))
            .collect()
    }
}

/// Whether the server answers the client.
fn is_answered(lab: &Lab) -> Result<bool> {
    let connected = lab.client.enter(|| TcpStream::connect_timeout(&(SERVER_V4, CLOSED).into(), ANSWER))?;
    match connected.map_err(|error| error.kind()) {
        Err(io::ErrorKind::ConnectionRefused) => Ok(true),
        Err(io::ErrorKind::TimedOut) => Ok(false),
        other => anyhow::bail!("the client got {other:?}"),
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_the_kernel_refuses_is_not_done_at_all() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut refused: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut failures = Vec::new();
    for frozen in MAPS {
        let gateway = Gateway::start(&lab, BEFORE)?;
        let maps = maps()?;
        let id = maps.get(frozen).context("no such map")?;
        // A map that is just written is busy.
        await_that("the map is frozen", PATIENCE, || Ok(bpftool(&["map", "freeze", "id", id]).is_ok()))?;
        for door in doors() {
            let words: Vec<&str> = door.iter().map(String::as_str).collect();
            gateway.write_config(if words == ["reload"] { AFTER } else { BEFORE })?;
            let before = State::of(&lab, &gateway, &maps)?;
            let changes = |gateway: &Gateway<'_>| -> Result<usize> {
                let rows = gateway.rows(&["events", "--json", "--limit", "1000"])?;
                Ok(rows.iter().filter(|row| !row["change"].is_null()).count())
            };
            let told = changes(&gateway)?;
            let answer = gateway.cli(&words)?;
            let said = String::from_utf8_lossy(&answer.stderr).into_owned();
            let after = State::of(&lab, &gateway, &maps)?;
            let differences = after.differences(&before);
            let is_told = changes(&gateway)? != told;
            if answer.status.success() {
                ensure!(!differences.is_empty() && is_told, "{frozen}: {door:?} has done nothing");
                continue;
            }
            ensure!(said.contains("not permitted"), "{frozen}: {door:?} says {said}");
            if is_told || !differences.is_empty() {
                failures.push(format!("{frozen}: {door:?} was refused ({said}), and is told ({is_told}) or done in part: {differences:?}"));
            }
            refused.entry(door.join(" ")).or_default().insert(frozen.to_owned());
        }
    }
    ensure!(failures.is_empty(), "{failures:#?}");
    ensure!(refused.len() == doors().len(), "some are never refused: {refused:#?}");
    let frozen: BTreeSet<&String> = refused.values().flatten().collect();
    ensure!(frozen.len() == MAPS.len(), "a map is never written: {refused:#?}");
    Ok(())
}
