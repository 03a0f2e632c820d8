//! `gateway audit`: reads the record's own files, whether the daemon runs or not.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    CliError,
    args::{About, AuditVerb, ExportFormat, Global, Output, Rows},
    error::Status,
    print, print_json,
    render::{self, Style},
    tell,
};
use crate::{
    config::Audit,
    model::Prefix,
    record::{self, Filter, Format, Order, RecordError, Report},
};

/// Where its key is, beside the record.
const KEY: &str = "record.vkey";

/// Does a verb of `audit`.
///
/// # Errors
/// What was not done and why; of `verify` also where the record is not as it was written.
pub fn audit(verb: &AuditVerb, global: &Global) -> Result<(), CliError> {
    let directory = directory(global);
    match verb {
        AuditVerb::Query { rows, limit, output } => query(&directory, rows, *limit, *output),
        AuditVerb::Verify { checkpoints, key, output } => {
            verify(&directory, checkpoints, key.as_deref(), *output)
        }
        AuditVerb::Export { rows, format } => export(&directory, rows, *format),
        AuditVerb::Status(output) => status(&directory, *output),
    }
}

/// The record's folder as the configuration says, where it can be read; else the usual one.
fn directory(global: &Global) -> PathBuf {
    let configured = || {
        let text = fs::read_to_string(&global.config).ok()?;
        let table: toml::Table = text.parse().ok()?;
        table.get("audit")?.get("database")?.as_str().map(PathBuf::from)
    };
    let database = configured().unwrap_or_else(|| Audit::default().database);
    database.parent().unwrap_or(Path::new("/")).to_owned()
}

fn filter(rows: &Rows, order: Order) -> Filter {
    let Rows { about: About { since, source, reason, service }, until, actor, kind } = rows.clone();
    Filter { since, until, source: source.map(Prefix::network), reason, service, actor, kind, order }
}

fn query(directory: &Path, rows: &Rows, limit: usize, output: Output) -> Result<(), CliError> {
    let mut found =
        record::query(directory, &filter(rows, Order::NewestFirst), limit).map_err(|error| failed(&error))?;
    tell_unread(&found.unread);
    found.rows.reverse();
    if output.json {
        let lines: String =
            found.rows.iter().map(|row| String::from_utf8_lossy(&row.line()).into_owned() + "\n").collect();
        return print(&lines);
    }
    print(&render::record(&found.rows, Style::detect()))
}

fn export(directory: &Path, rows: &Rows, format: ExportFormat) -> Result<(), CliError> {
    let format = match format {
        ExportFormat::Json => Format::JsonLines,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Cef => Format::Cef,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = record::export(directory, &filter(rows, Order::OldestFirst), format, &mut out);
    match written.and_then(|done| out.flush().map(|()| done).map_err(RecordError::Export)) {
        Ok((_, unread)) => {
            tell_unread(&unread);
            Ok(())
        }
        // The reader has enough, as with `| head`.
        Err(RecordError::Export(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

fn verify(directory: &Path, paths: &[PathBuf], key: Option<&Path>, output: Output) -> Result<(), CliError> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .map_err(|error| CliError::failed(format!("cannot read {}: {error}", path.display())))
    };
    let beside = directory.join(KEY);
    let vkey = read(key.unwrap_or(&beside)).map_err(|error| {
        error
            .help("run it with sudo; without a record there is nothing to verify, see `gateway audit status`")
    })?;
    let texts = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = Vec::new();
    for (path, text) in paths.iter().zip(&texts) {
        let found = notes(text);
        if found.is_empty() {
            return Err(CliError::usage(format!("{} has no checkpoint", path.display()))
                .help("name a file of signed notes, as audit.checkpoint makes it, or of the daemon's log"));
        }
        kept.extend(found);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let report = record::verify(directory, &vkey, &kept, now).map_err(|error| failed(&error))?;
    if output.json {
        print_json(&document(&report))?;
    } else {
        print(&render::verified(&report))?;
    }
    if report.is_intact() { Ok(()) } else { Err(CliError::reported(Status::Failed)) }
}

/// What the daemon's log has before a checkpoint.
const IN_LOG: &str = "record: checkpoint \"";
/// How a line with a signature begins (C2SP signed-note).
const SIGNATURE: &str = "\u{2014} ";

/// The signed notes of a text: one after the other, or in lines of the daemon's log.
fn notes(text: &str) -> Vec<String> {
    let in_log = text.lines().filter_map(|line| {
        let quoted = line.split_once(IN_LOG)?.1.trim_end().strip_suffix('"')?;
        serde_json::from_str::<String>(&format!("\"{quoted}\"")).ok()
    });
    let in_log: Vec<String> = in_log.map(|note| format!("{}\n", note.trim_end())).collect();
    if !in_log.is_empty() {
        return in_log;
    }
    let (mut notes, mut note, mut is_signed) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if is_signed && !line.starts_with(SIGNATURE) {
            notes.push(std::mem::take(&mut note));
            is_signed = false;
        }
        // Blank lines between two.
        if note.is_empty() && line.is_empty() {
            continue;
        }
        is_signed |= line.starts_with(SIGNATURE);
        note.push_str(line);
        note.push('\n');
    }
    notes.extend(Some(note).filter(|note| !note.is_empty()));
    notes
}

fn document(report: &Report) -> Value {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    json!({
        "intact": report.is_intact(),
        "files": report.files,
        "rows": report.rows,
        "first": report.first,
        "end": report.end,
        "checkpoints": report.checkpoints,
        "signed": report.signed,
        "kept": report.kept,
        "unchecked": report.unchecked,
        "aside": report.aside,
        "findings": findings,
        "more_findings": report.more,
        "limits": report.limits(),
    })
}

fn status(directory: &Path, output: Output) -> Result<(), CliError> {
    let status = record::status(directory).map_err(|error| failed(&error))?;
    tell_unread(&status.unread);
    if !output.json {
        return print(&render::record_status(&status, directory));
    }
    let months: Vec<Value> = status
        .months
        .iter()
        .map(|month| {
            json!({ "file": month.file, "rows": month.rows, "bytes": month.bytes, "oldest": month.oldest, "newest": month.newest })
        })
        .collect();
    print_json(&json!({
        "directory": directory,
        "rows": status.rows,
        "bytes": status.bytes,
        "oldest": status.oldest,
        "newest": status.newest,
        "bytes_a_day": status.bytes_a_day,
        "bytes_a_year": status.bytes_a_year,
        "checkpoint": status.checkpoint.map(|last| json!({ "at": last.at, "size": last.size })),
        "months": months,
    }))
}

fn tell_unread(unread: &[String]) {
    for why in unread {
        tell(&format!("warning: {}\n", render::clean(why)));
    }
}

fn failed(error: &RecordError) -> CliError {
    CliError::failed(error.to_string())
        .help("run it with sudo; `audit.database` of the configuration says where the record is")
}

#[cfg(test)]
mod tests {
    use super::notes;

    #[test]
    fn notes_stand_alone_one_after_the_other_or_in_a_log() {
        let note =
            |size| format!("gateway/record\n{size}\nEty4XbXS0yHVWN7K\n\n\u{2014} gateway/record e5D8\n");
        assert_eq!(notes(&note(1)), [note(1)]);
        // As they are appended.
        let many: String = (1..4).map(|size| note(size) + "\n").collect();
        assert_eq!(notes(&many), [note(1), note(2), note(3)]);
        let log: String = (1..3)
            .map(|size| format!("Dec 01 host gateway[7]: record: checkpoint {:?}\n", note(size).trim_end()))
            .collect();
        assert_eq!(notes(&log), [note(1), note(2)]);
        assert!(notes("\n\n").is_empty());
    }
}
