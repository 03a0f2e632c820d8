//! What lies in the way of a start, and does not stop it.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, require_lab};
use nix::mount::{MsFlags, umount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

/// A configuration with a list from outside, which blocks one source.
fn config(list: &Path) -> String {
    format!("mode = \"enforce\"\n[lists]\nblock = [\"192.0.2.99\", \"file:{}\"]\n", list.display())
}

/// Brings an obstacle into a daemon's directory.
type Obstacle = fn(&Path) -> Result<()>;

fn fifo(path: &Path) -> Result<()> {
    Ok(mkfifo(path, Mode::S_IRWXU)?)
}

/// Obstacles by name, and what `status` must tell of each.
const OBSTACLES: [(&str, Obstacle, &str); 16] = [
    ("an empty live.json", |at| Ok(fs::write(at.join("live.json"), "")?), "live.json.bad"),
    ("a cut live.json", |at| Ok(fs::write(at.join("live.json"), "{\"allow\":{")?), "live.json.bad"),
    (
        "a bad prefix in live.json",
        |at| Ok(fs::write(at.join("live.json"), "{\"allow\":{\"192.0.2.300\":{}}}")?),
        "live.json.bad",
    ),
    ("live.json is a pipe", |at| fifo(&at.join("live.json")), "live.json.bad"),
    (
        "live.json is a link to a device",
        |at| Ok(symlink("/dev/zero", at.join("live.json"))?),
        "live.json.bad",
    ),
    ("live.json is a directory", |at| Ok(fs::create_dir(at.join("live.json"))?), "live.json.bad"),
    ("bans.db is no database", |at| Ok(fs::write(at.join("bans.db"), "bans ".repeat(2_000))?), "bans.db.bad"),
    ("bans.db is a pipe", |at| fifo(&at.join("bans.db")), "bans.db.bad"),
    ("bans.db is a link", |at| Ok(symlink("/dev/zero", at.join("bans.db"))?), "bans.db.bad"),
    ("bans.db is a directory", |at| Ok(fs::create_dir(at.join("bans.db"))?), "bans.db"),
    (
        "a database of something else",
        |at| {
            let database = rusqlite::Connection::open(at.join("bans.db"))?;
            database.execute_batch(
                "CREATE TABLE bans (x); INSERT INTO bans VALUES (1); PRAGMA user_version = 1",
            )?;
            Ok(())
        },
        "bans.db.bad",
    ),
    (
        "a database of a later version",
        |at| Ok(rusqlite::Connection::open(at.join("bans.db"))?.execute_batch("PRAGMA user_version = 99")?),
        "later version",
    ),
    (
        "others may write to the directory",
        |at| Ok(fs::set_permissions(at, Permissions::from_mode(0o777))?),
        "other users may write",
    ),
    ("no list", |at| Ok(fs::remove_file(at.join("list"))?), "the list is left out"),
    (
        "a list with bytes of all kinds",
        |at| Ok(fs::write(at.join("list"), (0..=255).collect::<Vec<u8>>())?),
        "are skipped",
    ),
    (
        "a list of the whole Internet",
        |at| {
            Ok(fs::write(
                at.join("list"),
                (0..128).map(|first| format!("{first}.0.0.0/8\n")).collect::<String>(),
            )?)
        },
        "held back",
    ),
];

fn warnings(gateway: &Gateway<'_>) -> Result<String> {
    let status: Value = serde_json::from_str(&gateway.done(&["status", "--json"])?)?;
    Ok(status["warnings"].to_string())
}

/// Starts a daemon whose directory is as an obstacle makes it, and looks whether it protects and tells.
fn starts(lab: &Lab, name: &str, obstacle: Obstacle, told: &str) -> Result<()> {
    let mut gateway = Gateway::prepare(lab, "", &[])?;
    let list = gateway.state("list");
    fs::write(&list, "192.0.2.98\n")?;
    gateway.write_config(&config(&list))?;
    let directory = list.parent().context("a directory")?;
    obstacle(directory)?;
    gateway.run()?;
    let warnings = warnings(&gateway)?;
    ensure!(warnings.contains(told), "`status` does not tell {told:?}: {warnings}");
    let blocked = gateway.done(&["block", "list", "--json"])?;
    ensure!(blocked.contains("192.0.2.99"), "what is configured does not hold: {blocked}");
    // It goes on: a change is made, and told.
    gateway.done(&["block", "add", "192.0.2.97", "--for", "600"])?;
    println!("obstacles: {name}: it starts, and tells");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_start_goes_on_without_what_it_can_do_without() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    for (name, obstacle, told) in OBSTACLES {
        starts(&lab, name, obstacle, told).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// A full disk: bans that there are hold, others are made, and nothing is written.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_full_disk_does_not_stop_it() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    gateway.done(&["block", "add", "192.0.2.99"])?;
    gateway.kill()?;
    let small = gateway.state("small");
    fs::create_dir(&small)?;
    nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=0700"))?;
    let outcome = (|| {
        for end in ["", "-wal"] {
            let name = format!("bans.db{end}");
            fs::copy(gateway.state(&name), small.join(&name))?;
        }
        // What is left is taken.
        let _ = fs::write(small.join("filler"), [0; 1 << 17]);
        let text = fs::read_to_string(gateway.state("gateway.toml"))?;
        fs::write(gateway.state("gateway.toml"), text.replace("/audit.db", "/small/audit.db"))?;
        gateway.run()?;
        let told = warnings(&gateway)?;
        ensure!(told.contains("will not outlive a restart"), "`status` does not tell it: {told}");
        gateway.done(&["block", "add", "192.0.2.97"])?;
        let blocked = gateway.done(&["block", "list", "--json"])?;
        ensure!(blocked.contains("192.0.2.99") && blocked.contains("192.0.2.97"), "{blocked}");
        gateway.kill()
    })();
    umount(&small)?;
    outcome
}

/// The address of the metrics is taken: they come when it is free. The control socket's place is.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn endpoints_come_when_they_can_be_had() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::prepare(&lab, "mode = \"enforce\"\n", &[])?;
    let taken = lab.server.enter(|| TcpListener::bind("127.0.0.1:9464"))??;
    gateway.run()?;
    let told = warnings(&gateway)?;
    ensure!(told.contains("there are no metrics") && told.contains("127.0.0.1:9464"), "{told}");
    ensure!(!gateway.done(&["status"])?.is_empty(), "no status");
    drop(taken);
    gateway.wait_ready()?;
    let told = warnings(&gateway)?;
    ensure!(!told.contains("there are no metrics"), "{told}");
    Ok(())
}
