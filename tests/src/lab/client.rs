//! Honest requests by a real client.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::SERVER_V4;
use super::namespace::{Namespace, output};
use super::nginx::{HOST, LARGE, Nginx};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Requests one after another by one curl, each over a new connection with a whole handshake if nothing else is said.
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
    /// Whether all requests share the first one's connection.
    pub keep_alive: bool,
}

/// How requests went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Requests that were answered with 200 over a connection of their own, or over the one that they shall share.
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
            keep_alive: false,
        }
    }

    /// Sends `count` requests from a namespace and waits for them.
    ///
    /// # Errors
    /// Where curl cannot be run; a request that fails is an [`Outcome`].
    pub fn run(&self, namespace: &Namespace, count: u32) -> Result<Outcome> {
        ensure!(count > 0, "no requests");
        self.requests(namespace, count, self.rate.map(|rate| format!("{rate}/s")))
    }

    /// Sends `count` requests, so many a second whatever becomes of those before: each of several curls starts one as often
    /// as one can take.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_steadily(&self, namespace: &Namespace, rate: u32, count: u32) -> Result<Outcome> {
        let curls = (self.timeout.as_secs_f64() * f64::from(rate)).ceil() as u32;
        let each = format!("{:.0}/h", f64::from(rate) / f64::from(curls) * 3_600.0);
        thread::scope(|scope| {
            let start = |number: u32| {
                let (each, requests) = (each.clone(), (count - number).div_ceil(curls));
                scope.spawn(move || {
                    thread::sleep(Duration::from_secs(1) * number / rate);
                    self.requests(namespace, requests, Some(each))
                })
            };
            let runs: Vec<_> = (0..curls.min(count)).map(start).collect();
            let mut all = Outcome::default();
            for run in runs {
                all.add(run.join().map_err(|_| anyhow!("the requests panicked"))??);
            }
            Ok(all)
        })
    }

    /// Fetches nginx's large file; bytes a second.
    ///
    /// # Errors
    /// Where it does not come as a whole.
    pub fn download(&self, namespace: &Namespace) -> Result<f64> {
        let mut command = self.command("large", "%{http_code} %{size_download} %{speed_download}");
        let text = namespace.enter(|| output(&mut command))??;
        let speed =
            text.strip_prefix(&format!("200 {LARGE} ")).with_context(|| format!("curl says {text}"))?;
        speed.parse().with_context(|| format!("curl says {text}"))
    }

    fn requests(&self, namespace: &Namespace, count: u32, rate: Option<String>) -> Result<Outcome> {
        // A range in the URL makes one curl send all requests; nothing is resumed between them.
        let mut command = self.command(&format!("?[1-{count}]"), FORMAT);
        if let Some(rate) = rate {
            command.arg("--rate").arg(rate);
        }
        let ended = namespace.enter(|| command.output())?.context("cannot start `curl`")?;
        let outcome = parse(&String::from_utf8_lossy(&ended.stdout), self.keep_alive);
        let answered = outcome.ok + outcome.failed;
        ensure!(
            answered == u64::from(count),
            "curl told of {answered} requests, not of {count}: {}",
            String::from_utf8_lossy(&ended.stderr).trim()
        );
        Ok(outcome)
    }

    /// A curl that fetches this path and writes so of it.
    fn command(&self, path: &str, format: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--http1.1", "--no-sessionid"]);
        if !self.keep_alive {
            command.args(["--header", "Connection: close"]);
        }
        command.args(["--output", "/dev/null", "--write-out", format]);
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
        if let Some(source) = self.source {
            command.arg("--interface").arg(source.to_string());
        }
        command.arg(format!("https://{HOST}:{port}/{path}"));
        command.stdin(Stdio::null());
        command
    }
}

/// What curl writes for each request.
const FORMAT: &str = "%{http_code} %{num_connects} %{time_total} %{errormsg}\\n";

fn parse(text: &str, keep_alive: bool) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, line) in text.lines().enumerate() {
        let expected = if keep_alive && number > 0 { "0" } else { "1" };
        let mut words = line.splitn(4, ' ');
        let (code, connects, time) = (words.next(), words.next(), words.next());
        let seconds = time.and_then(|time| time.parse().ok());
        let latency = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match (code, connects, latency) {
            (Some("200"), Some(connects), Some(latency)) if connects == expected => {
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
        let text = "200 1 0.002 \n200 1 0.001 \n200 0 0.001 \n000 0 5.0 timed out\n";
        let outcome = parse(text, false);
        assert_eq!((outcome.ok, outcome.failed), (2, 2));
        assert_eq!(outcome.quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(outcome.quantile(1.0), Some(Duration::from_millis(2)));
        assert_eq!(outcome.error.as_deref(), Some("200 0 0.001 "));
        let kept = parse(text, true);
        assert_eq!((kept.ok, kept.failed, kept.error.as_deref()), (2, 2, Some("200 1 0.001 ")));
        assert_eq!(Outcome::default().quantile(0.5), None);
    }
}
