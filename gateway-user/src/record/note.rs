//! Signed notes: text with an Ed25519 signature, after C2SP signed-note v1.0.0 (<https://c2sp.org/signed-note>).
//!
//! Keys are written as the Go implementation writes them (`golang.org/x/mod/sumdb/note`), so that its tools take them. The crate
//! `signed_note` has all of this, on ed25519-dalek 2, sha2 0.10, rand_core 0.6 and thiserror 1: a second copy of each for a page of code.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// The signature type byte of Ed25519 (signed-note, "Signature types").
const ED25519: u8 = 1;
/// How a signature line begins: an em dash and a space.
const DASH: &str = "— ";
/// How the text of a signing key begins.
const PRIVATE: &str = "PRIVATE+KEY+";
/// The longest note that is looked at, in bytes: a text of ours and the sixteen signatures that a verifier has to take.
const LONGEST: usize = 128 << 10;

/// Why a note or a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no signed note.
    #[error("it is no signed note")]
    Malformed,
    /// No signature in it is by one of the known keys.
    #[error("it is signed by another key")]
    Unknown,
    /// A signature in it says that it is by a known key, and is not.
    #[error("its signature is forged")]
    Forged,
    /// It is no key.
    #[error("it is no key of the form NAME+ID+BASE64, for Ed25519")]
    Key,
    /// A name that a key cannot have.
    #[error("a key's name is not empty, and has no spaces, plus signs or control characters")]
    Name,
}

/// A key that signs, and its name.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Signer").field(&self.name).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with a name, and the seed of RFC 8032, section 5.1.5.
    ///
    /// # Errors
    /// Where no key can have that name.
    pub fn new(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        let is_bad = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '+';
        if name.is_empty() || name.contains(is_bad) {
            return Err(NoteError::Name);
        }
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// Where it is no such key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, seed) = parts(text.strip_prefix(PRIVATE).ok_or(NoteError::Key)?)?;
        let signer = Self::new(name, seed)?;
        if signer.verifier().id == id { Ok(signer) } else { Err(NoteError::Key) }
    }

    /// The key as one line: `PRIVATE+KEY+NAME+ID+BASE64`.
    pub fn to_text(&self) -> String {
        let id = hex(self.verifier().id);
        format!("{PRIVATE}{}+{id}+{}", self.name, tagged(&self.key.to_bytes()))
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What verifies its signatures.
    pub fn verifier(&self) -> Verifier {
        let key = self.key.verifying_key();
        Verifier { name: self.name.clone(), id: key_id(&self.name, &key), key }
    }

    /// A note of a text that ends in a newline.
    pub fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier().id.to_vec();
        signature.extend(self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{DASH}{} {}\n", self.name, STANDARD.encode(signature))
    }
}

/// A key that verifies, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a verifier key: `NAME+ID+BASE64`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (name, id, key) = parts(vkey)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Key)?;
        if name.is_empty() || key_id(name, &key) != id {
            return Err(NoteError::Key);
        }
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The key as one line: `NAME+ID+BASE64`, called vkey.
    pub fn to_text(&self) -> String {
        format!("{}+{}+{}", self.name, hex(self.id), tagged(self.key.as_bytes()))
    }
}

/// The text of a note that one of the verifiers stands for.
///
/// # Errors
/// Where none does.
pub fn open<'a>(note: &'a str, verifiers: &[Verifier]) -> Result<&'a str, NoteError> {
    let is_control = |letter: char| letter < ' ' && letter != '\n';
    if note.len() > LONGEST || note.contains(is_control) {
        return Err(NoteError::Malformed);
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
    let text = &note[..=text.len()];
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let mut is_verified = false;
    for line in signatures.split('\n') {
        let (name, signature) =
            line.strip_prefix(DASH).and_then(|line| line.split_once(' ')).ok_or(NoteError::Malformed)?;
        let signature = STANDARD.decode(signature).map_err(|_| NoteError::Malformed)?;
        let (id, signature) = signature.split_first_chunk().ok_or(NoteError::Malformed)?;
        for verifier in verifiers.iter().filter(|verifier| verifier.name == name && verifier.id == *id) {
            let signature = Signature::from_slice(signature).map_err(|_| NoteError::Forged)?;
            verifier.key.verify_strict(text.as_bytes(), &signature).map_err(|_| NoteError::Forged)?;
            is_verified = true;
        }
    }
    if is_verified { Ok(text) } else { Err(NoteError::Unknown) }
}

/// Name, id and key of `NAME+ID+BASE64`.
fn parts(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key);
    };
    let id = match (id.len(), u32::from_str_radix(id, 16)) {
        (8, Ok(id)) => id.to_be_bytes(),
        _ => return Err(NoteError::Key),
    };
    match STANDARD.decode(key).map_err(|_| NoteError::Key)?.split_first() {
        Some((&ED25519, key)) => Ok((name, id, key.try_into().map_err(|_| NoteError::Key)?)),
        _ => Err(NoteError::Key),
    }
}

fn tagged(key: &[u8; 32]) -> String {
    STANDARD.encode([&[ED25519], &key[..]].concat())
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// SHA-256(name || 0x0A || 0x01 || public key), its first four bytes (signed-note, "Ed25519 signatures").
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of golang.org/x/mod/sumdb/note.
    const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    const GO_SIGNATURE: &str = "\n— PeterNeumann \
        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    /// The example of C2SP signed-note, "Verifier keys".
    const C2SP_VERIFIER: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const C2SP_NOTE: &str = "This is an example message.\n\n— example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    #[test]
    fn notes_are_those_of_the_go_implementation() {
        let signer = Signer::parse(GO_SIGNER).unwrap();
        assert_eq!((signer.to_text(), signer.verifier().to_text()), (GO_SIGNER.into(), GO_VERIFIER.into()));
        assert_eq!(signer.sign(GO_TEXT), format!("{GO_TEXT}{GO_SIGNATURE}"));
        let verifier = Verifier::parse(GO_VERIFIER).unwrap();
        assert_eq!(open(&format!("{GO_TEXT}{GO_SIGNATURE}"), &[verifier]).unwrap(), GO_TEXT);
    }

    #[test]
    fn the_example_of_the_specification_verifies() {
        let verifier = Verifier::parse(C2SP_VERIFIER).unwrap();
        assert_eq!(open(C2SP_NOTE, &[verifier]).unwrap(), "This is an example message.\n");
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // Section 7.1, TEST 1: the empty message, which no note can be.
        let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let signer = Signer::new("test", seed).unwrap();
        let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(signer.verifier().key.to_bytes(), public);
        let signature = bytes::<64>(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        );
        assert_eq!(signer.key.sign(b"").to_bytes(), signature);
    }

    #[test]
    fn what_is_not_signed_is_not_taken() {
        let ours = Signer::new("gateway.example/record", [7; 32]).unwrap();
        let verifier = [ours.verifier()];
        let note = ours.sign("one\n\ntwo\n");
        assert_eq!(open(&note, &verifier), Ok("one\n\ntwo\n"));
        let other = Signer::new("gateway.example/record", [8; 32]).unwrap();
        assert_eq!(open(&other.sign("one\n"), &verifier), Err(NoteError::Unknown));
        assert_eq!(open(&note.replace("two", "too"), &verifier), Err(NoteError::Forged));
        // A signature of somebody else's beside ours, as a witness adds one.
        let both = format!("{note}{}", other.sign("").strip_prefix('\n').unwrap());
        assert_eq!(open(&both, &verifier), Ok("one\n\ntwo\n"));
        for malformed in
            ["", "one\n", "one\n\n", "one\n\n— a b\n", "one\n\n— a !\n", "one\r\n\n— a AAAAAAAA\n"]
        {
            assert_eq!(open(malformed, &verifier), Err(NoteError::Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b"] {
            assert_eq!(Signer::new(name, [0; 32]).unwrap_err(), NoteError::Name);
        }
        let vkey = Signer::new("a", [7; 32]).unwrap().verifier().to_text();
        let wrong =
            [vkey.replace('a', "b"), vkey[..20].to_owned(), String::new(), vkey.replacen('+', "+0", 1)];
        for vkey in &wrong {
            assert_eq!(Verifier::parse(vkey), Err(NoteError::Key), "{vkey}");
        }
    }
}
