//! Both ends of the socket together, and each against a peer that misbehaves.

mod samples;
mod server;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::protocol::{Reply, Request};
use super::server::{Call, Patience, Server};

/// A daemon that answers each request by a function, on a thread of its own, until it is dropped.
pub(super) struct Daemon {
    pub(super) socket: PathBuf,
    _dir: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(super) fn start(answer: impl FnMut(Call) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("run/control.sock");
        let patience = Patience {
            read: Duration::from_secs(1),
            answer: Duration::from_secs(2),
            write: Duration::from_secs(1),
        };
        let server = Server::bind(&socket, None).unwrap().with_patience(patience);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(server, answer, stopped));
        });
        Self { socket, _dir: dir, stop: Some(stop), thread: Some(thread) }
    }

    /// One that answers with what the function returns.
    pub(super) fn replying(mut reply: impl FnMut(Request) -> Reply + Send + 'static) -> Self {
        Self::start(move |call| drop(call.reply.send(reply(call.request))))
    }
}

async fn run(server: Server, mut answer: impl FnMut(Call), stopped: tokio::sync::oneshot::Receiver<()>) {
    let (calls, mut received) = mpsc::channel(16);
    let answering = async {
        while let Some(call) = received.recv().await {
            answer(call);
        }
    };
    tokio::select! {
        served = server.serve(calls) => served.unwrap(),
        () = answering => {}
        _ = stopped => {}
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// Sends bytes as they are and returns all that comes back.
pub(super) fn raw(socket: &Path, bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The server may have answered and closed before it was all written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}
