//! The table of helpers in docs/kernels.md is what the object calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The page, from this crate's directory.
const PAGE: &str = "../docs/kernels.md";
/// Of an instruction: the operation of a call, and the register field of one that is of a helper by its number.
const CALL: u8 = 0x85;
const BY_NUMBER: u8 = 0;
/// A load of two words takes two instructions.
const LOAD_WIDE: u8 = 0x18;
/// Flag of a section that holds instructions (`SHF_EXECINSTR`).
const EXECUTABLE: u64 = 4;

/// The helpers that an object calls: all calls by number in sections with instructions.
fn called(object: &[u8]) -> BTreeSet<u32> {
    let half = |at: usize| usize::from(u16::from_le_bytes(object[at..at + 2].try_into().unwrap()));
    let long = |at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap());
    // The ELF header's place, size and number of section headers; of a section its flags, place and size.
    let (headers, size, count) = (long(0x28) as usize, half(0x3a), half(0x3c));
    let sections = (0..count).map(|section| headers + section * size);
    let sections = sections.filter(|header| long(header + 0x08) & EXECUTABLE != 0);
    let mut called = BTreeSet::new();
    for header in sections {
        let (at, length) = (long(header + 0x18) as usize, long(header + 0x20) as usize);
        let mut instructions = object[at..at + length].chunks_exact(8);
        while let Some(instruction) = instructions.next() {
            if instruction[0] == LOAD_WIDE {
                instructions.next();
            }
            if instruction[0] == CALL && instruction[1] >> 4 == BY_NUMBER {
                called.insert(u32::from_le_bytes(instruction[4..].try_into().unwrap()));
            }
        }
    }
    called
}

#[test]
#[ignore = "needs the eBPF object: `cargo xtask test` runs it"]
fn the_page_names_the_helpers_that_the_object_calls() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (_, rest) = page.split_once("<!-- helpers -->\n").expect("a marker before the table");
    let (table, _) = rest.split_once("<!-- /helpers -->").expect("a marker behind the table");
    let rows = table.lines().skip(2).map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap());
    let named: BTreeSet<u32> = rows.collect();
    let object = gateway_user::kernel::embedded().expect("the eBPF object (`cargo xtask ebpf` builds it)");
    assert_eq!(named, called(object), "docs/kernels.md against the object");
}
