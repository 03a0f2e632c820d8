//! The server against its client, against other clients, and in the file system.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::{Daemon, raw, samples};
use crate::control::access::{Access, Peer};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Done, FailureKind, Reply, Request};
use crate::control::server::{BindError, CONNECTIONS, Server};

fn daemon() -> Daemon {
    Daemon::replying(|request| match request {
        Request::Status {} => Reply::Done(Done::Status(Box::new(samples::status()))),
        Request::BlockList {} => Reply::Rows(vec![samples::rows().remove(1); 10_000]),
        Request::AllowList {} => {
            let (sender, rows) = tokio::sync::mpsc::channel(8);
            samples::rows().into_iter().for_each(|row| sender.try_send(row).unwrap());
            Reply::Stream(rows)
        }
        Request::Reload {} => Reply::failed(FailureKind::Usage, "line 3 is wrong", "write it right"),
        request => Reply::changed(format!("{request:?}"), 1),
    })
}

#[test]
fn a_document_a_list_a_stream_and_a_failure() {
    let daemon = daemon();
    let client = Client::new(&daemon.socket);
    let status = client.document(&Request::Status {}).unwrap();
    assert_eq!(status, Done::Status(Box::new(samples::status())));
    let mut count = 0;
    client.rows(&Request::BlockList {}, |_| count += 1).unwrap();
    assert_eq!(count, 10_000);
    let mut rows = Vec::new();
    client.rows(&Request::AllowList {}, |row| rows.push(row)).unwrap();
    assert_eq!(rows, samples::rows());
    let failed = client.document(&Request::Reload {}).unwrap_err();
    assert!(matches!(&failed, ClientError::Failed(failure) if failure.kind == FailureKind::Usage));
    assert_eq!(failed.to_string(), "line 3 is wrong");
    let answer = client.rows(&Request::Status {}, |_| {}).unwrap_err();
    assert!(matches!(answer, ClientError::Answer(_)), "{answer}");
}

/// Three pages; or the second one fails.
fn paged(fails: bool) -> Daemon {
    Daemon::replying(move |request| {
        let page = |next| Reply::Page(vec![samples::rows().remove(1); 3_000], next);
        let more = |listed| Some(Box::new(Request::BlockMore { after: None, origin: None, listed }));
        match request {
            Request::BlockList {} => page(more(1)),
            Request::BlockMore { listed: 1, .. } if fails => {
                Reply::failed(FailureKind::Failed, "no more", "")
            }
            Request::BlockMore { listed: 1, .. } => page(more(2)),
            _ => page(None),
        }
    })
}

#[test]
fn a_long_list_comes_in_pages() {
    let (whole, broken) = (paged(false), paged(true));
    let mut count = 0;
    Client::new(&whole.socket).rows(&Request::BlockList {}, |_| count += 1).unwrap();
    assert_eq!(count, 9_000);
    let mut count = 0;
    let failed = Client::new(&broken.socket).rows(&Request::BlockList {}, |_| count += 1).unwrap_err();
    assert_eq!((failed.to_string().as_str(), count), ("no more", 3_000));
}

#[test]
fn bad_requests_are_refused_with_words() {
    let daemon = daemon();
    let long = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
    for (request, word) in [
        (b"hello\n".as_slice(), "not understood"),
        (b"{\"request\":\"explode\"}\n", "explode"),
        (b"\xff\xfe\n", "not understood"),
        (b"\n", "not understood"),
        (&long, "too long"),
        (b"{\"request\":\"status\"}", "took too long"),
    ] {
        let answer = raw(&daemon.socket, request);
        assert!(answer.starts_with(r#"{"failed":{"kind":"usage""#) && answer.contains(word), "{answer}");
    }
    assert!(Client::new(&daemon.socket).document(&Request::Status {}).is_ok());
}

#[test]
fn slow_clients_do_not_keep_others_out() {
    let daemon = daemon();
    let slow: Vec<_> = (0..2 * CONNECTIONS).map(|_| UnixStream::connect(&daemon.socket).unwrap()).collect();
    let begin = Instant::now();
    assert!(Client::new(&daemon.socket).document(&Request::Status {}).is_ok());
    // Two rounds of the test's 300 ms, and not the client's minute.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(slow);
}

#[test]
fn a_daemon_that_does_not_answer_or_ends_is_told() {
    let mut kept = Vec::new();
    let silent = Daemon::start(move |call| kept.push(call));
    let error = Client::new(&silent.socket).document(&Request::Status {}).unwrap_err();
    assert_eq!(error.to_string(), "the gateway does not answer in time");
    let ending = Daemon::start(drop);
    let error = Client::new(&ending.socket).document(&Request::Status {}).unwrap_err();
    assert_eq!(error.to_string(), "the gateway is ending");
}

#[test]
fn nobody_there_is_not_running() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let ask = || Client::new(&path).document(&Request::Status {}).unwrap_err();
    assert!(matches!(ask(), ClientError::NotRunning(_)));
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale socket");
    assert!(matches!(ask(), ClientError::NotRunning(_)));
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let answers = ["", "{\"row\"", "{\"end\":1}\n", "{\"novel\":{}}\n", "{\"done\":{\"changed\":{}}}\n"];
    let thread = std::thread::spawn(move || {
        for answer in answers {
            use std::io::{BufRead, BufReader, Write};
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for answer in answers {
        let error = Client::new(&path).rows(&Request::BlockList {}, |_| {}).unwrap_err();
        assert!(matches!(error, ClientError::Answer(_)), "{answer}: {error}");
    }
    thread.join().unwrap();
}

#[test]
fn the_socket_is_private_alone_and_goes_with_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/gateway/control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let server = Server::bind(&path, None).unwrap();
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let directory = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(directory & 0o022, 0, "nobody else may write there");

    let second = Server::bind(&path, None).unwrap_err();
    assert!(matches!(second, BindError::Taken(_)), "{second}");
    assert!(path.exists());
    drop(server);
    assert!(!path.exists());

    drop(UnixListener::bind(&path).unwrap());
    drop(Server::bind(&path, None).expect("a stale socket is replaced"));
    let other = UnixListener::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path, None), Err(BindError::Taken(_))), "another program's socket");
    drop(other);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path, None), Err(BindError::InTheWay(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_cannot_be_bound_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let no_group = Server::bind(&path, Some("no-such-group-here")).unwrap_err().to_string();
    assert!(no_group.contains("groupadd --system no-such-group-here"), "{no_group}");
    assert!(!path.exists());
    assert!(matches!(Server::bind("control.sock".as_ref(), None), Err(BindError::Path(_))));
    assert!(matches!(Server::bind(&dir.path().join("x".repeat(120)), None), Err(BindError::Path(_))));
    for (mode, is_safe) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let outcome = Server::bind(&path, None);
        assert_eq!(outcome.is_ok(), is_safe, "{mode:o}");
        assert!(is_safe || matches!(outcome, Err(BindError::Directory(_))), "{mode:o}");
    }
}

#[test]
fn a_group_s_socket_is_for_its_members() {
    let gid = nix::unistd::getegid();
    let group = nix::unistd::Group::from_gid(gid).unwrap().expect("the own group has a name").name;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _server = Server::bind(&path, Some(&group)).unwrap();
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn root_the_owner_and_members_are_admitted_and_nobody_else() {
    let peer = |uid, gid| Peer { uid, gid, pid: None };
    let member = |_| vec![10, 20];
    let none = |_| Vec::new();
    let alone = Access { owner: 500, group: None };
    let shared = Access { owner: 500, group: Some(20) };
    for (access, peer, groups, admitted) in [
        (alone, peer(0, 0), none as fn(Peer) -> Vec<u32>, true),
        (alone, peer(500, 500), none, true),
        (alone, peer(1000, 500), none, false),
        (alone, peer(1000, 20), member, false),
        (shared, peer(1000, 20), none, true),
        (shared, peer(1000, 1000), member, true),
        (shared, peer(1000, 1000), none, false),
        (Access { owner: 0, group: Some(0) }, peer(1000, 1000), member, false),
    ] {
        assert_eq!(access.admits(peer, groups), admitted, "{access:?} {peer:?}");
    }
    assert!(!alone.needs_groups(peer(1000, 20)), "no group, no look-up");
    assert!(shared.needs_groups(peer(1000, 1000)));
}

#[test]
fn an_ending_daemon_still_answers_who_asked_it_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let server = Server::bind(&path, None).unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, mut calls) = tokio::sync::mpsc::channel(1);
            let serving = tokio::spawn(server.serve(sender));
            let call = calls.recv().await.unwrap();
            call.reply.send(Reply::changed("stopping", 1)).unwrap();
            drop(calls);
            serving.await.unwrap().unwrap();
        });
    });
    let client = Client::new(&path);
    assert!(client.document(&Request::Stop { keep: None }).is_ok());
    assert!(client.wait_gone(Duration::from_secs(5)));
    thread.join().unwrap();
    assert!(!path.exists());
}
