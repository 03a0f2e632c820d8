//! A local user without rights, who tries to hold the daemon up or to take protection off.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, require_lab};
use gateway_user::net;
use nix::mount::{MsFlags, mount, umount};

/// `nobody`, and the group of the same number.
const NOBODY: u32 = 65_534;
/// Times an answer is measured.
const TIMES: usize = 9;
/// By so much an answer to root may come later.
const DELAY: Duration = Duration::from_millis(100);
/// Times that it is looked.
const TRIES: usize = 3;
/// So long what is held is held before it is looked.
const A_WHILE: Duration = Duration::from_millis(500);

/// A way: its name, and a program of the user's, which says `held` once it has begun, and does not end by itself.
type Way = (&'static str, &'static str);

/// What each program begins with. `AT` is the daemon's directory.
const PROLOGUE: &str = "
import fcntl, os, socket, sys, threading, time
AT, PINS, PID = sys.argv[1:4]
def refused(what, *names):
    try:
        what(*names)
    except OSError:
        return
    print('done', what.__name__, *names, flush=True)
def control():
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(2)
    one.connect(AT + '/run/control.sock')
    return one
def page(text=b''):
    one = socket.create_connection(('127.0.0.1', 9464), 2)
    one.sendall(text)
    return one
def each(times, make):
    held = []
    for _ in range(times):
        try: held.append(make())
        except OSError: pass
    assert held
    return held
def again(work):
    def run():
        while True:
            try: work()
            except OSError: pass
            time.sleep(0.002)
    for _ in range(4): threading.Thread(target=run, daemon=True).start()
def stay():
    print('held', flush=True)
    time.sleep(600)
";

/// Ways that hold something for as long as answers are measured.
const HOLDING: [Way; 7] = [
    ("120 silent connections to the control socket", "held = each(120, control); stay()"),
    ("connections to it again and again", "again(lambda: control().close()); stay()"),
    (
        "requests to it, again and again",
        "
def ask():
    one = control(); one.sendall(b'{\"request\":\"status\"}\\n'); one.recv(1 << 20); one.close()
again(ask); stay()",
    ),
    (
        "requests whose answers nobody takes",
        "
def ask():
    one = control(); one.sendall(b'{\"request\":\"block_list\"}\\n'); return one
held = each(60, ask); stay()",
    ),
    ("200 idle connections to the metrics", "held = each(200, page); stay()"),
    ("half of a request, again and again", "again(lambda: page(b'GET /metrics HTTP/1.1\\r\\nX: ')); stay()"),
    (
        "pages, again and again",
        "
def ask():
    one = page(b'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
    while one.recv(1 << 16): pass
again(ask); stay()",
    ),
];

/// Ways that have to fail.
const FAILING: [Way; 6] = [
    ("a lock on the state", "
def lock(name): fcntl.lockf(os.open(name, os.O_RDONLY), fcntl.LOCK_SH)
for end in '.db', '.db-wal', '.db-shm', '.lock': refused(lock, AT + '/state' + end)"),
    ("a lock on the control socket's lock", "
def lock(name): fcntl.flock(os.open(name, os.O_RDONLY), fcntl.LOCK_SH)
refused(lock, AT + '/run/control.sock.lock')"),
    ("a pipe in a file's place", "
for name in 'state.lock', 'state.db-journal', 'run/control.sock': refused(os.mkfifo, AT + '/' + name)"),
    ("a link in a file's place", "
for name in 'state.db-journal', 'run/.control.sock.' + PID: refused(os.symlink, '/etc/hostname', AT + '/' + name)"),
    ("to take the socket away", "
refused(os.unlink, AT + '/run/control.sock'); refused(os.rename, AT + '/run', AT + '/runs')"),
    ("to take pins away, and to end it", "
for place, _, names in os.walk(PINS):
    for name in names: refused(os.unlink, place + '/' + name)
refused(os.rename, PINS, PINS + '-'); refused(os.listdir, PINS); refused(os.kill, int(PID), 9)"),
];

/// A program of the user's.
struct User(Child);

impl User {
    /// Starts it; `daemon`: the number of a process.
    fn begin(lab: &Lab, gateway: &Gateway<'_>, daemon: i32, program: &str) -> Result<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", &format!("{PROLOGUE}\n{program}")]);
        command.arg(directory(gateway)?).arg(gateway.pins()).arg(daemon.to_string());
        command.uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self(lab.server.enter(|| command.spawn())?.context("python3 does not start")?))
    }

    /// Starts one that holds something, and waits until it does.
    fn holding(lab: &Lab, gateway: &Gateway<'_>, daemon: i32, program: &str) -> Result<Self> {
        let mut user = Self::begin(lab, gateway, daemon, program)?;
        let mut said = String::new();
        BufReader::new(user.0.stdout.as_mut().context("no output")?).read_line(&mut said)?;
        ensure!(said == "held\n", "it says {said:?}");
        thread::sleep(A_WHILE);
        Ok(user)
    }

    /// Waits for its end; what it has brought about.
    fn done(mut self) -> Result<String> {
        let mut done = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut done)?;
        ensure!(self.0.wait()?.success(), "it fails: {done}");
        Ok(done)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn directory(gateway: &Gateway<'_>) -> Result<PathBuf> {
    Ok(gateway.state("list").parent().context("a directory")?.to_owned())
}

/// How long an answer to root takes, by the median of some: a verb's, and that of the page that tells whether it is ready.
fn answers(gateway: &Gateway<'_>) -> Result<[Duration; 2]> {
    let median = |ask: &dyn Fn() -> Result<()>| -> Result<Duration> {
        let time = |_| {
            let start = Instant::now();
            ask()?;
            anyhow::Ok(start.elapsed())
        };
        let mut times = (0..TIMES).map(time).collect::<Result<Vec<_>>>()?;
        times.sort();
        Ok(times[TIMES / 2])
    };
    Ok([median(&|| gateway.done(&["status"]).map(drop))?, median(&|| gateway.is_ready().map(drop))?])
}

/// By how much answers come later than before. A machine that does other things is looked at again.
fn late(gateway: &Gateway<'_>, before: [Duration; 2]) -> Result<[Duration; 2]> {
    let mut late = [Duration::MAX; 2];
    for _ in 0..TRIES {
        let now = answers(gateway)?;
        late = [0, 1].map(|place| late[place].min(now[place].saturating_sub(before[place])));
        if late.iter().all(|late| *late < DELAY) {
            break;
        }
    }
    Ok(late)
}

/// Whether the program is still on both interfaces.
fn is_protected(lab: &Lab) -> Result<()> {
    for interface in lab.interfaces() {
        let on_it = lab.server.enter(|| net::interface(interface))??.xdp;
        ensure!(on_it.is_some(), "{interface} has no program any more");
    }
    Ok(())
}

/// A daemon whose directory others may pass, and whose control socket is for the user's group; it has a ban.
fn open_to_all<'a>(lab: &'a Lab) -> Result<Gateway<'a>> {
    let mut gateway = Gateway::prepare(lab, "mode = \"enforce\"\n", &[])?;
    let file = gateway.state("gateway.toml");
    let text = fs::read_to_string(&file)?.replace("[control]", "[control]\ngroup = \"nogroup\"");
    fs::write(&file, text)?;
    fs::set_permissions(directory(&gateway)?, Permissions::from_mode(0o711))?;
    gateway.run()?;
    gateway.wait_ready()?;
    gateway.done(&["block", "add", "192.0.2.99"])?;
    Ok(gateway)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_user_without_rights_holds_nothing_up() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = open_to_all(&lab)?;
    let before = answers(&gateway)?;
    for (name, program) in HOLDING {
        let user = User::holding(&lab, &gateway, gateway.pid()?.as_raw(), program).context(name)?;
        let late = late(&gateway, before).context(name)?;
        drop(user);
        println!("local users: {name}: answers come {late:?} later than {before:?}");
        ensure!(late.iter().all(|late| *late < DELAY), "{name}: answers come {late:?} later");
        is_protected(&lab)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_user_without_rights_takes_nothing_away() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = open_to_all(&lab)?;
    for (name, program) in FAILING {
        let done = User::begin(&lab, &gateway, gateway.pid()?.as_raw(), program)?.done().context(name)?;
        ensure!(done.is_empty(), "{name}: {done}");
        println!("local users: {name}: refused");
        gateway.done(&["status"])?;
        is_protected(&lab)?;
    }
    gateway.kill()?;
    is_protected(&lab)?;
    gateway.run()?;
    ensure!(gateway.done(&["block", "list"])?.contains("192.0.2.99"), "the ban is gone");
    Ok(())
}

/// What a user has laid before the first start, where everybody may make something: the directory of pins, on a bpffs as the kernel mounts it by
/// default, and a lock on bans that were once for all to read.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_a_user_has_laid_before_the_start_is_of_no_use() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = open_to_all(&lab)?;
    // A database as an earlier version left it.
    gateway.kill()?;
    let bans = gateway.state("state.db");
    fs::set_permissions(&bans, Permissions::from_mode(0o644))?;
    let pins = gateway.pins().to_owned();
    let place = pins.parent().context("a parent")?.join(format!("gwlab-{}-open", std::process::id()));
    fs::create_dir(&place)?;
    mount(Some("bpf"), &place, Some("bpf"), MsFlags::empty(), Some("mode=1777"))?;
    let outcome = laid(&lab, &mut gateway, &place, &bans);
    drop(gateway);
    umount(&place)?;
    fs::remove_dir(&place)?;
    outcome
}

fn laid(lab: &Lab, gateway: &mut Gateway<'_>, place: &Path, bans: &Path) -> Result<()> {
    const LAY: &str = "
os.makedirs(PINS + '/links')
lock = os.open(AT + '/state.db', os.O_RDONLY); fcntl.lockf(lock, fcntl.LOCK_SH)
stay()";
    gateway.pin_at(&place.join("gateway"));
    let user = User::holding(lab, gateway, 1, LAY)?;
    gateway.run()?;
    let mode = fs::metadata(bans)?.permissions().mode() & 0o777;
    let answers = answers(gateway)?;
    drop(user);
    println!("local users: locked and laid before: answers take {answers:?}");
    ensure!(mode == 0o600, "state.db has the mode {mode:o}");
    let status = gateway.done(&["status"])?;
    ensure!(status.contains(&format!("was user {NOBODY}'s")), "{status}");
    let done = User::begin(lab, gateway, gateway.pid()?.as_raw(), FAILING[5].1)?.done()?;
    ensure!(done.is_empty(), "{done}");
    gateway.kill()?;
    is_protected(lab)
}
