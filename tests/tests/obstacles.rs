//! What lies in the way of a start, and does not stop it.

use std::any::Any;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, await_that, require_lab};
use nix::mount::{MsFlags, umount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rusqlite::Connection;
use serde_json::Value;

/// A configuration with a list from outside, which blocks one source.
fn config(list: &Path) -> String {
    format!("mode = \"enforce\"\n[lists]\nblock = [\"192.0.2.99\", \"file:{}\"]\n", list.display())
}

/// What an obstacle consists of as long as it is in the way: a lock, an open file.
type Kept = Box<dyn Any>;

/// Something in the way of a start.
struct Obstacle {
    name: &'static str,
    /// Brings it into a daemon's directory.
    lay: fn(&Path) -> Result<Kept>,
    /// What the configuration has in the place of this.
    configured: (&'static str, &'static str),
    /// What the shell does that becomes the daemon; `{at}` stands for its directory.
    shell: &'static str,
    /// What is told of it: in `status`, or in the log where no verb reaches the daemon; nothing where all is as it should be.
    told: &'static str,
    has_verbs: bool,
}

impl Obstacle {
    const fn on_disk(name: &'static str, lay: fn(&Path) -> Result<Kept>, told: &'static str) -> Self {
        Self { name, lay, configured: ("", ""), shell: "", told, has_verbs: true }
    }

    const fn configured(
        name: &'static str,
        configured: (&'static str, &'static str),
        lay: fn(&Path) -> Result<Kept>,
        told: &'static str,
    ) -> Self {
        Self { configured, ..Self::on_disk(name, lay, told) }
    }

    const fn in_shell(name: &'static str, shell: &'static str, told: &'static str) -> Self {
        Self { shell, ..Self::on_disk(name, nothing, told) }
    }

    const fn without_verbs(self) -> Self {
        Self { has_verbs: false, ..self }
    }
}

fn kept<T: 'static>(laid: io::Result<T>) -> Result<Kept> {
    Ok(Box::new(laid?))
}

fn nothing(_: &Path) -> Result<Kept> {
    Ok(Box::new(()))
}

fn fifo(path: &Path) -> Result<Kept> {
    kept(mkfifo(path, Mode::S_IRWXU).map_err(io::Error::from))
}

fn write(at: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<Kept> {
    kept(fs::write(at.join(name), bytes))
}

/// A file of this length that takes no room.
fn sparse(path: &Path, length: u64) -> Result<Kept> {
    kept(File::create(path).and_then(|file| file.set_len(length)))
}

fn database(at: &Path, sql: &str) -> Result<Connection> {
    let database = Connection::open(at.join("state.db"))?;
    database.execute_batch(sql)?;
    Ok(database)
}

/// In the place of the list.
fn instead_of_list(at: &Path, lay: fn(&Path) -> Result<Kept>) -> Result<Kept> {
    fs::remove_file(at.join("list"))?;
    lay(&at.join("list"))
}

/// How long the daemon may take to see that there is room again.
const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;
const LIMITED: &str = "if [ -e /sys/fs/cgroup/memory/tasks ]; then C=/sys/fs/cgroup/memory/gwlab-$$; mkdir $C; \
    echo 70M > $C/memory.limit_in_bytes; else C=/sys/fs/cgroup/gwlab-$$; mkdir $C; echo 70M > $C/memory.max; fi; \
    echo $$ > $C/cgroup.procs";

const OBSTACLES: [Obstacle; 36] = [
    Obstacle::on_disk("state.db is empty", |at| write(at, "state.db", ""), ""),
    Obstacle::on_disk(
        "state.db is no database",
        |at| write(at, "state.db", "state ".repeat(2_000)),
        "state.db.bad",
    ),
    Obstacle::on_disk(
        "state.db is cut",
        |at| {
            drop(database(at, "CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(60000))")?);
            kept(File::options().write(true).open(at.join("state.db")).and_then(|file| file.set_len(9_000)))
        },
        "state.db.bad",
    ),
    Obstacle::on_disk("state.db is a pipe", |at| fifo(&at.join("state.db")), "state.db.bad"),
    Obstacle::on_disk(
        "state.db is a link",
        |at| kept(symlink("/dev/zero", at.join("state.db"))),
        "state.db.bad",
    ),
    Obstacle::on_disk("state.db is a directory", |at| kept(fs::create_dir(at.join("state.db"))), "state.db"),
    Obstacle::on_disk(
        "a database of something else",
        |at| {
            let sql = "CREATE TABLE bans (x); INSERT INTO bans VALUES (1); PRAGMA user_version = 1";
            database(at, sql).map(|one| Box::new(one) as Kept)
        },
        "state.db.bad",
    ),
    Obstacle::on_disk(
        "a database of a later version",
        |at| {
            let sql = "PRAGMA application_id = 0x67777374; PRAGMA user_version = 99";
            database(at, sql).map(|one| Box::new(one) as Kept)
        },
        "later version",
    ),
    Obstacle::on_disk(
        "another process has locked state.db",
        |at| database(at, "CREATE TABLE x (y); BEGIN EXCLUSIVE").map(|one| Box::new(one) as Kept),
        "state.db",
    ),
    Obstacle::on_disk(
        "state.db-wal is a directory",
        |at| kept(fs::create_dir(at.join("state.db-wal"))),
        "state.db",
    ),
    Obstacle::on_disk(
        "the lock is a directory",
        |at| kept(fs::create_dir(at.join("state.lock"))),
        "state.lock",
    ),
    Obstacle::on_disk("the lock is a pipe", |at| fifo(&at.join("state.lock")), "state.lock"),
    Obstacle::on_disk(
        "others may write to the directory",
        |at| kept(fs::set_permissions(at, Permissions::from_mode(0o777))),
        "other users may write",
    ),
    Obstacle::on_disk("no list", |at| kept(fs::remove_file(at.join("list"))), "the list is left out"),
    Obstacle::on_disk("the list is a pipe", |at| instead_of_list(at, fifo), "the list is left out"),
    Obstacle::on_disk(
        "the list is a device",
        |at| instead_of_list(at, |list| kept(symlink("/dev/zero", list))),
        "the list is left out",
    ),
    Obstacle::on_disk(
        "the list is a directory",
        |at| instead_of_list(at, |list| kept(fs::create_dir(list))),
        "the list is left out",
    ),
    Obstacle::on_disk(
        "the list has gigabytes",
        |at| instead_of_list(at, |list| sparse(list, 4_096 * MIB)),
        "the list is left out",
    ),
    Obstacle::on_disk("an empty list", |at| write(at, "list", ""), ""),
    Obstacle::on_disk(
        "a list with bytes of all kinds",
        |at| write(at, "list", (0..=255).collect::<Vec<u8>>()),
        "are skipped",
    ),
    Obstacle::on_disk(
        "a list of the whole Internet",
        |at| write(at, "list", (0..128).map(|first| format!("{first}.0.0.0/8\n")).collect::<String>()),
        "held back",
    ),
    Obstacle::configured("the directory is a file", ("/audit.db", "/list/audit.db"), nothing, "list"),
    Obstacle::configured("no directory", ("/audit.db", "/a/b/audit.db"), nothing, ""),
    Obstacle::configured(
        "a place where nothing can be made",
        ("{at}/audit.db", "/proc/gateway/audit.db"),
        nothing,
        "/proc/gateway",
    ),
    Obstacle::configured(
        "metrics at an address that is not there",
        ("127.0.0.1:", "192.0.2.77:"),
        nothing,
        "no metrics",
    ),
    Obstacle::configured(
        "a stale control socket",
        ("", ""),
        |at| {
            fs::create_dir_all(at.join("run"))?;
            kept(UnixListener::bind(at.join("run/control.sock")).map(drop))
        },
        "",
    ),
    Obstacle::configured(
        "a file where the control socket goes",
        ("", ""),
        |at| {
            fs::create_dir_all(at.join("run"))?;
            write(at, "run/control.sock", "")
        },
        "no verb reaches this gateway",
    )
    .without_verbs(),
    Obstacle::configured(
        "no such group",
        ("[control]", "[control]\ngroup = \"no-such-group\""),
        nothing,
        "there is no group",
    )
    .without_verbs(),
    Obstacle::in_shell("70 open files", "ulimit -n 70", ""),
    Obstacle::in_shell("no locked memory", "ulimit -l 0", ""),
    Obstacle::in_shell("files of no length", "ulimit -f 0", "will not outlive a restart"),
    Obstacle::in_shell("70 MiB of memory", LIMITED, "tables have 1/"),
    Obstacle::in_shell("files for everybody", "umask 000", ""),
    Obstacle::in_shell("a directory that is gone", "mkdir {at}/gone; cd {at}/gone; rmdir {at}/gone", ""),
    Obstacle::in_shell("an empty environment", "unset PATH HOME TMPDIR LANG USER", ""),
    Obstacle::in_shell("no standard streams", "exec <&- >&- 2>&-", ""),
];

fn warnings(gateway: &Gateway<'_>) -> Result<String> {
    let status: Value = gateway.document(&["status", "--json"])?;
    Ok(status["warnings"].to_string())
}

/// Starts a daemon with something in its way, and looks whether it protects and tells.
fn starts(lab: &Lab, obstacle: &Obstacle) -> Result<()> {
    let Obstacle { name, lay, configured: (from, to), shell, told, has_verbs } = obstacle;
    let mut gateway = Gateway::prepare(lab, "", &[])?;
    let list = gateway.state("list");
    fs::write(&list, "192.0.2.98\n")?;
    gateway.write_config(&config(&list))?;
    let directory = list.parent().context("a directory")?;
    let at = directory.to_str().context("a name")?;
    let file = gateway.state("gateway.toml");
    if !from.is_empty() {
        let text = fs::read_to_string(&file)?;
        let from = from.replace("{at}", at);
        ensure!(text.contains(&from), "the configuration has no {from}");
        fs::write(&file, text.replacen(&from, to, 1))?;
    }
    let _kept = lay(directory)?;
    if !shell.is_empty() {
        gateway.through(&shell.replace("{at}", at))?;
    }
    if *has_verbs {
        gateway.run()?;
        let warnings = warnings(&gateway)?;
        ensure!(warnings.contains(told), "`status` does not tell {told:?}: {warnings}");
        let blocked = gateway.done(&["block", "list", "--json"])?;
        ensure!(blocked.contains("192.0.2.99"), "what is configured does not hold: {blocked}");
        // It goes on: a change is made, and told.
        gateway.done(&["block", "add", "192.0.2.97", "--for", "600"])?;
    } else {
        gateway.begin()?;
        gateway.wait_ready()?;
        ensure!(gateway.log().contains(told), "the log does not tell {told:?}: {}", gateway.log());
    }
    println!("obstacles: {name}: it starts, and tells");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_start_goes_on_without_what_it_can_do_without() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let tried = OBSTACLES.iter().map(|one| starts(&lab, one).with_context(|| one.name));
    let failed: Vec<String> = tried.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        for own in entries.filter(|one| one.file_name().as_encoded_bytes().starts_with(b"gwlab-")) {
            fs::remove_dir(own.path())?;
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
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
    nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=0700"))?;
    let outcome = (|| {
        for end in ["", "-wal"] {
            let name = format!("state.db{end}");
            fs::copy(gateway.state(&name), small.join(&name))?;
        }
        // What is left is taken.
        let _ = fs::write(small.join("filler"), vec![0; 1 << 20]);
        let text = fs::read_to_string(gateway.state("gateway.toml"))?;
        fs::write(gateway.state("gateway.toml"), text.replace("/audit.db", "/small/audit.db"))?;
        gateway.run()?;
        let told = warnings(&gateway)?;
        ensure!(told.contains("cannot write"), "`status` does not tell it: {told}");
        let added = gateway.done(&["block", "add", "192.0.2.97"])?;
        ensure!(added.contains("not yet on disk"), "the answer does not tell it: {added}");
        let blocked = gateway.done(&["block", "list", "--json"])?;
        ensure!(blocked.contains("192.0.2.99") && blocked.contains("192.0.2.97"), "{blocked}");
        // There is room again: what waited is written, and nothing is wrong any more.
        fs::remove_file(small.join("filler"))?;
        await_that("nothing is wrong any more", PATIENCE, || {
            Ok(!warnings(&gateway)?.contains("cannot write"))
        })?;
        gateway.kill()?;
        gateway.run()?;
        let blocked = gateway.done(&["block", "list", "--json"])?;
        ensure!(blocked.contains("192.0.2.99") && blocked.contains("192.0.2.97"), "{blocked}");
        Ok(())
    })();
    // Whatever came of it: a daemon that runs is in the way.
    let _ = gateway.kill();
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
