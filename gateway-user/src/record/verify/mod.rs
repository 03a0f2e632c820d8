//! Whether the record is what was written: all hashes are computed anew from the rows, and compared with what was signed.
//!
//! Each month is read once, in the order of its rows. A tile's hash stands for its 256 rows, so what was changed in one tile is told as
//! that, and the tree goes on with the hash that was stored: later checkpoints then fit again, and show that nothing else was changed.

mod findings;
mod report;
mod signed;
mod walk;

#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::Connection;

pub use findings::{Finding, What};
pub use report::Report;

use super::{
    RecordError, Verifier,
    age::RETENTION_MIN,
    file::{self, MonthFile},
    names::{self, Name},
    tree::Tree,
};
use findings::Findings;
use signed::Signed;

/// Complaints of SQLite that are told of a file.
const COMPLAINTS: usize = 10;

/// Verifies the record of a directory, while it is written too. `vkey` is the key that was kept elsewhere (`record.vkey`; of several keys
/// one a line), `kept` are checkpoints that were kept elsewhere, `now` is in Unix milliseconds. Nothing is written.
///
/// # Errors
/// Where the directory cannot be read, or `vkey` is no key. What is wrong with the record is no error but a finding.
pub fn verify(directory: &Path, vkey: &str, kept: &[String], now: u64) -> Result<Report, RecordError> {
    let verifiers: Vec<Verifier> =
        vkey.split_whitespace().map(Verifier::parse).collect::<Result<_, _>>().map_err(RecordError::Vkey)?;
    if verifiers.is_empty() {
        return Err(RecordError::Vkey(super::NoteError::Key));
    }
    let directory = directory.canonicalize().map_err(RecordError::file(directory))?;
    let names = names::list(&directory).map_err(RecordError::file(&directory))?;
    let mut report = Report::default();
    let mut findings = Findings::default();
    let mut signed = Signed::new(verifiers, kept, &mut findings);
    let mut before = None;
    for (place, name) in names.iter().enumerate() {
        let file = match MonthFile::open_to_read(&directory, name) {
            Ok(file) => file,
            Err(error) => {
                let what = match error {
                    RecordError::Later(_) => What::Later,
                    error => What::Unreadable(error.to_string()),
                };
                findings.add(Some(name), None, what);
                before = None;
                continue;
            }
        };
        report.files += 1;
        if place == 0 {
            report.first = file.start.tree.size();
            begins(&file, now, &mut findings);
        }
        follows(&file, before.as_ref(), &mut findings);
        before = verify_file(&file, &mut signed, &mut findings, &mut report);
    }
    signed.finish(report.end, &mut findings, &mut report);
    report.aside = names::set_aside_in(&directory).map_err(RecordError::file(&directory))?;
    (report.findings, report.more) = findings.finish();
    Ok(report)
}

/// Verifies a file; gives the tree at its end, where all of it could be read.
fn verify_file(
    file: &MonthFile,
    signed: &mut Signed,
    findings: &mut Findings,
    report: &mut Report,
) -> Option<Tree> {
    let walked = check_layout(file, findings).and_then(|is_whole| {
        if !is_whole {
            return Ok(None);
        }
        // All of it is from one moment, while others write.
        let _moment = file.connection.unchecked_transaction()?;
        signed.read(file, findings)?;
        let tree = walk::walk(file, signed, findings, report)?;
        check_indexes(file, findings)?;
        Ok(Some(tree))
    });
    walked.unwrap_or_else(|error| {
        findings.add(Some(&file.name), Some(report.end..u64::MAX), What::Unreadable(error.to_string()));
        None
    })
}

/// The oldest file: those before it went because they were over age, or were taken away.
fn begins(file: &MonthFile, now: u64, findings: &mut Findings) {
    let rows_before = file.start.tree.size();
    let year = u64::try_from(RETENTION_MIN.as_millis()).unwrap_or(u64::MAX);
    let is_over_age = file.start.previous_newest.is_some_and(|newest| newest < now.saturating_sub(year));
    if rows_before > 0 && !is_over_age {
        let previous = file.start.previous.clone().unwrap_or_default();
        findings.add(Some(&file.name), Some(0..rows_before), What::TooYoung(previous));
    }
}

/// A file goes on where the one before it ends, with the same tree.
fn follows(file: &MonthFile, before: Option<&Tree>, findings: &mut Findings) {
    let name = Some(&file.name);
    if let Some(why) = &file.start.broken {
        findings.add(name, None, What::SetAside(why.clone()));
    }
    let Some(before) = before else { return };
    let (end, first) = (before.size(), file.start.tree.size());
    match first.cmp(&end) {
        std::cmp::Ordering::Greater => {
            let previous = file.start.previous.clone().unwrap_or_default();
            findings.add(name, Some(end..first), What::MissingBefore(previous));
        }
        std::cmp::Ordering::Less => findings.add(name, Some(first..end), What::Twice),
        std::cmp::Ordering::Equal if *before != file.start.tree => findings.add(name, None, What::Start),
        std::cmp::Ordering::Equal => {}
    }
}

/// Whether the file has the tables that it has to have. That it has another's name, and no triggers or indexes, is told.
fn check_layout(file: &MonthFile, findings: &mut Findings) -> rusqlite::Result<bool> {
    let says: String = file.connection.query_row("SELECT file FROM start", (), |row| row.get(0))?;
    if says != file.name.to_string() {
        findings.add(Some(&file.name), None, What::Exchanged(says));
    }
    let mut is_whole = true;
    for object in file::strange_objects(&file.connection)? {
        is_whole &= !object.starts_with("table ");
        findings.add(Some(&file.name), None, What::Strange(object));
    }
    Ok(is_whole)
}

/// Whether the indexes lead to the rows: else a query does not find what is there.
fn check_indexes(file: &MonthFile, findings: &mut Findings) -> rusqlite::Result<()> {
    for complaint in complaints(&file.connection)?.into_iter().filter(|complaint| complaint != "ok") {
        findings.add(Some(&file.name), None, What::Index(complaint));
    }
    Ok(())
}

fn complaints(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = format!("PRAGMA integrity_check({COMPLAINTS})");
    connection.prepare(&sql)?.query_map((), |row| row.get(0))?.collect()
}

/// A name for findings.
fn file_of(name: Option<&Name>) -> Option<String> {
    name.map(Name::to_string)
}
