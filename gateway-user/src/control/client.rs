//! The command line's end of the control socket: blocking, with a deadline on every step.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::call::Caller;
use super::protocol::{Done, Failure, Line, Request, Row};
use super::{LINE_MAX, REQUEST_MAX};

/// How long to wait for the daemon's answer: longer than it gives itself.
const ANSWER: Duration = Duration::from_secs(70);
const WRITE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no gateway is running on {0}")]
    NotRunning(PathBuf),
    /// The file system does not let us.
    #[error("{0} may not be used by this user")]
    Permission(PathBuf),
    /// The daemon says no.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// It does not answer.
    #[error("the gateway did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// It answers something else.
    #[error("the gateway's answer is not understood: {0}")]
    Answer(String),
    /// The request does not fit.
    #[error("the request is longer than 64 KiB")]
    TooLong,
    /// The connection failed.
    #[error("talking to the gateway failed: {0}")]
    Io(#[source] io::Error),
}

/// Speaks to the daemon behind one socket; each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    caller: Caller,
}

impl Client {
    /// A client for the socket at `path`. Connects with the first request.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), caller: Caller::default() }
    }

    /// The same client, which says this of itself.
    #[must_use]
    pub fn of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for one document.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn document(&self, request: &Request) -> Result<Done, ClientError> {
        match self.lines(request, ANSWER)?.next_line()? {
            Line::Done(done) => Ok(done),
            _ => Err(ClientError::Answer("a list where one document was due".into())),
        }
    }

    /// Asks for a list and gives each row to `each` as it comes.
    ///
    /// # Errors
    /// See [`ClientError`]; also when the list breaks off.
    pub fn rows(&self, request: &Request, mut each: impl FnMut(Row)) -> Result<(), ClientError> {
        let mut lines = self.lines(request, ANSWER)?;
        let mut count = 0u64;
        loop {
            match lines.next_line()? {
                Line::Row(row) => {
                    count += 1;
                    each(row);
                }
                Line::End(end) if end == count => return Ok(()),
                Line::End(end) => return Err(ClientError::Answer(format!("{count} rows of {end}"))),
                _ => return Err(ClientError::Answer("one document where a list was due".into())),
            }
        }
    }

    /// Asks for a list that goes on, and gives each row to `each` as it comes, until that breaks off.
    ///
    /// # Errors
    /// See [`ClientError`]; also when the daemon ends the list: it ends itself, or the rows came faster than they were taken.
    pub fn follow(
        &self,
        request: &Request,
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut lines = self.lines(request, ANSWER)?;
        lines.0.get_ref().set_read_timeout(None).map_err(ClientError::Io)?;
        loop {
            match lines.next_line()? {
                Line::Row(row) => {
                    if each(row).is_break() {
                        return Ok(());
                    }
                }
                Line::End(_) => return Err(ClientError::Answer("the gateway ended it".into())),
                Line::Done(_) | Line::Failed(_) => {
                    return Err(ClientError::Answer("one document where a list was due".into()));
                }
            }
        }
    }

    /// Waits until nobody listens any more; whether that came in time.
    pub fn wait_gone(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if matches!(self.connect(), Err(ClientError::NotRunning(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.path.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::Permission(self.path.clone()),
            _ => ClientError::Io(error),
        })
    }

    fn lines(&self, request: &Request, patience: Duration) -> Result<Lines, ClientError> {
        let asked = Asked { request, caller: &self.caller };
        let mut bytes = serde_json::to_vec(&asked).map_err(|error| ClientError::Io(error.into()))?;
        bytes.push(b'\n');
        if bytes.len() > REQUEST_MAX {
            return Err(ClientError::TooLong);
        }
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(patience)).map_err(ClientError::Io)?;
        stream.set_write_timeout(Some(WRITE)).map_err(ClientError::Io)?;
        if let Request::Many { prefixes, .. } = request {
            bytes.extend(prefixes.iter().flat_map(|prefix| format!("{prefix}\n").into_bytes()));
        }
        match stream.write_all(&bytes) {
            // It has answered without reading: the answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.map_err(timed)?,
        }
        Ok(Lines(BufReader::new(stream)))
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    request: &'a Request,
    #[serde(flatten)]
    caller: &'a Caller,
}

struct Lines(BufReader<UnixStream>);

impl Lines {
    fn next_line(&mut self) -> Result<Line, ClientError> {
        let mut line = Vec::new();
        self.0.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(timed)?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::Answer("it breaks off".into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Failed(failure)) => Err(ClientError::Failed(failure)),
            Ok(line) => Ok(line),
            Err(error) => Err(ClientError::Answer(error.to_string())),
        }
    }
}

fn timed(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout,
        _ => ClientError::Io(error),
    }
}
