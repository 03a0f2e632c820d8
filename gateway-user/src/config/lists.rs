//! Allow and block lists: prefixes in the configuration and in files of their own.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::ops::Range;

use gateway_common::packet::Family;
use ipnet::IpNet;

use super::FromOutside;
use super::feed::{self, Line};
use super::policy::Lists;
use super::problem::{Location, Related, Severity};
use super::reader::{Item, Reader, Section};
use super::source::Source;
use super::{
    file,
    value::{self, FILE, prefix},
};
use crate::model::wrong::{Wrong, quoted};

/// Entries of both lists together; more would not fit into the kernel's tables.
const ENTRIES_MAX: usize = 2_000_000;
/// Lines of one prefix list that are skipped, and contradictions of two lists, that are shown one by one.
const SHOWN: usize = 20;
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
                let help = "join neighbouring prefixes, or leave some out";
                if reader.lists == FromOutside::LeftOut {
                    reader.warn(element.at, format!("{message}; those beyond are left out"), help);
                    list.truncate(ENTRIES_MAX - entries.allow.len());
                } else {
                    reader.error(element.at, message, help);
                    list.clear();
                }
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
    match file_text(path) {
        Ok(text) => {
            files.push(File { name: path.to_owned(), text });
            lines_into(reader, files, list);
        }
        Err(wrong) if reader.lists == FromOutside::LeftOut => {
            reader.warn(item.at.clone(), format!("{}; the list is left out", wrong.message), wrong.help);
        }
        Err(wrong) => reader.error(item.at.clone(), wrong.message, wrong.help),
    }
}

/// The lines of the last file. Others write it: a line that says nothing is skipped, and told.
fn lines_into(reader: &mut Reader<'_>, files: &[File], list: &mut Vec<Entry>) {
    let Some(File { name, text }) = files.last() else {
        return;
    };
    // Only for what is told: it looks for all lines.
    let source = LazyCell::new(|| Source::new(name, text));
    let (first, mut start) = (list.len(), 0);
    let (mut taken, mut skipped, mut promised) = (0_u64, 0, 0);
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let at = start + indent..start + line.trim_end().len().max(indent);
        start += line.len();
        match feed::line(line) {
            Ok(Line::Empty) => {}
            Ok(Line::Records(records)) => promised = records,
            Ok(Line::Prefixes(prefixes)) => {
                taken += 1;
                let entry = |prefix| Entry { prefix, file: Some(files.len() - 1), at: at.clone() };
                list.extend(prefixes.into_iter().map(entry));
            }
            Err(wrong) => {
                skipped += 1;
                if skipped <= SHOWN {
                    reader.push(source.place(at), Severity::Warning, wrong, None);
                }
            }
        }
        if list.len() > ENTRIES_MAX {
            break;
        }
    }
    let mut warn = |message, help: &str| {
        reader.push(Location::file(name), Severity::Warning, Wrong::new(message, help), None);
    };
    if skipped != 0 {
        let message = format!("{skipped} lines of {name} are skipped, {taken} are taken");
        warn(message, "correct those that are shown, or tell the publisher; the others hold");
    }
    if taken < promised {
        let message = format!("{name} was to have {promised} entries, and has {taken}");
        warn(message, "it was cut off: fetch it again");
    }
    if let Some(family) = covers_too_much(&list[first..]) {
        list.truncate(first);
        let message = format!(
            "{name} is held back: it covers more than a quarter of all {} addresses",
            match family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            }
        );
        warn(message, "to have so much in a list, write the prefixes into the configuration itself");
    }
}

/// The family of which entries cover more than a quarter, if there is one: of IPv6, of 2000::/3, where all addresses of the Internet are.
fn covers_too_much(entries: &[Entry]) -> Option<Family> {
    [(Family::V4, 32, 30), (Family::V6, 128, 123)].into_iter().find_map(|(family, bits, quarter)| {
        let is_of_it = |net: &IpNet| net.addr().is_ipv4() == (family == Family::V4);
        let nets = || entries.iter().map(|entry| entry.prefix).filter(is_of_it);
        let size = |net: IpNet| 1_u128 << (bits - u32::from(net.prefix_len()));
        let is_too_much = |size: u128| size > 1 << quarter;
        // Those that are in others count once; to find them out takes long, and mostly it need not be known.
        let merged = || IpNet::aggregate(&nets().collect()).into_iter();
        (is_too_much(nets().map(size).sum()) && is_too_much(merged().map(size).sum())).then_some(family)
    })
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

/// The same prefix cannot be both allowed and blocked by who writes the configuration; where a list from outside blocks it, it is allowed.
/// Nested ones can: the longest wins.
fn contradictions(reader: &mut Reader<'_>, entries: &Entries) {
    let allowed: HashMap<_, _> = entries.allow.iter().map(|entry| (entry.prefix, entry)).collect();
    let twice: Vec<_> =
        entries.block.iter().filter_map(|entry| Some((entry, *allowed.get(&entry.prefix)?))).collect();
    for (blocked, allowed) in twice.iter().take(SHOWN) {
        let name = quoted(&blocked.prefix.to_string());
        let (severity, wrong) = if blocked.file.or(allowed.file).is_none() {
            let message = format!("{name} is both allowed and blocked");
            (Severity::Error, Wrong::new(message, "take it out of `allow` or out of `block`"))
        } else {
            let message = format!("{name} is both allowed and blocked; it is allowed");
            (Severity::Warning, Wrong::new(message, "take it out of one of the two to be rid of this word"))
        };
        let related = Related { place: place(reader, entries, allowed), label: "allowed here".to_owned() };
        reader.push(place(reader, entries, blocked), severity, wrong, Some(related));
    }
    if let Some(more) = twice.len().checked_sub(SHOWN).filter(|more| *more != 0)
        && let Some((entry, _)) = twice.last()
    {
        let wrong = Wrong::new(format!("{more} more prefixes are both allowed and blocked"), "see above");
        reader.push(Location::file(&place(reader, entries, entry).file), Severity::Warning, wrong, None);
    }
}

fn place(reader: &Reader<'_>, entries: &Entries, entry: &Entry) -> Location {
    match entry.file.and_then(|file| entries.files.get(file)) {
        Some(file) => Source::new(&file.name, &file.text).place(entry.at.clone()),
        None => reader.source.place(entry.at.clone()),
    }
}

/// The text of a prefix list.
fn file_text(path: &str) -> Result<String, Wrong> {
    file::read_lossy(&value::absolute_path(path)?)
}
