//! A row of the record, and the bytes that its hash is made of.
//!
//! # Canonical bytes, version 1
//! The leaf data of a row is one line of JSON in UTF-8, without the newline: an object with the members that the row has, in this
//! order, and no space between anything:
//!
//! | member | value |
//! |---|---|
//! | `actor` | string: who did it; left out where nobody is named |
//! | `at` | number: Unix time in milliseconds |
//! | `body` | object: all else; left out where there is nothing; its members in the order of the bytes of their names, on all levels |
//! | `id` | number: the row's number, from 0, which is its leaf's index in the tree |
//! | `kind` | string: the name of a [`Kind`] |
//! | `reason` | string; left out where there is none |
//! | `service` | string; left out where there is none |
//! | `source` | string: a prefix as `192.0.2.0/24` or `2001:db8::/32`; left out where there is none |
//! | `v` | number: 1 |
//!
//! In strings `"` and `\` have a backslash before them; U+0008, U+0009, U+000A, U+000C and U+000D are `\b`, `\t`, `\n`, `\f` and
//! `\r`; other characters below U+0020 are `\u` and four lower-case hexadecimal digits; nothing else is escaped. Numbers within `body`
//! stand as they were written into the file. So Python's `json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`
//! gives the same line, but for some numbers with a fraction.

use std::io::Write as _;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};

use super::{
    Kind,
    tree::{self, Hash},
};

/// The longest line of a row, in bytes: what an entry of C2SP tlog-tiles may have.
pub(super) const LONGEST: usize = u16::MAX as usize;
/// The latest time that a row may have: the end of the year 9999, in Unix milliseconds.
pub(super) const LATEST: u64 = 253_402_300_799_999;

/// What is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was: Unix time in milliseconds, up to the year 9999.
    pub at: u64,
    /// What it is about.
    pub kind: Kind,
    /// The rest.
    pub facts: Facts,
}

/// What is known of an event. All but `body` can be searched for by an index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The source, as an address or a network. Bits behind the prefix are cleared.
    pub source: Option<IpNet>,
    /// Why.
    pub reason: Option<String>,
    /// At which service.
    pub service: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// All else. An address in here is kept as it is, whatever [`Sources`] says.
    pub body: Map<String, Value>,
}

/// How exactly sources are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sources {
    /// As they are.
    #[default]
    Full,
    /// As the /24 or /48 that they are in.
    Subnet,
}

impl Sources {
    /// A source as it is kept.
    pub fn kept(self, source: IpNet) -> IpNet {
        let length = match (self, source) {
            (Self::Full, _) => source.prefix_len(),
            (Self::Subnet, IpNet::V4(_)) => source.prefix_len().min(24),
            (Self::Subnet, IpNet::V6(_)) => source.prefix_len().min(48),
        };
        // A length that is no longer than the prefix's own is one of its family's.
        match source {
            IpNet::V4(net) => Ipv4Net::new(net.addr(), length).map(IpNet::V4),
            IpNet::V6(net) => Ipv6Net::new(net.addr(), length).map(IpNet::V6),
        }
        .unwrap_or(source)
        .trunc()
    }
}

/// A row as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 0: the leaf's index in the tree.
    pub id: u64,
    /// When it was: Unix time in milliseconds.
    pub at: u64,
    /// What it is about.
    pub kind: Kind,
    /// The source.
    pub source: Option<IpNet>,
    /// Why.
    pub reason: Option<String>,
    /// At which service.
    pub service: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// All else: a JSON object as it was written, and so as it is in the hash.
    pub body: Option<String>,
}

impl Row {
    /// Its canonical bytes, without a newline.
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        Leaf {
            id: self.id,
            at: self.at,
            kind: self.kind,
            source: self.source,
            reason: self.reason.as_deref(),
            service: self.service.as_deref(),
            actor: self.actor.as_deref(),
            body: self.body.as_deref(),
        }
        .write(&mut line);
        line
    }

    /// All else, parsed; empty where it is no object, which only a stranger can have written.
    pub fn body(&self) -> Map<String, Value> {
        self.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }
}

/// What canonical bytes are made of.
pub(super) struct Leaf<'a> {
    pub id: u64,
    pub at: u64,
    pub kind: Kind,
    pub source: Option<IpNet>,
    pub reason: Option<&'a str>,
    pub service: Option<&'a str>,
    pub actor: Option<&'a str>,
    pub body: Option<&'a str>,
}

impl Leaf<'_> {
    /// Writes the canonical bytes.
    pub(super) fn write(&self, line: &mut Vec<u8>) {
        line.push(b'{');
        member("\"actor\":", self.actor, line);
        line.extend(b"\"at\":");
        number(self.at, line);
        if let Some(body) = self.body {
            line.extend(b",\"body\":");
            line.extend(body.as_bytes());
        }
        line.extend(b",\"id\":");
        number(self.id, line);
        line.extend(b",\"kind\":\"");
        line.extend(self.kind.name().as_bytes());
        line.extend(b"\",");
        member("\"reason\":", self.reason, line);
        member("\"service\":", self.service, line);
        if let Some(source) = self.source {
            // A vector takes all.
            let _ = write!(line, "\"source\":\"{source}\",");
        }
        line.extend(b"\"v\":1}");
    }

    /// The leaf's hash; `line` is room for its bytes.
    pub(super) fn hash(&self, line: &mut Vec<u8>) -> Hash {
        line.clear();
        self.write(line);
        tree::leaf_hash(line)
    }
}

/// The first four bytes of a leaf's hash, kept in its row. They protect nothing: they tell which row of 256 is the changed one.
pub(super) fn mark(hash: &Hash) -> i32 {
    let [a, b, c, d, ..] = *hash;
    i32::from_be_bytes([a, b, c, d])
}

/// A body as text; nothing where it is empty.
pub(super) fn body_text(body: &Map<String, Value>) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let mut text = Vec::new();
    object(body, &mut text);
    // All of it came out of strings.
    String::from_utf8(text).ok()
}

fn object(members: &Map<String, Value>, text: &mut Vec<u8>) {
    // Sorted here too: another crate can switch on the feature of serde_json that keeps members as they came.
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    text.push(b'{');
    for (place, (name, member)) in members.into_iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        string(name, text);
        text.push(b':');
        value(member, text);
    }
    text.push(b'}');
}

fn value(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::String(content) => string(content, text),
        Value::Object(members) => object(members, text),
        Value::Array(items) => {
            text.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                self::value(item, text);
            }
            text.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => text.extend(value.to_string().as_bytes()),
    }
}

fn member(name: &str, content: Option<&str>, line: &mut Vec<u8>) {
    if let Some(content) = content {
        line.extend(name.as_bytes());
        string(content, line);
        line.push(b',');
    }
}

fn number(number: u64, line: &mut Vec<u8>) {
    // A vector takes all.
    let _ = write!(line, "{number}");
}

fn string(content: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    let mut copied = 0;
    for (at, byte) in content.bytes().enumerate() {
        let escape = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..0x20 => b'u',
            _ => continue,
        };
        line.extend(&content.as_bytes()[copied..at]);
        line.extend([b'\\', escape]);
        if escape == b'u' {
            // A vector takes all.
            let _ = write!(line, "{byte:04x}");
        }
        copied = at + 1;
    }
    line.extend(&content.as_bytes()[copied..]);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_bytes_are_as_documented() {
        let body = json!({"z": [1, -2, 2.5, null, true], "a": {"y": "\u{1f}\u{7f}é\"\\", "x": {}}});
        let row = Row {
            id: 7,
            at: 1_764_547_200_123,
            kind: Kind::Ban,
            source: Some("2001:db8::/32".parse().unwrap()),
            reason: Some("a\tb\n\r\u{8}\u{c}\u{1}".to_owned()),
            service: Some("tls:443".to_owned()),
            actor: None,
            body: body_text(body.as_object().unwrap()),
        };
        let line = String::from_utf8(row.line()).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"at":1764547200123,"body":{"a":{"x":{},"y":"\u001f"#,
                "\u{7f}é",
                r#"\"\\"},"z":[1,-2,2.5,null,true]},"id":7,"kind":"ban","reason":"a\tb\n\r\b\f\u0001","#,
                r#""service":"tls:443","source":"2001:db8::/32","v":1}"#
            )
        );
        // It is JSON, and what serde_json writes of it is the same.
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), line);
        assert_eq!(Value::Object(row.body()), body);
    }

    #[test]
    fn sources_are_cut_to_their_subnet() {
        for (source, full, subnet) in [
            ("192.0.2.7/32", "192.0.2.7/32", "192.0.2.0/24"),
            ("192.0.2.7/16", "192.0.0.0/16", "192.0.0.0/16"),
            ("2001:db8:1:2::3/128", "2001:db8:1:2::3/128", "2001:db8:1::/48"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8::/32"),
        ] {
            let source: IpNet = source.parse().unwrap();
            assert_eq!(Sources::Full.kept(source).to_string(), full);
            assert_eq!(Sources::Subnet.kept(source).to_string(), subnet);
        }
    }
}
