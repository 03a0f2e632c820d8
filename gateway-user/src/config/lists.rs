//! Allow and block lists: prefixes in the configuration and in files of their own.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::{IpNet, Ipv4Net};

use super::policy::Lists;
use super::problem::{Place, Related, Severity, Wrong, quoted};
use super::reader::{Item, Reader, Section};
use super::sections::list_text;
use super::source::Source;

/// Entries of both lists together; more would not fit into the kernel's tables.
const ENTRIES_MAX: usize = 2_000_000;
/// Errors of one prefix list, or of two lists against each other, that are shown one by one.
const ERRORS_SHOWN: usize = 20;
/// What an item that names a file starts with.
const FILE: &str = "file:";

/// A prefix, and where it was read.
struct Entry {
    prefix: IpNet,
    /// Index of the prefix list; nothing for the configuration itself.
    file: Option<usize>,
    at: Range<usize>,
}

/// A prefix list's name and text.
struct File {
    name: String,
    text: String,
}

/// What was read so far.
#[derive(Default)]
struct Entries {
    allow: Vec<Entry>,
    block: Vec<Entry>,
    files: Vec<File>,
}

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Lists {
    let mut entries = Entries::default();
    for key in ["allow", "block"] {
        let Some(item) = section.get(key) else { continue };
        let mut list = Vec::new();
        for element in reader.array(&item, &format!("{key} = [\"198.51.100.0/24\"]")) {
            element_into(reader, &element, &mut list, &mut entries.files);
            if list.len() + entries.allow.len() > ENTRIES_MAX {
                let message = format!("the lists have more than {ENTRIES_MAX} entries");
                reader.error(element.at, message, "join neighbouring prefixes, or leave some out");
                list.clear();
                break;
            }
        }
        match key {
            "allow" => entries.allow = list,
            _ => entries.block = list,
        }
    }
    warn_of_everything(reader, &entries);
    contradictions(reader, &entries);
    let prefixes = |list: Vec<Entry>| list.into_iter().map(|entry| entry.prefix).collect();
    Lists { allow: prefixes(entries.allow), block: prefixes(entries.block) }
}

/// An element of a list: a prefix, or a file of them.
fn element_into<'t>(reader: &mut Reader<'t>, item: &Item<'t>, list: &mut Vec<Entry>, files: &mut Vec<File>) {
    let example = "\"192.0.2.10\", \"198.51.100.0/24\" or \"file:/path\"";
    let Some(text) = reader.text(item, example) else {
        return;
    };
    let Some(path) = text.strip_prefix(FILE) else {
        if let Some(prefix) = reader.parsed(item, example, prefix) {
            list.push(Entry { prefix, file: None, at: item.at.clone() });
        }
        return;
    };
    match list_text(path) {
        Ok(text) => {
            files.push(File { name: path.to_owned(), text });
            lines_into(reader, files, list);
        }
        Err(wrong) => reader.error(item.at.clone(), wrong.message, wrong.help),
    }
}

/// The lines of the last file.
fn lines_into(reader: &mut Reader<'_>, files: &[File], list: &mut Vec<Entry>) {
    let Some(File { name, text }) = files.last() else {
        return;
    };
    // Only for errors: it looks for all lines.
    let source = LazyCell::new(|| Source::new(name, text));
    let mut errors = 0;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim_start_matches('\u{feff}').trim_start();
        let from = start + content.len() - word.len();
        let word = word.trim_end();
        let at = from..from + word.len();
        start += line.len();
        if word.is_empty() {
            continue;
        }
        match prefix(word) {
            Ok(prefix) => list.push(Entry { prefix, file: Some(files.len() - 1), at }),
            Err(wrong) => {
                errors += 1;
                if errors <= ERRORS_SHOWN {
                    reader.push(source.place(at), Severity::Error, wrong, None);
                }
            }
        }
        if list.len() > ENTRIES_MAX {
            break;
        }
    }
    more_errors(reader, Place::file(name), errors);
}

/// Says how many errors there are beyond those shown.
fn more_errors(reader: &mut Reader<'_>, place: Place, errors: usize) {
    if let Some(more) = errors.checked_sub(ERRORS_SHOWN).filter(|&more| more > 0) {
        let wrong = Wrong::new(
            format!("{more} more errors of this kind"),
            "correct those that are shown, and check again",
        );
        reader.push(place, Severity::Error, wrong, None);
    }
}

/// A prefix of length 0 makes the rest of the configuration pointless.
fn warn_of_everything(reader: &mut Reader<'_>, entries: &Entries) {
    for (list, word) in [(&entries.allow, "passes"), (&entries.block, "drops")] {
        for entry in list.iter().filter(|entry| entry.prefix.prefix_len() == 0) {
            let message =
                format!("{} {word} every source of its IP version", quoted(&entry.prefix.to_string()));
            let wrong =
                Wrong::new(message, "list single sources or prefixes; `mode` turns the whole gateway off");
            reader.push(place(reader, entries, entry), Severity::Warning, wrong, None);
        }
    }
}

/// The same prefix cannot be both allowed and blocked. Nested ones can: the longest wins.
fn contradictions(reader: &mut Reader<'_>, entries: &Entries) {
    let allowed: HashMap<_, _> = entries.allow.iter().map(|entry| (entry.prefix, entry)).collect();
    let twice: Vec<_> =
        entries.block.iter().filter_map(|entry| Some((entry, *allowed.get(&entry.prefix)?))).collect();
    for (blocked, allowed) in twice.iter().take(ERRORS_SHOWN) {
        let message = format!("{} is both allowed and blocked", quoted(&blocked.prefix.to_string()));
        let wrong = Wrong::new(message, "take it out of `allow` or out of `block`");
        let related = Related { place: place(reader, entries, allowed), label: "allowed here".to_owned() };
        reader.push(place(reader, entries, blocked), Severity::Error, wrong, Some(related));
    }
    if let Some((entry, _)) = twice.last() {
        more_errors(reader, Place::file(&place(reader, entries, entry).file), twice.len());
    }
}

fn place(reader: &Reader<'_>, entries: &Entries, entry: &Entry) -> Place {
    match entry.file.and_then(|file| entries.files.get(file)) {
        Some(file) => Source::new(&file.name, &file.text).place(entry.at.clone()),
        None => reader.source.place(entry.at.clone()),
    }
}

/// A source prefix, `198.51.100.0/24`, or a bare address, which stands for itself alone.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_prefix(text: &str) -> Result<IpNet, String> {
    prefix(text).map_err(|wrong| wrong.to_string())
}

pub(super) fn prefix(text: &str) -> Result<IpNet, Wrong> {
    const EXAMPLE: &str = "write an address or a prefix: 192.0.2.10, 198.51.100.0/24 or 2001:db8::/48";
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        let help =
            if text.starts_with(FILE) { "files of prefixes can stand in [lists] alone" } else { EXAMPLE };
        return Err(Wrong::new(format!("{} is no IP address or prefix", quoted(text)), help));
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => {
            // `+8` would be a number for the standard library.
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            let number = length.parse::<u8>().ok().filter(|&length| digits && length <= bits);
            number.ok_or_else(|| {
                let message = format!("{} is no prefix length of {address}", quoted(length));
                Wrong::new(message, format!("write a number from 0 to {bits} after the slash"))
            })?
        }
    };
    whole(address, length)
}

/// A prefix whose bits beyond its length are zero, and that a packet's source can be in.
fn whole(address: IpAddr, length: u8) -> Result<IpNet, Wrong> {
    let Ok(net) = IpNet::new(address, length) else {
        return Err(Wrong::new(
            format!("{length} is too long for {address}"),
            "write a shorter prefix length",
        ));
    };
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
        && let Some(inner) = length.checked_sub(96)
    {
        let v4 = Ipv4Net::new(v4, inner).map_or_else(|_| v4.to_string(), |net| net.trunc().to_string());
        let message = format!(
            "{} is an IPv4 address mapped into IPv6, which packets do not carry",
            quoted(&net.to_string())
        );
        return Err(Wrong::new(message, format!("write {v4}")));
    }
    if net != net.trunc() {
        let message = format!("{} has bits set beyond its length", quoted(&net.to_string()));
        return Err(Wrong::new(
            message,
            format!("write {} for the prefix, or {address} for the address", net.trunc()),
        ));
    }
    Ok(net)
}
