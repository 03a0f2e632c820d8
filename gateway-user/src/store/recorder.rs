//! From the outbox to the record.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    StoreOptions,
    sink::Sink,
    state::{State, StateError},
};
use crate::{
    model::Prefix,
    record::{self, Entry, Facts, Filter, Kind, Options, Record, RecordError},
};

/// The record's name in its checkpoints.
const ORIGIN: &str = "gateway/record";
/// Rows that go over at once.
const AT_ONCE: usize = 1_000;
/// The member of a row's body with its number in the outbox: after a crash in between it shows that the record has it.
const NUMBER: &str = "n";
/// Rows that are looked through for that number.
const LAST_ROWS: usize = 64;
/// How often a checkpoint is signed while rows come, in milliseconds.
const CHECKPOINT_EVERY: u64 = 3_600_000;
/// How often months that are over age are looked for.
const AGE_EVERY: u64 = 86_400_000;
/// How soon after a change one is signed.
const CHECKPOINT_AFTER: u64 = 60_000;

/// A row in the outbox, as JSON: its body is an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outgoing<B = Map<String, Value>> {
    /// The name of a [`Kind`].
    pub kind: String,
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Prefix>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// At which service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// All else.
    #[serde(default)]
    pub body: B,
}

/// Why rows do not get into the record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The outbox.
    #[error(transparent)]
    State(#[from] StateError),
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Takes rows from the outbox into the record.
#[derive(Debug)]
pub(super) struct Recorder {
    directory: PathBuf,
    /// Nothing while it cannot be opened.
    record: Option<Record>,
    /// The last number of the outbox that the record has.
    last: u64,
    /// When a checkpoint was signed last; Unix milliseconds.
    signed_at: u64,
    /// Rows have come since.
    is_unsigned: bool,
    options: StoreOptions,
    sink: Sink,
    /// When it was looked last which months are over age; Unix milliseconds.
    aged_at: u64,
    /// Bytes of the record when that was last looked at.
    bytes: u64,
    /// Rows may wait that it has not taken.
    pub(super) has_more: bool,
}

impl Recorder {
    pub(super) fn new(directory: &Path, options: StoreOptions) -> Self {
        Self {
            directory: directory.to_owned(),
            record: None,
            last: 0,
            signed_at: 0,
            is_unsigned: false,
            options,
            sink: Sink::default(),
            aged_at: 0,
            bytes: 0,
            has_more: false,
        }
    }

    /// Goes on as the configuration says now.
    pub(super) fn set_options(&mut self, options: StoreOptions) {
        if let Some(open) = &mut self.record {
            open.set_sources(options.sources);
        }
        self.options = options;
    }

    /// Rows that there ever were.
    pub(super) fn rows(&self) -> u64 {
        self.record.as_ref().map_or(0, Record::size)
    }

    /// Whether the record has more bytes than it should.
    pub(super) const fn is_large(&self) -> bool {
        self.bytes > self.options.max_size
    }

    /// What is not as it should be with it, a sentence each.
    pub(super) fn troubles(&self) -> Vec<String> {
        let large = self.is_large().then(|| {
            format!(
                "the record has {} MiB, more than audit.max_size: of drops it gets one sum an hour, without sources; what is written stays",
                self.bytes >> 20
            )
        });
        let checkpoint = self.sink.trouble().map(|why| format!("the last checkpoint did not reach {why}"));
        large.into_iter().chain(checkpoint).collect()
    }

    /// Lets months go that are over age: a day after the start, and each day.
    pub(super) fn age(&mut self, now: u64) -> Result<(), RecordError> {
        let Some(open) = &mut self.record else { return Ok(()) };
        if now.saturating_sub(self.aged_at) < AGE_EVERY {
            return Ok(());
        }
        // A start is no time for it: the clock of a machine without a battery is set a moment later.
        if std::mem::replace(&mut self.aged_at, now) == 0 {
            return Ok(());
        }
        for month in open.age(now, self.options.retention)? {
            log::info!("record: {month} is older than audit.retention, and was removed");
        }
        Ok(())
    }

    /// Takes all rows that wait, until something else is more urgent; what was found wrong with the record's files is told.
    pub(super) fn take(
        &mut self,
        state: &mut State,
        now: u64,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Vec<String>, Trouble> {
        let mut warnings = Vec::new();
        if self.record.is_none() {
            let options = Options { origin: ORIGIN.to_owned(), sources: self.options.sources };
            let (opened, told) = Record::open(&self.directory, &options, now)?;
            warnings = told;
            self.last = last_number(&self.directory)?;
            self.record = Some(opened);
        }
        self.has_more = false;
        let Some(open) = &mut self.record else { return Ok(warnings) };
        loop {
            let waiting = state.waiting(AT_ONCE)?;
            let Some(last) = waiting.last().map(|(number, _)| *number) else { break };
            let new = waiting.iter().filter(|(number, _)| *number > self.last);
            let entries: Vec<Entry> = new.map(|(number, row)| entry(*number, row.at, &row.body)).collect();
            if !entries.is_empty() {
                open.append(&entries)?;
                self.is_unsigned = true;
            }
            self.last = self.last.max(last);
            state.handed_over(last)?;
            self.has_more = waiting.len() == AT_ONCE;
            if is_urgent() {
                break;
            }
        }
        Ok(warnings)
    }

    /// Signs a checkpoint if one is due, or at once; gives it.
    pub(super) fn sign(&mut self, now: u64, at_once: bool) -> Result<Option<String>, RecordError> {
        let Some(open) = &mut self.record else { return Ok(None) };
        let since = now.saturating_sub(self.signed_at);
        let is_due = since >= if self.is_unsigned { CHECKPOINT_AFTER } else { CHECKPOINT_EVERY };
        if !at_once && !is_due {
            return Ok(None);
        }
        let note = open.checkpoint(now)?;
        self.signed_at = now;
        self.bytes = open.bytes()?;
        let is_new = std::mem::take(&mut self.is_unsigned);
        let note = Some(note).filter(|_| is_new || at_once);
        if let (Some(note), Some(to)) = (&note, &self.options.checkpoint) {
            self.sink.send(to, note);
        }
        Ok(note)
    }

    /// When the next checkpoint is due, in milliseconds from now.
    pub(super) fn due_in(&self, now: u64) -> u64 {
        let every = if self.is_unsigned { CHECKPOINT_AFTER } else { CHECKPOINT_EVERY };
        (self.signed_at + every).saturating_sub(now)
    }
}

/// The last number of the outbox in the record.
fn last_number(directory: &Path) -> Result<u64, RecordError> {
    let found = record::query(directory, &Filter::default(), LAST_ROWS)?;
    let numbers = found.rows.iter().filter_map(|row| row.body().get(NUMBER)?.as_u64());
    Ok(numbers.max().unwrap_or(0))
}

/// A row as the record has it. What is no row of this daemon's stays readable as it is.
fn entry(number: u64, at: u64, text: &str) -> Entry {
    let row: Outgoing = serde_json::from_str(text).unwrap_or_else(|_| Outgoing {
        kind: Kind::Fault.name().to_owned(),
        body: [("unreadable".to_owned(), text.into())].into_iter().collect(),
        ..Outgoing::default()
    });
    let mut body = row.body;
    body.insert(NUMBER.to_owned(), number.into());
    let facts = Facts {
        source: row.source.map(Prefix::network),
        reason: row.reason,
        service: row.service,
        actor: row.actor,
        body,
    };
    Entry { at, kind: Kind::from_name(&row.kind).unwrap_or(Kind::Fault), facts }
}
