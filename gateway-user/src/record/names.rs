//! Names of files, one for a month in UTC, and times as text.

use std::{
    fmt,
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::row::LATEST;

/// What belongs to a file of SQLite, by the ends of their names: the write-ahead log and its index.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The name of a month's file: `record-2026-11.db`. Where a file of that name may not be touched, the month goes on in
/// `record-2026-11.1.db`. Names are in the order of their rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// As `2026-11`.
    pub month: String,
    /// 0, where the month has one file.
    pub part: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => write!(formatter, "record-{}.db", self.month),
            part => write!(formatter, "record-{}.{part}.db", self.month),
        }
    }
}

impl Name {
    /// The file of the month of a time (Unix milliseconds).
    pub(super) fn of(at: u64) -> Self {
        Self { month: time_text(at).chars().take(7).collect(), part: 0 }
    }

    fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_prefix("record-")?.strip_suffix(".db")?;
        let (month, part) = stem.split_once('.').unwrap_or((stem, "0"));
        let name = Self { month: month.to_owned(), part: part.parse().ok()? };
        let is_month = month.len() == 7
            && month
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() });
        (is_month && name.to_string() == text).then_some(name)
    }

    /// The next name of the same month.
    pub(super) fn next_part(self) -> Self {
        Self { part: self.part + 1, ..self }
    }
}

/// The month files of a directory, the oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// Files that were set aside, by name.
pub(super) fn set_aside_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_companion = COMPANIONS.iter().any(|end| name.ends_with(end));
        if name.starts_with("record-") && name.contains(".db.bad") && !is_companion {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A path with something behind it.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Gives a file another name, and its companions with it: the first free one of `.bad`, `.bad.1` and so on. Nothing is written over.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let is_free = |end: &String| {
        let taken =
            |companion: &str| fs::symlink_metadata(with_end(path, &format!("{end}{companion}"))).is_ok();
        !taken("") && !COMPANIONS.iter().any(|companion| taken(companion))
    };
    let numbered = (1_u32..).map(|number| format!(".bad.{number}"));
    let end = std::iter::once(".bad".to_owned()).chain(numbered).find(is_free);
    let end = end.ok_or_else(|| io::Error::other("there is no free name for it"))?;
    fs::rename(path, with_end(path, &end))?;
    for companion in COMPANIONS {
        match fs::rename(with_end(path, companion), with_end(path, &format!("{end}{companion}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(with_end(path, &end))
}

/// Removes a file and its companions.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    for companion in COMPANIONS {
        match fs::remove_file(with_end(path, companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What a file has on the disk with its write-ahead log, in bytes.
pub(super) fn bytes(path: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    length(path) + length(&with_end(path, "-wal"))
}

/// Whether rows can lie in the write-ahead log of a file.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(with_end(path, "-wal")).is_ok_and(|found| found.len() > 0)
}

/// The directory, made if need be, by the path that SQLite takes it by: it is told to follow no link.
pub(super) fn directory(path: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.canonicalize()
}

/// Makes an empty file for its owner alone, where there is none.
pub(super) fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// A time (Unix milliseconds) as RFC 3339 has it, in UTC. What is beyond the year 9999 is its end.
pub(super) fn time_text(at: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.min(LATEST))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_months() {
        let place = tempfile::tempdir().unwrap();
        let others =
            ["record-2026-11.db-wal", "record-2026-11.db.bad", "record-2026-1.db", "record-2026-11.01.db"];
        let ours = [
            "record-2025-12.db",
            "record-2026-02.db",
            "record-2026-11.db",
            "record-2026-11.2.db",
            "record-2026-11.10.db",
        ];
        for name in others.iter().chain(&ours) {
            fs::write(place.path().join(name), "").unwrap();
        }
        let names: Vec<String> = list(place.path()).unwrap().iter().map(Name::to_string).collect();
        assert_eq!(names, ours);
        assert_eq!(set_aside_in(place.path()).unwrap(), ["record-2026-11.db.bad"]);
    }

    #[test]
    fn a_month_is_that_of_utc() {
        // The last millisecond of a leap year's February, and the next.
        assert_eq!(Name::of(1_709_251_199_999).to_string(), "record-2024-02.db");
        assert_eq!(Name::of(1_709_251_200_000).to_string(), "record-2024-03.db");
        assert_eq!(Name::of(0).next_part().to_string(), "record-1970-01.1.db");
        assert_eq!(time_text(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn files_are_set_aside_under_free_names() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("record-2026-11.db");
        for number in 0..12 {
            fs::write(&path, number.to_string()).unwrap();
            fs::write(with_end(&path, "-wal"), "log").unwrap();
            set_aside(&path).unwrap();
        }
        let text = |end: &str| fs::read_to_string(with_end(&path, end)).unwrap();
        assert_eq!((text(".bad"), text(".bad.1"), text(".bad.11")), ("0".into(), "1".into(), "11".into()));
        assert_eq!(text(".bad.11-wal"), "log");
        assert!(!has_log(&path));
    }
}
