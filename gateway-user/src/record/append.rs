//! Rows are appended: a batch is one transaction in one file, on the disk when the call returns, or not there at all.

use std::ops::Range;

use rusqlite::{Connection, TransactionBehavior};

use super::{
    Entry, Facts, Kind, Record, RecordError, Sources, begin,
    columns::Writer,
    file::{self, Grown, MonthFile},
    names::Name,
    row::{self, LATEST, LONGEST, Leaf},
    start_after,
};

impl Record {
    /// Appends a batch, and gives the ids of its rows. It goes to the month of its last entry, but never to an earlier month than the
    /// newest file: where the clock was set back, rows go on there.
    ///
    /// Where something else has put rows into the file or taken some out, a row of kind `fault` goes before the batch and says so.
    ///
    /// # Errors
    /// Where an entry cannot be kept ([`RecordError::Entry`]) or the file not be written. Nothing was written then, and the same batch may
    /// be tried again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, RecordError> {
        let Some(last) = entries.last() else { return Ok(self.size()..self.size()) };
        if let Some(index) = entries.iter().position(|entry| entry.at > LATEST) {
            return Err(RecordError::Entry { index, why: "its time is beyond the year 9999" });
        }
        self.turn_to(last.at)?;
        if let Some(rows) = self.commit(&[], entries)? {
            return Ok(rows);
        }
        let fault = self.take_up_what_others_left(last.at)?;
        let rows = self.commit(&[fault], entries)?;
        rows.ok_or_else(|| RecordError::Damaged {
            path: self.file.path.clone(),
            why: "another process writes to it".to_owned(),
        })
    }

    /// Writes entries, those of ours first; gives the ids of the others. Nothing is written and nothing given where the file ends
    /// elsewhere than where this process left it.
    fn commit(&mut self, ours: &[Entry], entries: &[Entry]) -> Result<Option<Range<u64>>, RecordError> {
        let error = RecordError::sqlite(&self.file.path);
        let transaction = self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(&error)?;
        if file::end(&transaction, &self.file.start).map_err(&error)? != self.grown.tree.size() {
            return Ok(None);
        }
        let mut grown = self.grown.clone();
        write_rows(&transaction, &mut grown, self.sources, ours, &error)?;
        let rows = write_rows(&transaction, &mut grown, self.sources, entries, &error)?;
        grown.write(&transaction).map_err(&error)?;
        transaction.commit().map_err(&error)?;
        self.grown = grown.written();
        Ok(Some(rows))
    }

    /// Reads the tree anew, and gives the entry that says why.
    fn take_up_what_others_left(&mut self, at: u64) -> Result<Entry, RecordError> {
        let left = self.size();
        self.grown = self.file.tree().map_err(RecordError::sqlite(&self.file.path))?;
        let numbers = [("rows_written", left), ("rows_found", self.size())];
        let body = numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect();
        let reason = Some("the record was changed by another process".to_owned());
        Ok(Entry { at, kind: Kind::Fault, facts: Facts { reason, body, ..Facts::default() } })
    }

    /// Goes on in a file of the month of a time, where the newest is of an earlier one. Whatever fails, the newest stays the newest.
    fn turn_to(&mut self, at: u64) -> Result<(), RecordError> {
        let name = Name::of(at);
        if name.month <= self.file.name.month {
            return Ok(());
        }
        let start = start_after(&self.file, self.grown.tree.clone())?;
        let (file, grown) = begin(&self.directory, &self.signer, name, &start, at)?;
        let old = std::mem::replace(&mut self.file, file);
        self.grown = grown;
        close(&old);
        Ok(())
    }
}

/// Makes one file of a month that is over, so that it can be read where nothing can be written. Where somebody reads it just now it
/// stays as it is, which is as good but there.
pub(super) fn close(file: &MonthFile) {
    let _ = file.connection.pragma_update(None, "journal_mode", "delete");
}

fn write_rows<'a>(
    connection: &'a Connection,
    grown: &mut Grown,
    sources: Sources,
    entries: &'a [Entry],
    error: &impl Fn(rusqlite::Error) -> RecordError,
) -> Result<Range<u64>, RecordError> {
    let first = grown.tree.size();
    let bodies: Vec<_> = entries.iter().map(|entry| row::body_text(&entry.facts.body)).collect();
    let mut writer = Writer::new(connection).map_err(error)?;
    let mut line = Vec::new();
    for (index, (Entry { at, kind, facts }, body)) in entries.iter().zip(&bodies).enumerate() {
        let leaf = Leaf {
            id: grown.tree.size(),
            at: *at,
            kind: *kind,
            source: facts.source.map(|source| sources.kept(source)),
            reason: facts.reason.as_deref(),
            service: facts.service.as_deref(),
            actor: facts.actor.as_deref(),
            body: body.as_deref(),
        };
        let hash = leaf.hash(&mut line);
        if line.len() > LONGEST {
            return Err(RecordError::Entry { index, why: "it is longer than 65,535 bytes" });
        }
        let subject = writer.write(&leaf, row::mark(&hash)).map_err(error)?;
        grown.push(hash, Some((subject, *at)));
    }
    Ok(first..grown.tree.size())
}
