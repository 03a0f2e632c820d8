//! One connection of the control socket: admit, read, ask, answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::REQUEST_MAX;
use super::access::{Access, Peer, groups_of};
use super::call::{Call, Caller, Patience, STREAMS};
use super::protocol::{Failure, FailureKind, Line, MANY_MAX, Reply, Request, Row};
use super::user::user;
use crate::{
    model::{Prefix, User},
    places::Place,
};

/// The longest line of a prefix in bytes, its newline included.
const PREFIX_MAX: u64 = 64;
/// Sessions of a caller that are looked at.
const SESSIONS_MAX: usize = 8;
/// Prefixes that come under one deadline.
const LINES_AT_ONCE: usize = 4_096;

/// A connection before its request is answered.
pub(super) struct Connection {
    pub(super) access: Access,
    pub(super) patience: Patience,
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) streams: Arc<Semaphore>,
}

type Writer = BufWriter<UnixStream>;

/// What is asked.
struct Asked {
    request: Request,
    user: User,
    caller: Caller,
}

impl Connection {
    /// Answers one request, in a place that others may get while nothing is asked. A client that went away is its own affair.
    pub(super) async fn serve_in(self, mut stream: UnixStream, mut place: Place) {
        let asked = tokio::select! {
            asked = self.request(&mut stream) => asked,
            () = place.lost() => return,
        };
        place.has_asked();
        if let Ok(Some(following)) = self.serve(stream, asked).await {
            drop(place);
            let _ = following.run().await;
        }
    }

    /// What is asked, by which user and for which sessions.
    async fn request(&self, stream: &mut UnixStream) -> Result<Asked, Failure> {
        let peer = self.admit(stream).await?;
        let (request, caller) = self.read(stream).await?;
        let mut asks = User { uid: peer.uid, ..User::default() };
        if request.changes() {
            // The user database may have to be asked over a network.
            let described = tokio::task::spawn_blocking(move || user(peer));
            if let Ok(Ok(user)) = timeout(self.patience.read, described).await {
                asks = user;
            }
        }
        Ok(Asked { request, user: asks, caller })
    }

    /// Answers a request, or returns the stream that answers it.
    async fn serve(
        self,
        stream: UnixStream,
        request: Result<Asked, Failure>,
    ) -> std::io::Result<Option<Following>> {
        let Asked { request, user, caller } = match request {
            Ok(asked) => asked,
            Err(failure) => {
                self.write(&mut BufWriter::new(stream), &[Line::Failed(failure)]).await?;
                return Ok(None);
            }
        };
        let reply = self.ask(request, user.clone(), caller).await;
        let mut writer = BufWriter::new(stream);
        match reply {
            Reply::Page(rows, next) => self.pages(&mut writer, rows, next, user).await?,
            Reply::Done(done) => self.write(&mut writer, &[Line::Done(done)]).await?,
            Reply::Failed(failure) => self.write(&mut writer, &[Line::Failed(failure)]).await?,
            Reply::Rows(rows) => self.list(&mut writer, rows).await?,
            Reply::Stream(rows) => {
                let Ok(slot) = Arc::clone(&self.streams).try_acquire_owned() else {
                    self.write(&mut writer, &[Line::Failed(too_many_streams())]).await?;
                    return Ok(None);
                };
                return Ok(Some(Following { rows, writer, patience: self.patience, _slot: slot }));
            }
        }
        Ok(None)
    }

    /// In batches, so that the time to take it does not depend on the length of the list.
    async fn list(&self, writer: &mut Writer, rows: Vec<Row>) -> std::io::Result<()> {
        let end = Line::End(rows.len() as u64);
        let mut lines = rows.into_iter().map(Line::Row).chain([end]).peekable();
        while lines.peek().is_some() {
            let batch: Vec<Line> = lines.by_ref().take(256).collect();
            self.write(writer, &batch).await?;
        }
        Ok(())
    }

    /// A long list, page by page: neither end holds all of it at once, and others are answered in between.
    async fn pages(
        &self,
        writer: &mut Writer,
        mut rows: Vec<Row>,
        mut next: Option<Box<Request>>,
        user: User,
    ) -> std::io::Result<()> {
        let mut count = 0;
        loop {
            count += rows.len() as u64;
            let lines: Vec<Line> = rows.into_iter().map(Line::Row).collect();
            for batch in lines.chunks(256) {
                self.write(writer, batch).await?;
            }
            let Some(request) = next else { break };
            match self.ask(*request, user.clone(), Caller::default()).await {
                Reply::Page(more, then) => (rows, next) = (more, then),
                Reply::Failed(failure) => return self.write(writer, &[Line::Failed(failure)]).await,
                _ => return Err(std::io::Error::other("a page that is none")),
            }
        }
        self.write(writer, &[Line::End(count)]).await
    }

    async fn admit(&self, stream: &UnixStream) -> Result<Peer, Failure> {
        let denied = |message: &str| {
            let help = "run it as root, or as a member of the group in control.group";
            failure(FailureKind::Denied, message, help)
        };
        let Ok(cred) = stream.peer_cred() else {
            return Err(denied("the kernel does not say who asks"));
        };
        let peer = Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() };
        let groups = if self.access.needs_groups(peer) {
            tokio::task::spawn_blocking(move || groups_of(peer)).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        if self.access.admits(peer, |_| groups) {
            Ok(peer)
        } else {
            Err(denied(&format!("user {} may not use this control socket", peer.uid)))
        }
    }

    async fn read(&self, stream: &mut UnixStream) -> Result<(Request, Caller), Failure> {
        let usage = |message: String, help| Err(failure(FailureKind::Usage, message, help));
        let mut line = Vec::new();
        // A client says one request alone, so nothing is lost with the buffer.
        let mut limited = BufReader::new(stream).take(REQUEST_MAX as u64);
        match timeout(self.patience.read, limited.read_until(b'\n', &mut line)).await {
            Err(_) => return usage("the request took too long".into(), "send one line at once"),
            Ok(Err(error)) => return usage(format!("the request broke off: {error}"), "send it again"),
            Ok(Ok(_)) => {}
        }
        if line.last() != Some(&b'\n') {
            let message =
                if line.len() == REQUEST_MAX { "the request is too long" } else { "the request broke off" };
            return usage(message.into(), "send one line of JSON of at most 64 KiB, and a newline");
        }
        let (mut request, caller) = parse(&line).or_else(|error| {
            usage(format!("the request is not understood: {error}"), "is the client of the same version?")
        })?;
        if let Request::Many { count, prefixes, .. } = &mut request {
            if *count > MANY_MAX {
                return usage(format!("{count} prefixes are too many"), "say at most a million at once");
            }
            limited.set_limit(u64::from(*count) * PREFIX_MAX);
            *prefixes = self.prefixes(&mut limited, *count).await?;
        }
        Ok((request, caller))
    }

    /// The lines behind a request for many prefixes.
    async fn prefixes(
        &self,
        lines: &mut (impl AsyncBufReadExt + Unpin),
        count: u32,
    ) -> Result<Vec<Prefix>, Failure> {
        let usage = |message: String| Err(failure(FailureKind::Usage, message, "nothing was changed"));
        let mut prefixes = Vec::new();
        let mut line = String::new();
        while prefixes.len() < count as usize {
            let before = prefixes.len();
            // All that is at hand is read under one deadline.
            let chunk = async {
                for _ in 0..LINES_AT_ONCE {
                    line.clear();
                    if prefixes.len() == count as usize || lines.read_line(&mut line).await? == 0 {
                        break;
                    }
                    prefixes.push(line.trim().parse::<Prefix>().map_err(std::io::Error::other)?);
                }
                std::io::Result::Ok(())
            };
            match timeout(self.patience.read, chunk).await {
                Err(_) => return usage("the prefixes took too long".into()),
                Ok(Err(error)) => return usage(format!("prefix {}: {error}", prefixes.len() + 1)),
                Ok(Ok(())) if prefixes.len() == before => {
                    return usage(format!("{before} prefixes came of {count}"));
                }
                Ok(Ok(())) => {}
            }
        }
        Ok(prefixes)
    }

    async fn ask(&self, request: Request, user: User, caller: Caller) -> Reply {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.calls.send(Call { request, user, caller, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(self.patience.answer, asked).await {
            Ok(Some(reply)) => reply,
            Ok(None) => {
                Reply::failed(FailureKind::Failed, "the gateway is ending", "start it, then ask again")
            }
            Err(_) => {
                Reply::failed(FailureKind::Failed, "the gateway does not answer in time", "look at its log")
            }
        }
    }

    async fn write(&self, writer: &mut Writer, lines: &[Line]) -> std::io::Result<()> {
        write(writer, lines, self.patience.write).await
    }
}

/// A request and what its caller says of itself: members of one object.
fn parse(line: &[u8]) -> serde_json::Result<(Request, Caller)> {
    let mut members: serde_json::Map<String, Value> = serde_json::from_slice(line)?;
    let own = ["force", "sessions"].into_iter().filter_map(|name| members.remove_entry(name)).collect();
    let caller: Caller = serde_json::from_value(Value::Object(own))?;
    let sessions = caller.sessions.into_iter().take(SESSIONS_MAX).collect();
    Ok((serde_json::from_value(Value::Object(members))?, Caller { sessions, ..caller }))
}

/// A connection that has become a stream of rows.
pub(super) struct Following {
    rows: mpsc::Receiver<Row>,
    writer: Writer,
    patience: Patience,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

impl Following {
    /// Writes rows until their sender or the client goes away.
    pub(super) async fn run(mut self) -> std::io::Result<()> {
        let mut count = 0;
        loop {
            let row = tokio::select! {
                row = self.rows.recv() => row,
                ready = self.writer.get_ref().readable() => {
                    ready?;
                    match self.writer.get_ref().try_read(&mut [0]) {
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                        // A client that follows has nothing more to say: whatever can be read is its end.
                        _ => return Ok(()),
                    }
                }
            };
            let Some(row) = row else { break };
            count += 1;
            write(&mut self.writer, &[Line::Row(row)], self.patience.write).await?;
        }
        write(&mut self.writer, &[Line::End(count)], self.patience.write).await
    }
}

async fn write(writer: &mut Writer, lines: &[Line], patience: Duration) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    let written = async {
        writer.write_all(&bytes).await?;
        writer.flush().await
    };
    timeout(patience, written).await?
}

fn failure(kind: FailureKind, message: impl Into<String>, help: &str) -> Failure {
    Failure { kind, message: message.into(), help: Some(help.to_owned()) }
}

fn too_many_streams() -> Failure {
    failure(FailureKind::Failed, format!("{STREAMS} clients follow already"), "end one of them")
}
