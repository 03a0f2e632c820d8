//! One HTTPS request by rustls: `rustls-client ADDRESS:PORT NAME CERTIFICATE 1.2|1.3 [plain]`. With `plain` it offers no
//! post-quantum key share. Prints the answer.

use std::env;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group::X25519MLKEM768};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, name, certificate, version, rest @ ..] = &arguments[..] else {
        bail!("wants: ADDRESS:PORT NAME CERTIFICATE 1.2|1.3 [plain]");
    };
    let mut provider = default_provider();
    if rest.iter().any(|word| word == "plain") {
        provider.kx_groups.retain(|group| group.name() != X25519MLKEM768.name());
    }
    let version = if version == "1.2" { &TLS12 } else { &TLS13 };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).context("no certificate")?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(name.clone())?)?;
    let mut tcp = TcpStream::connect(address.parse::<SocketAddr>().context("no address")?)?;
    let mut stream = Stream::new(&mut tls, &mut tcp);
    write!(stream, "GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    io::stdout().write_all(&answer)?;
    Ok(())
}
