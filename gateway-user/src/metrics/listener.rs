//! A TCP listener whose connections are bounded in number, life and in what they may send.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::places::{Place, Places};

/// What a client may send in bytes: a request line and headers, with room to spare.
const SEND_MAX: usize = 16 * 1024;

/// How long a client may take for its request.
const HEADER: Duration = Duration::from_secs(1);
/// What ends a request without a body.
const END: &[u8] = b"\r\n\r\n";

/// The listener.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: TcpListener,
    places: Arc<Places>,
    lifetime: Duration,
}

impl Bounded {
    pub(super) fn new(inner: TcpListener, connections: usize, lifetime: Duration) -> Self {
        Self { inner, places: Places::new(connections), lifetime }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.inner).await;
            // Without a place it is closed.
            if let Some(place) = self.places.enter() {
                let end = Box::pin(tokio::time::sleep(HEADER));
                let lifetime = self.lifetime;
                return (Connection { stream, end, lifetime, received: 0, matched: 0, place }, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that fails once its time is up or its client has sent too much.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    /// The whole life of one whose request is there.
    lifetime: Duration,
    received: usize,
    /// Bytes of [`END`] that came last.
    matched: usize,
    place: Place,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_ready() || self.place.is_lost(context) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Looks for the end of the request in what came.
    fn look(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let is_first = usize::from(*byte == END[0]);
            self.matched = if *byte == END[self.matched] { self.matched + 1 } else { is_first };
            if self.matched == END.len() {
                self.matched = 0;
                self.place.has_asked();
                self.end.as_mut().reset(tokio::time::Instant::now() + self.lifetime);
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received += buffer.filled().len() - before;
        self.look(&buffer.filled()[before..]);
        if self.received > SEND_MAX {
            return Poll::Ready(Err(io::Error::other("the request is too long")));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
