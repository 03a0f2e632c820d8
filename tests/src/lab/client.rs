//! Honest requests by a real client.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::SERVER_V4;
use super::namespace::Namespace;
use super::nginx::{HOST, Nginx};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Requests one after another by one curl, each over a new connection with a whole handshake.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where to.
    pub server: SocketAddr,
    /// The certificate to trust.
    pub certificate: PathBuf,
    /// The version to speak; nothing: the client's choice.
    pub version: Option<TlsVersion>,
    /// Requests a second; nothing: each as soon as the one before has ended.
    pub rate: Option<u32>,
    /// When a request counts as failed.
    pub timeout: Duration,
    /// The address to come from; nothing: the system's choice.
    pub source: Option<IpAddr>,
}

/// How requests went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Requests that were answered with 200 over a connection of their own.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Time for connection, handshake and answer of those that went well, ascending.
    pub latencies: Vec<Duration>,
    /// What curl said of the first that failed.
    pub error: Option<String>,
}

impl Outcome {
    /// The latency that a share of the requests did not exceed: 0.5 is the median.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((last as f64 * share.clamp(0.0, 1.0)).round() as usize).copied()
    }

    /// Takes the requests of another run in.
    pub fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
        self.error = self.error.take().or(other.error);
    }
}

impl Https {
    /// To the lab's nginx over IPv4, without pause, five seconds a request.
    #[must_use]
    pub fn new(nginx: &Nginx) -> Self {
        Self {
            server: SocketAddr::new(SERVER_V4.into(), 443),
            certificate: nginx.certificate(),
            version: None,
            rate: None,
            timeout: Duration::from_secs(5),
            source: None,
        }
    }

    /// Sends `count` requests from a namespace and waits for them.
    ///
    /// # Errors
    /// Where curl cannot be run; a request that fails is an [`Outcome`].
    pub fn run(&self, namespace: &Namespace, count: u32) -> Result<Outcome> {
        ensure!(count > 0, "no requests");
        let mut command = self.command(count);
        let ended = namespace.enter(|| command.output())?.context("cannot start `curl`")?;
        let outcome = parse(&String::from_utf8_lossy(&ended.stdout));
        let answered = outcome.ok + outcome.failed;
        ensure!(
            answered == u64::from(count),
            "curl told of {answered} requests, not of {count}: {}",
            String::from_utf8_lossy(&ended.stderr).trim()
        );
        Ok(outcome)
    }

    fn command(&self, count: u32) -> Command {
        let mut command = Command::new("curl");
        // A range in the URL makes one curl send all requests; nothing is kept or resumed between them.
        command.args(["--silent", "--http1.1", "--header", "Connection: close", "--no-sessionid"]);
        command.args(["--output", "/dev/null", "--write-out", FORMAT]);
        command.arg("--max-time").arg(self.timeout.as_secs_f64().to_string());
        command.arg("--cacert").arg(&self.certificate);
        let (ip, port) = (self.server.ip(), self.server.port());
        let address = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        command.arg("--resolve").arg(format!("{HOST}:{port}:{address}"));
        match self.version {
            Some(TlsVersion::V12) => command.args(["--tlsv1.2", "--tls-max", "1.2"]),
            Some(TlsVersion::V13) => command.arg("--tlsv1.3"),
            None => &mut command,
        };
        if let Some(rate) = self.rate {
            command.arg("--rate").arg(format!("{rate}/s"));
        }
        if let Some(source) = self.source {
            command.arg("--interface").arg(source.to_string());
        }
        command.arg(format!("https://{HOST}:{port}/?[1-{count}]"));
        command.stdin(Stdio::null());
        command
    }
}

/// What curl writes for each request.
const FORMAT: &str = "%{http_code} %{num_connects} %{time_total} %{errormsg}\\n";

fn parse(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (code, connects, time) = (words.next(), words.next(), words.next());
        let seconds = time.and_then(|time| time.parse().ok());
        let latency = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match (code, connects, latency) {
            (Some("200"), Some("1"), Some(latency)) => {
                outcome.ok += 1;
                outcome.latencies.push(latency);
            }
            _ => {
                outcome.failed += 1;
                outcome.error.get_or_insert_with(|| line.to_owned());
            }
        }
    }
    outcome.latencies.sort_unstable();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_curl_writes_becomes_an_outcome() {
        let outcome = parse("200 1 0.002 \n200 1 0.001 \n200 0 0.001 \n000 0 5.0 timed out\n");
        assert_eq!((outcome.ok, outcome.failed), (2, 2));
        assert_eq!(outcome.quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(outcome.quantile(1.0), Some(Duration::from_millis(2)));
        assert_eq!(outcome.error.as_deref(), Some("200 0 0.001 "));
        assert_eq!(Outcome::default().quantile(0.5), None);
    }
}
