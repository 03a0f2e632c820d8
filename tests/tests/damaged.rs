//! Files of state and record that are not what they were: the gateway starts, says so, and loses nothing that can be read.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt as _, chown, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, await_that, require_lab};
use serde_json::Value;

const CONFIG: &str = "mode = \"enforce\"\n";
const BANNED: &str = "192.0.2.77";
const PATIENCE: Duration = Duration::from_secs(60);
/// A user that is not the daemon's.
const NOBODY: u32 = 65_534;

/// What is done to a file.
type Damage = fn(&Path) -> Result<()>;

/// What can become of a file, and whether what was in it is lost.
const DAMAGES: [(&str, Damage, bool); 10] = [
    ("missing", |path| Ok(fs::remove_file(path)?), true),
    ("empty", |path| Ok(File::create(path).map(drop)?), true),
    (
        "cut",
        |path| Ok(OpenOptions::new().write(true).open(path)?.set_len(fs::metadata(path)?.len() / 2)?),
        true,
    ),
    ("of one byte", |path| Ok(fs::write(path, "x")?), true),
    ("garbage", |path| Ok(fs::write(path, [0xa5; 70_000])?), true),
    (
        "overwritten in its middle",
        |path| {
            let file = OpenOptions::new().write(true).open(path)?;
            Ok(file.write_all_at(&[0xa5; 4_096], fs::metadata(path)?.len() / 2)?)
        },
        true,
    ),
    (
        "another program's",
        |path| {
            fs::remove_file(path)?;
            let other = rusqlite::Connection::open(path)?;
            Ok(other.execute_batch("PRAGMA application_id = 7; CREATE TABLE t (a)")?)
        },
        true,
    ),
    ("another user's", |path| Ok(chown(path, Some(NOBODY), Some(NOBODY))?), false),
    (
        "a link to elsewhere",
        |path| {
            let elsewhere = path.with_extension("elsewhere");
            fs::rename(path, &elsewhere)?;
            Ok(symlink(elsewhere, path)?)
        },
        true,
    ),
    (
        "a directory",
        |path| {
            fs::remove_file(path)?;
            Ok(fs::create_dir(path)?)
        },
        true,
    ),
];

/// The daemon's files: state, a month of the record, and the record's key.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_month = name.starts_with("record-") && path.extension().is_some_and(|end| end == "db");
        if name == "state.db" || is_month || name == "record.key" {
            files.push(path);
        }
    }
    Ok(files)
}

/// All that there is of state and record, to be put back.
fn keep(directory: &Path, at: &Path) -> Result<()> {
    fs::create_dir(at)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?;
        if ["state.", "record"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            fs::copy(&path, at.join(name))?;
        }
    }
    Ok(())
}

fn put_back(directory: &Path, from: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        if ["state.", "record"].iter().any(|start| name.starts_with(start)) {
            if fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        fs::copy(&path, directory.join(path.file_name().context("a name")?))?;
    }
    Ok(())
}

/// What the daemon says to its operator: warnings of `status`, and its log.
fn told(gateway: &Gateway<'_>) -> Result<String> {
    let status: Value = gateway.document(&["status", "--json"])?;
    Ok(format!("{}\n{}", status["warnings"], gateway.log()))
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_damaged_file_stops_no_start_and_is_told_of() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab, CONFIG)?;
    gateway.done(&["block", "add", BANNED, "--reason", "kept"])?;
    gateway.done(&["stop", "--detach"])?;
    gateway.kill()?;
    let directory = gateway.state("");
    let kept = gateway.state("kept");
    keep(&directory, &kept)?;
    let all = files(&directory)?;
    ensure!(all.len() == 3, "{all:?}");
    let (mut cases, mut lost) = (0, 0);
    for path in &all {
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        for (what, damage, loses) in DAMAGES {
            put_back(&directory, &kept)?;
            damage(path).with_context(|| format!("cannot make {name} {what}"))?;
            gateway.run().with_context(|| format!("{name} is {what}"))?;
            let is_banned = gateway.blocked()?.iter().any(|row| row["prefix"] == BANNED);
            // The record is asked, and answers as far as it can.
            let rows = gateway.cli(&["audit", "query", "--json", "--limit", "1000"])?;
            ensure!(rows.status.success(), "{name} is {what}: {}", String::from_utf8_lossy(&rows.stderr));
            let is_on_record = String::from_utf8_lossy(&rows.stdout).contains(BANNED);
            let (is_state, is_month) = (name == "state.db", name.starts_with("record-"));
            ensure!(is_banned || (is_state && loses), "{name} is {what}: the ban is gone");
            ensure!(is_on_record || (is_month && loses), "{name} is {what}: the record lost it");
            // What is lost is told within a moment. Of a file that is gone nobody knows.
            let is_lost = !is_banned || !is_on_record || name == "record.key" && loses;
            if is_lost && what != "missing" {
                let is_told = || {
                    let told = told(&gateway)?;
                    Ok(told.contains(&name) || (name == "record.key" && told.contains("key of the record")))
                };
                await_that(&format!("{name} is {what}, and that is told"), PATIENCE, is_told)
                    .with_context(|| told(&gateway).unwrap_or_default())?;
            }
            lost += usize::from(is_lost);
            // And a change is taken.
            gateway.done(&["block", "add", "192.0.2.78"])?;
            gateway.kill()?;
            cases += 1;
        }
    }
    println!("{cases} cases, something lost in {lost}");
    ensure!(cases >= 30 && lost >= 10, "{cases} cases, something lost in {lost}");
    Ok(())
}
