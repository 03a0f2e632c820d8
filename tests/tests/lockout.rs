//! Nobody locks himself out: what would cut a session is refused whatever its caller has come by, and no honest change is.

use std::{fs, io, net::TcpStream, path::PathBuf, process::Output, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use gateway_tests::lab::{CLIENT_V4, Gateway, Lab, SERVER_V4, alone, require_lab};

/// What a way begins with, and what is done then: `reload` with another file, or a verb with what it reads.
struct Way {
    before: &'static str,
    after: Option<&'static str>,
    verb: &'static str,
    input: &'static str,
}

const ENFORCE: &str = "mode = \"enforce\"\n";

const fn verb(verb: &'static str) -> Way {
    Way { before: ENFORCE, after: None, verb, input: "" }
}

const fn reload(after: &'static str) -> Way {
    Way { before: ENFORCE, after: Some(after), verb: "reload", input: "" }
}

const fn on(before: &'static str, verb: &'static str) -> Way {
    Way { before, after: None, verb, input: "" }
}

const fn reading(verb: &'static str, input: &'static str) -> Way {
    Way { before: ENFORCE, after: None, verb, input }
}

const SSH_IN_CLEAR: &str =
    "mode = \"monitor\"\n[[service]]\nname = \"ssh\"\nprotocol = \"tcp\"\nports = [22]\nrequire = \"tls\"\n";
const SSH_GATED: &str =
    "mode = \"enforce\"\n[[service]]\nname = \"ssh\"\nprotocol = \"tcp\"\nports = [22]\nrequire = \"tls\"\n";
const SSH_SLOW: &str = "mode = \"monitor\"\n[limits]\npackets = { rate = \"1/s\" }\n";
const SSH_BLOCKED: &str = "mode = \"monitor\"\n[lists]\nblock = [\"192.0.2.0/24\"]\n";
const SSH_TRUSTED: &str =
    "mode = \"enforce\"\n[lists]\nblock = [\"192.0.0.0/16\"]\nallow = [\"192.0.2.2\"]\n";
const SSH_ALONE: &str =
    "mode = \"enforce\"\n[[service]]\nname = \"ssh\"\nprotocol = \"tcp\"\nports = [22]\nrequire = \"any\"\n";
const PARTNERS: &str = "mode = \"enforce\"\n[[class]]\nname = \"partners\"\nsources = [\"192.0.2.0/24\"]\n";

/// The client of the session is 192.0.2.2.
const CUTS: [Way; 34] = [
    verb("block add 192.0.2.2"),
    verb("block add 192.0.2.2/31"),
    verb("block add 192.0.2.0/24"),
    verb("block add 192.0.0.0/16"),
    verb("block add 192.0.0.0/8"),
    verb("block add 0.0.0.0/0"),
    verb("block add 192.0.2.0/30"),
    verb("block add 192.0.2.2 --for 10m"),
    verb("block add 192.0.2.2 --reason mine"),
    reading("block add -", "192.0.2.2\n"),
    reading("block add -", "198.51.100.0/24\n203.0.113.9\n192.0.2.0/25\n"),
    verb("limit set default packets 1/s"),
    verb("limit set default packets 1/min --for 1h"),
    verb("limit set default packets 2/s --burst 4"),
    verb("limit set default bytes 100B/s --burst 1518B"),
    on(PARTNERS, "limit set class/partners packets 1/s"),
    on(SSH_ALONE, "limit set service/ssh packets 1/s"),
    on(SSH_ALONE, "limit set total/ssh packets 1/s"),
    on(SSH_IN_CLEAR, "mode enforce"),
    on(SSH_IN_CLEAR, "mode enforce --for 1h"),
    on(SSH_SLOW, "mode enforce"),
    on(SSH_BLOCKED, "mode enforce"),
    reload("mode = \"enforce\"\n[lists]\nblock = [\"192.0.2.0/24\"]\n"),
    reload("mode = \"enforce\"\n[lists]\nblock = [\"0.0.0.0/0\"]\n"),
    reload("mode = \"enforce\"\n[lists]\nblock = [\"192.0.2.2\"]\n[ban]\nnever = []\n"),
    reload("mode = \"enforce\"\n[limits]\npackets = { rate = \"1/s\" }\n"),
    reload("mode = \"enforce\"\n[limits]\npackets = { rate = \"3/s\", burst = \"3\" }\n"),
    reload("mode = \"enforce\"\n[limits]\nbytes = { rate = \"100B/s\", burst = \"1518B\" }\n"),
    reload(SSH_GATED),
    reload(
        "mode = \"enforce\"\n[[service]]\nname = \"all\"\nprotocol = \"tcp\"\nports = [\"1-1023\"]\nrequire = \"tls\"\n",
    ),
    reload(
        "mode = \"enforce\"\n[[service]]\nname = \"ssh\"\nprotocol = \"tcp\"\nports = [22]\nrequire = \"tls\"\naddresses = [\"192.0.2.1\"]\n",
    ),
    reload(
        "mode = \"enforce\"\n[[class]]\nname = \"slow\"\nsources = [\"192.0.2.0/24\"]\npackets = { rate = \"1/s\" }\n",
    ),
    Way {
        before: SSH_TRUSTED,
        after: Some("mode = \"enforce\"\n[lists]\nblock = [\"192.0.0.0/16\"]\n"),
        verb: "reload",
        input: "",
    },
    Way {
        before: SSH_SLOW,
        after: Some("mode = \"enforce\"\n[limits]\npackets = { rate = \"1/s\" }\n"),
        verb: "reload",
        input: "",
    },
];

const HONEST: [Way; 32] = [
    verb("block add 192.0.2.3"),
    verb("block add 198.51.100.0/24"),
    verb("block add 203.0.113.0/24 --for 10m"),
    verb("block add 2001:db8::/32"),
    verb("block add ::/0"),
    reading("block add -", "192.0.2.4/30\n198.51.100.7\n"),
    verb("block del 192.0.2.2"),
    verb("allow add 192.0.2.2"),
    verb("allow add 198.51.100.9"),
    verb("allow del 198.51.100.9"),
    verb("limit set default packets 100/s"),
    verb("limit set default packets 20/s --burst 100"),
    verb("limit set default syn 1/s"),
    verb("limit set default udp 1/s"),
    verb("limit set default icmp 1/s"),
    verb("limit set default bytes 1MiB/s"),
    verb("limit set rest udp 1/s"),
    verb("limit set neighbours syn 10/s"),
    verb("limit unset default packets"),
    on(SSH_ALONE, "limit set service/ssh packets 50/s"),
    on(PARTNERS, "limit set class/partners syn 2/s"),
    verb("mode monitor"),
    verb("mode off --for 1m"),
    on("mode = \"monitor\"\n", "mode enforce"),
    on(SSH_TRUSTED, "mode enforce"),
    reload(SSH_IN_CLEAR),
    reload(SSH_BLOCKED),
    reload(SSH_TRUSTED),
    reload("mode = \"enforce\"\n[lists]\nblock = [\"198.51.100.0/24\", \"203.0.113.0/24\"]\n"),
    reload(
        "mode = \"enforce\"\n[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n",
    ),
    reload("mode = \"enforce\"\n[limits]\nsyn = { rate = \"2/s\" }\n"),
    // A session that is cut already is none that a change could cut.
    on(SSH_BLOCKED, "limit set default packets 1/s"),
];

/// Where logind keeps its sessions.
const SESSIONS: &str = "/run/systemd/sessions";

/// A session as logind writes it, for as long as this lives.
struct Known(PathBuf);

impl Known {
    fn new() -> Result<Self> {
        fs::create_dir_all(SESSIONS)?;
        let path = PathBuf::from(SESSIONS).join(format!("gwlab{}", std::process::id()));
        let text =
            format!("UID=0\nUSER=alice\nSTATE=active\nREMOTE=1\nREMOTE_HOST={CLIENT_V4}\nSERVICE=sshd\n");
        fs::write(&path, text).context("cannot write a session")?;
        Ok(Self(path))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The callers: the shell that runs the verb, whether the session is in its environment, and whether logind knows it.
const CALLERS: [(&str, &str, bool, bool); 5] = [
    ("by ssh", "exec \"$@\"", true, false),
    ("by sudo -i", "env -i \"$@\"; exit $?", true, false),
    // tmux gives its shells the variable of the session that has attached last.
    ("in tmux", "setsid --wait \"$@\"", true, false),
    ("by cron", "exec \"$@\"", false, true),
    ("from a container's shell", "env -i \"$@\"; exit $?", false, true),
];

struct Stand<'a> {
    lab: &'a Lab,
    gateway: &'a Gateway<'a>,
}

impl Stand<'_> {
    /// Has a policy hold that nothing was changed of.
    fn begin(&self, text: &str) -> Result<()> {
        for row in self.gateway.blocked()?.iter().filter(|row| row["origin"] == "operator") {
            self.gateway.done(&["block", "del", row["prefix"].as_str().context("a prefix")?])?;
        }
        self.gateway.write_config(text)?;
        self.gateway.done(&["reload", "--force"]).map(drop)
    }

    fn ask(&self, way: &Way, script: &str, environment: &[(&str, &str)], more: &[&str]) -> Result<Output> {
        if let Some(after) = way.after {
            self.gateway.write_config(after)?;
        }
        let words: Vec<&str> = way.verb.split(' ').chain(more.iter().copied()).collect();
        self.gateway.cli_by(script, environment, &words, way.input)
    }

    /// Whether a connection of the client to port 22, where nobody listens, is answered.
    fn is_answered(&self) -> Result<bool> {
        let connect = || TcpStream::connect_timeout(&(SERVER_V4, 22).into(), Duration::from_millis(500));
        match self.lab.client.enter(connect)?.map_err(|error| error.kind()) {
            Err(io::ErrorKind::ConnectionRefused) => Ok(true),
            Err(io::ErrorKind::TimedOut) => Ok(false),
            other => bail!("the client got {other:?}"),
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_would_cut_a_session_is_refused_and_nothing_else() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, ENFORCE)?;
    let stand = Stand { lab: &lab, gateway: &gateway };
    let connection = format!("{CLIENT_V4} 50000 {SERVER_V4} 22");
    let of_ssh = [("SSH_CONNECTION", connection.as_str())];
    let mut wrong = Vec::new();
    for way in &CUTS {
        stand.begin(way.before)?;
        let before = gateway.document(&["status", "--json"])?["generation"].clone();
        for (caller, script, has_variable, is_known) in CALLERS {
            let _known = is_known.then(Known::new).transpose()?;
            let environment: &[(&str, &str)] = if has_variable { &of_ssh } else { &[] };
            let answer = stand.ask(way, script, environment, &[])?;
            let said = String::from_utf8_lossy(&answer.stderr).into_owned();
            let whose =
                if is_known { "which alice is connected from" } else { "which you are connected from" };
            if answer.status.code() != Some(4)
                || !said.contains(&format!("it would lock out 192.0.2.2, {whose}"))
            {
                wrong.push(format!("{} ({:?}) {caller}: {answer:?}", way.verb, way.after));
            }
        }
        let after = gateway.document(&["status", "--json"])?["generation"].clone();
        if before != after || !stand.is_answered()? {
            wrong.push(format!("{} ({:?}) was refused, and is in force", way.verb, way.after));
        }
    }
    for way in &HONEST {
        for (caller, script, has_variable, is_known) in CALLERS {
            stand.begin(way.before)?;
            let _known = is_known.then(Known::new).transpose()?;
            let environment: &[(&str, &str)] = if has_variable { &of_ssh } else { &[] };
            let answer = stand.ask(way, script, environment, &[])?;
            if !answer.status.success() {
                wrong.push(format!("{} ({:?}) {caller}: {answer:?}", way.verb, way.after));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    // What is meant is done.
    for verb in ["block add 192.0.2.2 --force", "limit set default packets 1/s --force"] {
        stand.begin(ENFORCE)?;
        let answer =
            stand.ask(&Way { before: ENFORCE, after: None, verb, input: "" }, "exec \"$@\"", &of_ssh, &[])?;
        ensure!(answer.status.success(), "{verb}: {answer:?}");
    }
    stand.begin(ENFORCE)?;
    // Of a feed's list the session's address is left out, and the rest is taken.
    let feed = ["block", "add", "-", "--origin", "drop", "--for", "1h"];
    let answer = gateway.cli_by("exec \"$@\"", &of_ssh, &feed, "192.0.2.2\n198.51.100.0/24\n")?;
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    ensure!(answer.status.success() && said.contains("192.0.2.2 has a management session"), "{answer:?}");
    ensure!(gateway.blocked()?.len() == 1 && stand.is_answered()?, "the feed has cut the client");
    Ok(())
}
