//! A real server.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::namespace::{Namespace, output, scratch};
use super::newer::Newer;
use super::process::Process;
use super::{SERVER_V4, SERVER_V6};

/// The name in the certificate.
pub const HOST: &str = "gateway.test";
/// Bytes of the file `/large`, all of them zero.
pub(super) const LARGE: u64 = 256 << 20;
/// How long it may take until it answers, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// nginx with TLS 1.2 and 1.3 on port 443 and plain HTTP on port 8080; it ends with the handle, and its files go.
pub struct Nginx {
    /// nginx itself; before the directory, so that it ends before its files go.
    process: Process,
    directory: TempDir,
}

impl Nginx {
    pub(crate) fn start(namespace: &Namespace) -> Result<Self> {
        Self::start_as(namespace, Command::new("nginx"), "")
    }

    /// The same of a release that speaks HTTP/3, which it does on UDP port 443; its answers say the protocol.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_http3(namespace: &Namespace, newer: &Newer) -> Result<Self> {
        let more = "listen 0.0.0.0:443 quic reuseport;\nlisten [::]:443 quic reuseport ipv6only=on;\n\
                    location = / { return 200 \"$server_protocol\\n\"; }\n";
        Self::start_as(namespace, newer.command("usr/sbin/nginx"), more)
    }

    /// The system's nginx, with TLS on another port as well.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_twice(namespace: &Namespace, port: u16) -> Result<Self> {
        let more = format!("listen 0.0.0.0:{port} ssl;\nlisten [::]:{port} ssl ipv6only=on;\n");
        Self::start_as(namespace, Command::new("nginx"), &more)
    }

    /// Starts it with `more` in the server's section of its configuration.
    fn start_as(namespace: &Namespace, mut command: Command, more: &str) -> Result<Self> {
        let directory = scratch()?;
        let path = directory.path();
        certificate(path)?;
        File::create(path.join("large"))?.set_len(LARGE)?;
        fs::write(path.join("nginx.conf"), configuration(path, more)?)?;
        command.arg("-p").arg(path).arg("-e").arg(path.join("error.log"));
        command.arg("-c").arg(path.join("nginx.conf"));
        let process =
            namespace.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut nginx = Self { process, directory };
        nginx.wait_until_ready(namespace)?;
        Ok(nginx)
    }

    /// The certificate that it shows, and that clients trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// The hash of its public key, as browsers take it (RFC 7469 section 2.4).
    ///
    /// # Errors
    /// Where openssl does not tell it.
    pub fn key_hash(&self) -> Result<String> {
        let script = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform der \
                      | openssl dgst -sha256 -binary | openssl base64";
        let mut command = Command::new("sh");
        Ok(output(command.args(["-c", script]).arg(self.certificate()))?.trim().to_owned())
    }

    /// What it logged as errors.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn errors(&self) -> Result<String> {
        fs::read_to_string(self.directory.path().join("error.log")).context("cannot read nginx's log")
    }

    fn wait_until_ready(&mut self, namespace: &Namespace) -> Result<()> {
        let start = Instant::now();
        let addresses = [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)];
        let answers = |address: &IpAddr| {
            TcpStream::connect_timeout(&SocketAddr::new(*address, 443), Duration::from_secs(1)).is_ok()
        };
        while !namespace.enter(|| addresses.iter().all(answers))? {
            if self.process.child.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                bail!("nginx does not answer: {}", self.errors().unwrap_or_default().trim());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A certificate for two days that vouches for itself.
fn certificate(directory: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "2", "-subj", &format!("/CN={HOST}")]);
    command.args(["-addext", &format!("subjectAltName=DNS:{HOST}")]);
    // Some clients take no authority for a server.
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(directory.join("key.pem"));
    command.arg("-out").arg(directory.join("certificate.pem"));
    output(&mut command).map(drop).context("cannot make a certificate")
}

fn configuration(directory: &Path, more: &str) -> Result<String> {
    let directory = directory.to_str().context("the directory for temporary files has no UTF-8 name")?;
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 2;\nworker_rlimit_nofile 8192;\npid {directory}/nginx.pid;\n\
         error_log {directory}/error.log warn;\nevents {{ worker_connections 4000; }}\nhttp {{\n\
         access_log off;\ndefault_type text/plain;\nserver_tokens off;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "{kind}_temp_path {directory}/{kind};")?;
    }
    write!(
        text,
        "server {{\nlisten 0.0.0.0:443 ssl backlog=4096;\nlisten [::]:443 ssl ipv6only=on backlog=4096;\n\
         listen 0.0.0.0:8080;\nlisten [::]:8080 ipv6only=on;\nserver_name {HOST};\n{more}\
         ssl_certificate {directory}/certificate.pem;\nssl_certificate_key {directory}/key.pem;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nlocation / {{ return 200 \"ok\\n\"; }}\n\
         location = /large {{ alias {directory}/large; }}\n}}\n}}\n"
    )?;
    Ok(text)
}
