//! The `gateway` command as a process: exit statuses, standard output and standard error.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gateway_user::control::protocol::{FailureKind, Reply, Request, Row};
use gateway_user::control::server::Server;
use gateway_user::model::{Mode, document::PrefixRow};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// A control socket that answers, for as long as the test's process lives.
fn daemon(dir: &Path) -> PathBuf {
    let socket = dir.join("control.sock");
    let server = Server::bind(&socket, None).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (calls, mut received) = tokio::sync::mpsc::channel(4);
            tokio::spawn(server.serve(calls));
            while let Some(call) = received.recv().await {
                let _ = call.reply.send(reply(&call.request));
            }
        });
    });
    socket
}

fn reply(request: &Request) -> Reply {
    match request {
        Request::BlockList {} => Reply::Rows(vec![
            Row::Prefix(PrefixRow {
                prefix: "198.51.100.0/24".parse().unwrap(),
                origin: "operator".into(),
                reason: None,
                added_at: 0,
                until_at: None,
                packets: None,
                level: None,
            });
            50_000
        ]),
        Request::Mode { mode: Mode::Enforce, .. } => {
            Reply::failed(FailureKind::Refused, "you would be locked out", "allow your address first")
        }
        Request::Mode { mode, .. } => Reply::changed(format!("mode is {mode}"), 7),
        _ => Reply::failed(FailureKind::Failed, "no", "no"),
    }
}

fn gateway(socket: &Path, arguments: &[&str]) -> Output {
    Command::new(GATEWAY).arg("--socket").arg(socket).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_outcome_has_its_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = dir.path().join("nobody.sock");
    let socket = daemon(dir.path());
    for (socket, arguments, status, error) in [
        (&socket, ["mode", "monitor"].as_slice(), 0, ""),
        (&socket, &["reload"], 1, "error: no\nhelp: no\n"),
        (&socket, &["mode", "on"], 2, "error: invalid value 'on'"),
        (&nobody, &["status"], 3, "error: no gateway is running on "),
        (
            &socket,
            &["mode", "enforce"],
            4,
            "error: you would be locked out\nhelp: allow your address first\n",
        ),
        (&nobody, &["completions", "bash"], 0, ""),
    ] {
        let output = gateway(socket, arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with(error) && said.is_empty() == error.is_empty(), "{arguments:?}: {said}");
    }
}

/// A generated configuration needs no file to be checked.
#[test]
fn a_configuration_comes_by_a_pipe() {
    for (text, status) in [("mode = \"monitor\"\n", 0), ("mode = \"off and on\"\n", 2)] {
        for name in ["-", "/dev/stdin"] {
            let mut child = Command::new(GATEWAY)
                .args(["check", name])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{name}: {output:?}");
        }
    }
}

#[test]
fn a_change_prints_one_line_or_one_document() {
    let dir = tempfile::tempdir().unwrap();
    let socket = daemon(dir.path());
    let output = gateway(&socket, &["mode", "monitor"]);
    assert_eq!(text(&output.stdout), "mode is monitor\n");
    let output = gateway(&socket, &["mode", "monitor", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!(
        {
            "message": "mode is monitor", "generation": 7, "until_at": null, "warnings": [], "facts": [],
            "durable": true
        }
    );
    assert_eq!(document, expected);
    let output = gateway(&socket, &["block", "list", "--json"]);
    let rows = text(&output.stdout).lines().map(|line| serde_json::from_str::<PrefixRow>(line).unwrap());
    assert_eq!(rows.count(), 50_000);
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let socket = daemon(dir.path());
    let line = "\"$0\" --socket \"$1\" block list | head -n 1; exit ${PIPESTATUS[0]}";
    let output = Command::new("bash").args(["-c", line, GATEWAY]).arg(&socket).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty() && text(&output.stdout).starts_with("PREFIX"), "{output:?}");
}

#[test]
fn the_manual_is_written_for_each_verb() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(GATEWAY).args(["man", "--directory"]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for page in ["gateway.1", "gateway-status.1", "gateway-block-add.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn other_users_are_kept_out_by_the_file_and_by_the_daemon() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root (`cargo xtask test` asks for it)");
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(dir.path(), 0o755);
    let socket = daemon(dir.path());
    // A copy, because another user may not be able to reach the build directory.
    let copy = dir.path().join("gateway");
    std::fs::copy(GATEWAY, &copy).unwrap();
    let ask = || {
        let mut command = Command::new(&copy);
        command.arg("--socket").arg(&socket).arg("status").uid(65_534).gid(65_534);
        command.current_dir("/").output().unwrap()
    };
    let output = ask();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("may not be used by this user\nhelp: run it with sudo"),
        "{output:?}"
    );
    open(&socket, 0o666);
    let output = ask();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("user 65534 may not use this control socket"), "{output:?}");
}
