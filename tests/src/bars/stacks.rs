//! Honest clients of many TLS stacks, over a bad line and a good one: every request succeeds, and the gate drops nothing.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{HONEST, Scale};
use crate::lab::{
    BadLine, Carried, Counters, Gateway, Lab, NGINX_HOST, Namespace, Nginx, SERVER_V4, SERVER_V6, TlsVersion,
    Weather,
};

/// Two of a hundred frames lost, five overtaken by others.
const BAD: Weather = Weather { lost: 20, late: 50 };
/// When a request counts as failed, in seconds.
const TIMEOUT: &str = "30";
/// `tcp_fastopen`: 1 for clients, 2 for servers, 0x400 for all sockets of a server; with cookies.
const FAST_OPEN: &str = "1027";
/// Stacks whose clients every machine of tests has.
const FEW: [&str; 7] = [
    "OpenSSL, curl",
    "OpenSSL, curl, Fast Open",
    "OpenSSL, s_client",
    "Python",
    "Python, records of 1",
    "Python, records of 5",
    "GnuTLS",
];

/// One request.
struct Request<'a> {
    server: SocketAddr,
    version: TlsVersion,
    certificate: &'a str,
    /// A file with the HTTP request.
    file: &'a Path,
}

/// A client of a TLS stack.
struct Stack {
    name: &'static str,
    /// The Debian package with the program.
    package: &'static str,
    command: fn(&Request<'_>) -> Result<Command>,
    /// What its output holds when all went well.
    answer: &'static str,
}

/// What requests came to.
#[derive(Default)]
struct Outcome {
    times: Vec<Duration>,
    failed: Vec<String>,
}

impl Outcome {
    fn median(&mut self) -> Duration {
        self.times.sort_unstable();
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }
}

/// All stacks over a bad line, without the gateway and with it.
///
/// # Errors
/// Where a request fails or a client is missing, the gate drops a packet, or the lab fails.
pub fn stacks(scale: &Scale) -> Result<()> {
    let all: Vec<Stack> = all();
    compare(&all, BAD, scale.requests_of_stacks)
}

/// A few stacks over a good line.
///
/// # Errors
/// As for [`stacks`].
pub fn few_stacks(scale: &Scale) -> Result<()> {
    let few: Vec<Stack> = all().into_iter().filter(|stack| FEW.contains(&stack.name)).collect();
    compare(&few, Weather::default(), scale.requests_of_stacks)
}

fn compare(stacks: &[Stack], weather: Weather, requests: u32) -> Result<()> {
    let lab = Lab::new()?;
    lab.server.sysctl(&[("net/ipv4/tcp_fastopen", FAST_OPEN)])?;
    let nginx = lab.nginx()?;
    let line = BadLine::new(&lab, weather)?;
    let mut without = rounds(&line.away, &nginx, stacks, requests)?;
    let gateway = Gateway::start(&lab, HONEST)?;
    let mut with = rounds(&line.away, &nginx, stacks, requests)?;
    let mut failed = Vec::new();
    let mut totals = [Duration::ZERO; 2];
    for (without, with) in without.iter_mut().zip(&mut with) {
        let ((name, before), (_, after)) = (without, with);
        println!(
            "stacks: {name:36} {:2} of {requests} and {:2} of {requests}; median {:7.1} ms without, {:7.1} ms with",
            before.times.len(),
            after.times.len(),
            before.median().as_secs_f64() * 1e3,
            after.median().as_secs_f64() * 1e3,
        );
        totals[0] += before.times.iter().sum::<Duration>();
        totals[1] += after.times.iter().sum::<Duration>();
        failed.extend(before.failed.iter().chain(&after.failed).map(|error| format!("{name}: {error}")));
    }
    println!("stacks: all requests took {:.1?} without and {:.1?} with the gateway", totals[0], totals[1]);
    let Carried { frames, lost, late } = line.carried();
    println!("stacks: the line carried {frames} frames, lost {lost}, let others overtake {late}");
    let fast = Counters::read(&lab.server)?.get("TcpExtTCPFastOpenPassive");
    println!("stacks: {fast} connections began with data in the SYN");
    ensure!(fast > 0, "no connection was opened fast");
    let metrics = gateway.metrics()?;
    let [dropped, early] = ["", "hello_gap"].map(|reason| metrics.packets(lab.client_side(), "drop", reason));
    ensure!(failed.is_empty(), "{} requests failed: {}", failed.len(), failed.join("; "));
    // What another segment overtook within a prefix in several segments is sent again.
    println!("stacks: {early} segments came too early");
    ensure!(dropped == early, "the gateway dropped {dropped} packets of honest clients");
    ensure!(weather.late != 0 || early == 0, "{early} packets came too early on a good line");
    Ok(())
}

/// So many requests by each stack in each version of TLS, over IPv4 and IPv6 in turns.
fn rounds(
    away: &Namespace,
    nginx: &Nginx,
    stacks: &[Stack],
    requests: u32,
) -> Result<Vec<(String, Outcome)>> {
    let certificate = nginx.certificate();
    let file = certificate.with_file_name("request");
    fs::write(&file, format!("GET / HTTP/1.1\r\nHost: {NGINX_HOST}\r\nConnection: close\r\n\r\n"))?;
    let certificate = certificate.to_str().context("the certificate's path is no UTF-8")?;
    let mut outcomes = Vec::new();
    for stack in stacks {
        for version in [TlsVersion::V12, TlsVersion::V13] {
            let mut outcome = Outcome::default();
            for number in 0..requests {
                let ip: IpAddr = if number % 2 == 0 { SERVER_V4.into() } else { SERVER_V6.into() };
                let request = Request { server: SocketAddr::new(ip, 443), version, certificate, file: &file };
                stack.request(away, &request, &mut outcome)?;
            }
            outcomes.push((format!("{} {version:?}", stack.name), outcome));
        }
    }
    Ok(outcomes)
}

impl Stack {
    fn request(&self, away: &Namespace, request: &Request<'_>, outcome: &mut Outcome) -> Result<()> {
        let command = (self.command)(request)?;
        let mut limited = Command::new("timeout");
        limited.arg(TIMEOUT).arg(command.get_program()).args(command.get_args());
        limited.stdin(fs::File::open(request.file)?);
        let start = Instant::now();
        let ended = away.enter(|| limited.output())?.context("cannot start `timeout`")?;
        let text = String::from_utf8_lossy(&ended.stdout);
        if ended.status.code() == Some(127) {
            bail!("{}: no program; install the Debian package {}", self.name, self.package);
        }
        if text.contains(self.answer) {
            outcome.times.push(start.elapsed());
        } else {
            let complaint = String::from_utf8_lossy(&ended.stderr);
            outcome.failed.push(format!("{}, {}: {}", request.server, ended.status, complaint.trim()));
        }
        Ok(())
    }
}

/// What nginx says.
const OK: &str = "200 OK";

fn all() -> Vec<Stack> {
    let stack = |name, package, command, answer| Stack { name, package, command, answer };
    vec![
        stack("OpenSSL, curl", "curl", |request| Ok(curl(request, false)), OK),
        stack("OpenSSL, curl, Fast Open", "curl", |request| Ok(curl(request, true)), OK),
        stack("OpenSSL, s_client", "openssl", |request| Ok(s_client(request)), OK),
        stack("GnuTLS", "gnutls-bin", |request| Ok(gnutls(request, false)), GNUTLS_DONE),
        stack("GnuTLS, Fast Open", "gnutls-bin", |request| Ok(gnutls(request, true)), GNUTLS_DONE),
        stack("NSS", "libnss3-tools", |request| Ok(nss(request)), OK),
        stack("Python", "python3", |request| Ok(python(request)), OK),
        stack("Python, records of 1", "python3", |request| Ok(python_in_records(request, "1")), OK),
        stack("Python, records of 2", "python3", |request| Ok(python_in_records(request, "2")), OK),
        stack("Python, records of 3", "python3", |request| Ok(python_in_records(request, "3")), OK),
        stack("Python, records of 5", "python3", |request| Ok(python_in_records(request, "5")), OK),
        stack("Python, records of 6", "python3", |request| Ok(python_in_records(request, "6")), OK),
        stack("Python, records of 50", "python3", |request| Ok(python_in_records(request, "50")), OK),
        stack("Node", "nodejs", |request| Ok(node(request)), OK),
        stack("Java", "default-jre-headless", |request| Ok(java(request)), "Certificate #0"),
        stack("rustls, post-quantum", "rustup", |request| rustls(request, true), OK),
        stack("rustls", "rustup", |request| rustls(request, false), OK),
    ]
}

/// gnutls-cli need not wait for an answer when its input ends.
const GNUTLS_DONE: &str = "Handshake was completed";

impl Request<'_> {
    /// The version as most programs have it: `1.2`.
    const fn minor(&self) -> &'static str {
        match self.version {
            TlsVersion::V12 => "1.2",
            TlsVersion::V13 => "1.3",
        }
    }
}

fn curl(request: &Request<'_>, fast_open: bool) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--http1.1", "--cacert", request.certificate]);
    let ip = request.server.ip();
    let address = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    command.args(["--resolve", &format!("{NGINX_HOST}:443:{address}")]);
    command.args([&format!("--tlsv{}", request.minor()), "--tls-max", request.minor()]);
    if fast_open {
        command.arg("--tcp-fastopen");
    }
    command.arg(format!("https://{NGINX_HOST}/"));
    command
}

fn s_client(request: &Request<'_>) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-servername", NGINX_HOST]);
    command.args(["-connect", &request.server.to_string(), "-CAfile", request.certificate]);
    command.arg(format!("-tls{}", request.minor().replace('.', "_")));
    command
}

fn gnutls(request: &Request<'_>, fast_open: bool) -> Command {
    let mut command = Command::new("gnutls-cli");
    command.args(["--x509cafile", request.certificate, "--verify-hostname", NGINX_HOST]);
    command.args(["--sni-hostname", NGINX_HOST, "--port", "443"]);
    command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{}", request.minor())]);
    if fast_open {
        command.arg("--fastopen");
    }
    command.arg(request.server.ip().to_string());
    command
}

fn nss(request: &Request<'_>) -> Command {
    let mut command = Command::new("tstclnt");
    let version = format!("tls{0}:tls{0}", request.minor());
    // Without a database of certificates it knows none, so it is told to trust this one.
    command.args(["-D", "-o", "-p", "443", "-a", NGINX_HOST, "-V", &version]);
    command.args(["-h", &request.server.ip().to_string(), "-A"]).arg(request.file);
    command
}

const PYTHON: &str = r"
import socket, ssl, sys
address, name, certificate, version = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
plain = socket.create_connection((address, 443))
with context.wrap_socket(plain, server_hostname=name) as stream:
    stream.sendall(sys.stdin.buffer.read())
    while data := stream.recv(4096):
        print(data.decode())
";

fn python(request: &Request<'_>) -> Command {
    let mut command = Command::new("python3");
    let version = format!("TLSv{}", request.minor().replace('.', "_"));
    command.args(["-c", PYTHON, &request.server.ip().to_string(), NGINX_HOST, request.certificate, &version]);
    command
}

/// Cuts the hello into records, as tools do that hide a server's name from the line: the first few in segments of their own.
const PYTHON_IN_RECORDS: &str = r"
import socket, ssl, sys
address, name, certificate, version, size = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
plain = socket.create_connection((address, 443))
plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
stream = context.wrap_bio(received, to_send, server_hostname=name)

def step(action):
    while True:
        try:
            done = action()
        except ssl.SSLWantReadError:
            done = None
        if to_send.pending:
            plain.sendall(to_send.read())
        if done is not None:
            return done
        data = plain.recv(16384)
        received.write(data) if data else received.write_eof()

try:
    stream.do_handshake()
except ssl.SSLWantReadError:
    hello = to_send.read()
head, message, size = hello[:3], hello[5:], int(size)
records = [message[at:at + size] for at in range(0, len(message), size)]
records = [head + len(record).to_bytes(2, 'big') + record for record in records]
for record in records[:4]:
    plain.sendall(record)
plain.sendall(b''.join(records[4:]))
step(lambda: stream.do_handshake() or True)
step(lambda: stream.write(sys.stdin.buffer.read()))
print(step(lambda: stream.read(4096)).decode())
";

fn python_in_records(request: &Request<'_>, size: &str) -> Command {
    let mut command = Command::new("python3");
    let version = format!("TLSv{}", request.minor().replace('.', "_"));
    command.args(["-c", PYTHON_IN_RECORDS, &request.server.ip().to_string(), NGINX_HOST]);
    command.args([request.certificate, &version, size]);
    command
}

const NODE: &str = r"
const [host, servername, certificate, version] = process.argv.slice(1);
const ca = require('fs').readFileSync(certificate);
const options = { host, servername, ca, headers: { host: servername }, minVersion: version, maxVersion: version };
require('https').get(options, answer => {
    console.log(answer.statusCode, answer.statusMessage);
    answer.resume();
});
";

fn node(request: &Request<'_>) -> Command {
    let mut command = Command::new("node");
    command.args(["-e", NODE, &request.server.ip().to_string(), NGINX_HOST, request.certificate]);
    command.arg(format!("TLSv{}", request.minor()));
    command
}

/// The one TLS client that comes with a JRE; it shakes hands and shows the server's certificate.
fn java(request: &Request<'_>) -> Command {
    let mut command = Command::new("keytool");
    command.args(["-printcert", "-sslserver", &request.server.to_string()]);
    command.arg(format!("-J-Djdk.tls.client.protocols=TLSv{}", request.minor()));
    command
}

fn rustls(request: &Request<'_>, post_quantum: bool) -> Result<Command> {
    let mut command = Command::new(rustls_client()?);
    command.args([&request.server.to_string(), NGINX_HOST, request.certificate, request.minor()]);
    command.args((!post_quantum).then_some("plain"));
    Ok(command)
}

/// The project's own client; built where it is missing.
fn rustls_client() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("../target/clients");
    let program = target.join("release/rustls-client");
    if !program.is_file() {
        let mut command = Command::new("cargo");
        command.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
        command.arg(root.join("clients/rustls/Cargo.toml")).arg("--target-dir").arg(&target);
        ensure!(
            command.status().context("cannot start `cargo`")?.success(),
            "cannot build the rustls client"
        );
    }
    Ok(program)
}
