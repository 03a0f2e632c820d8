//! A client that speaks HTTP without TLS where TLS belongs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use gateway_tests::lab::{Namespace, SERVER_V4};

/// What it says.
pub(crate) const REQUEST: &[u8] =
    b"POST /login HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 24\r\n\r\nuser=me&password=secret!";
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Requests at once.
const ABREAST: usize = 10;

/// Sends so many requests over a connection each; says how many were answered.
pub(crate) fn send(namespace: &Namespace, port: u16, count: usize) -> Result<usize> {
    let mut answered = 0;
    for first in (0..count).step_by(ABREAST) {
        answered += namespace.enter(|| abreast(port, ABREAST.min(count - first)))?;
    }
    Ok(answered)
}

/// Some at once; their threads are in the namespace that this one is in.
fn abreast(port: u16, count: usize) -> usize {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(move || is_answered(port))).collect();
        clients.into_iter().filter_map(|client| client.join().ok()).filter(|answered| *answered).count()
    })
}

fn is_answered(port: u16) -> bool {
    let address = SocketAddr::new(SERVER_V4.into(), port);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut answer = [0; 16];
    stream.write_all(REQUEST).is_ok() && stream.read(&mut answer).is_ok_and(|length| length > 0)
}
