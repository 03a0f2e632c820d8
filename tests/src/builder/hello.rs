//! ClientHellos as clients send them: one handshake message (RFC 8446 section 4.1.2) in one TLS record, if it has room there.

/// Bytes that a ClientHello's record starts with, up to the handshake type.
pub const PREFIX: usize = 6;
/// Bytes of a record's header.
const RECORD_HEADER: usize = 5;
/// The longest record (RFC 8446 section 5.1).
const RECORD_MAX: usize = 1 << 14;

/// What a client of today offers: TLS 1.3 and 1.2, a key share, ALPN, a server name.
#[must_use]
pub fn tls13(server: &str) -> Vec<u8> {
    long(server, None)
}

/// The same with so many bytes of padding (RFC 7685) before all other extensions, as tickets and key shares make hellos long.
#[must_use]
pub fn padded(server: &str, padding: u16) -> Vec<u8> {
    long(server, Some(padding))
}

fn long(server: &str, padding: Option<u16>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(padding) = padding {
        extension(&mut extensions, 21, &vec![0; padding.into()]);
    }
    extensions.extend(common(server));
    // supported_versions: 1.3, 1.2.
    extension(&mut extensions, 43, &[4, 3, 4, 3, 3]);
    // psk_key_exchange_modes: with (EC)DHE.
    extension(&mut extensions, 45, &[1, 1]);
    let mut share = vec![0, 36, 0, 29, 0, 32];
    share.extend((0..32).map(|byte| byte * 7 + 3));
    extension(&mut extensions, 51, &share);
    records(&[0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f], 32, &extensions)
}

/// What a client of ten years ago offers: TLS 1.2 at most.
#[must_use]
pub fn tls12(server: &str) -> Vec<u8> {
    records(&[0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9c], 0, &common(server))
}

/// What both offer.
fn common(server: &str) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut name = ((server.len() + 3) as u16).to_be_bytes().to_vec();
    name.push(0);
    name.extend((server.len() as u16).to_be_bytes());
    name.extend(server.as_bytes());
    extension(&mut extensions, 0, &name);
    // supported_groups: x25519, secp256r1, secp384r1.
    extension(&mut extensions, 10, &[0, 6, 0, 29, 0, 23, 0, 24]);
    // ec_point_formats: uncompressed.
    extension(&mut extensions, 11, &[1, 0]);
    // signature_algorithms: ECDSA and RSA-PSS with SHA-256 and SHA-384.
    extension(&mut extensions, 13, &[0, 8, 4, 3, 8, 4, 5, 3, 8, 5]);
    // ALPN: h2, http/1.1.
    extension(&mut extensions, 16, b"\0\x0c\x02h2\x08http/1.1");
    extensions
}

fn extension(to: &mut Vec<u8>, kind: u16, body: &[u8]) {
    to.extend(kind.to_be_bytes());
    to.extend((body.len() as u16).to_be_bytes());
    to.extend(body);
}

/// The same hello, which is in one record, in records of so many bytes.
#[must_use]
pub fn cut(hello: &[u8], size: usize) -> Vec<u8> {
    hello[RECORD_HEADER..].chunks(size).flat_map(record).collect()
}

/// A record with a part of a message.
fn record(part: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], (part.len() as u16).to_be_bytes().as_slice(), part].concat()
}

fn records(suites: &[u8], session: u8, extensions: &[u8]) -> Vec<u8> {
    // legacy_version 1.2, then the random.
    let mut message = vec![3, 3];
    message.extend((0..32).map(|byte: u8| byte.wrapping_mul(37) ^ 0x5a));
    message.push(session);
    message.extend((0..session).map(|byte| byte ^ 0xa5));
    message.extend((suites.len() as u16).to_be_bytes());
    message.extend(suites);
    // legacy_compression_methods: null.
    message.extend([1, 0]);
    message.extend((extensions.len() as u16).to_be_bytes());
    message.extend(extensions);
    let length = (message.len() as u32).to_be_bytes();
    let message = [&[1], &length[1..], message.as_slice()].concat();
    message.chunks(RECORD_MAX).flat_map(record).collect()
}
