//! Descriptions of types, made by hand and the running kernel's own.

use std::{fs, path::Path};

use super::{BtfError, SocketFields, VMLINUX, look};

/// Strings with their offsets.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, name: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(name.bytes().chain([0]));
        at
    }
}

/// The structures that are looked for, with their members at these bits.
fn btf(structures: &[(&str, &[(&str, u32)])]) -> Vec<u8> {
    let (mut strings, mut types) = (Strings::default(), Vec::new());
    strings.add("");
    for (name, members) in structures {
        types.extend([strings.add(name), 4 << 24 | members.len() as u32, 0]);
        for (member, bits) in *members {
            types.extend([strings.add(member), 1, *bits]);
        }
    }
    let (types_length, strings_length) = (types.len() as u32 * 4, strings.0.len() as u32);
    let header = [0x0001_eb9f, 24, 0, types_length, types_length, strings_length];
    header.into_iter().chain(types).flat_map(u32::to_ne_bytes).chain(strings.0).collect()
}

type Structure = (&'static str, &'static [(&'static str, u32)]);

const TCP: Structure = (
    "tcp_sock",
    &[
        ("rcv_nxt", 800),
        ("rcv_wnd", 816),
        ("bytes_received", 1_600),
        ("rx_opt", 2_400),
        ("snd_una", 840),
        ("snd_nxt", 848),
    ],
);
const OPTIONS: Structure = ("tcp_options_received", &[("ts_recent", 32), ("rcv_wscale", 0x0400_0000 | 68)]);
const REQUEST: Structure = ("tcp_request_sock", &[("rcv_isn", 960), ("snt_isn", 992)]);
const ANY_REQUEST: Structure = ("request_sock", &[("ts_recent", 480)]);

fn parse(bytes: &[u8]) -> Result<SocketFields, BtfError> {
    SocketFields::parse(Path::new("f"), bytes)
}

#[test]
fn offsets_are_found() {
    let expected = SocketFields {
        rcv_nxt: 100,
        rcv_wnd: 102,
        bytes_received: 200,
        rcv_isn: 120,
        rcv_wscale: 308,
        rcv_wscale_shift: 4,
        snd_una: 105,
        snd_nxt: 106,
        ts_recent: 304,
        snt_isn: 124,
        request_ts_recent: 60,
    };
    assert_eq!(parse(&btf(&[ANY_REQUEST, REQUEST, OPTIONS, TCP])).unwrap(), expected);
}

#[test]
fn what_is_no_description_is_told_by_what_it_is() {
    let whole = btf(&[ANY_REQUEST, REQUEST, OPTIONS, TCP]);
    let mut other_order = whole.clone();
    other_order.swap(0, 1);
    for (bytes, expected) in [
        (&b""[..], "f is no BTF: it is empty"),
        (b"\x7fELF\x02", "it is an ELF file; take its types out"),
        (b"\x1f\x8b\x08", "it is compressed; unpack it"),
        (b"\xfd7zXZ\0", "it is compressed; unpack it"),
        (b"root:x:0", "it does not begin as one"),
        (&other_order, "of a machine of the other byte order"),
        (&whole[..whole.len() - 1], "it is cut short"),
        (&whole[..10], "it is cut short"),
    ] {
        let text = parse(bytes).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let text = parse(&btf(&[TCP, OPTIONS])).unwrap_err().to_string();
    assert!(text.starts_with("f has no tcp_request_sock.rcv_isn; it must describe"), "{text}");
    for end in 0..whole.len() {
        assert!(parse(&whole[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_file_must_be_there_and_agree_with_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("types.btf");
    assert!(matches!(look(Some(&path)), Err(BtfError::Unreadable { .. })));
    assert!(matches!(look(Some(directory.path())), Err(BtfError::Unreadable { .. })));
    fs::write(&path, btf(&[ANY_REQUEST, REQUEST, OPTIONS, TCP])).unwrap();
    match fs::read(VMLINUX) {
        // Without a word of the kernel's the file's is taken.
        Err(_) => assert!(look(Some(&path)).is_ok()),
        Ok(own) => {
            let text = look(Some(&path)).unwrap_err().to_string();
            assert!(text.contains("types.btf is of another kernel"), "{text}");
            fs::write(&path, own).unwrap();
            assert!(look(Some(&path)).is_ok() && look(None).is_ok());
        }
    }
}
