//! Whole months go when they are over age. Nothing else is ever deleted.

use std::time::Duration;

use super::{Record, RecordError, file::MonthFile, names};

/// Rows are kept for at least this long.
pub const RETENTION_MIN: Duration = Duration::from_secs(365 * 86_400);

impl Record {
    /// Removes the files whose newest row is older than `retention` before `now` (Unix milliseconds), from the oldest on, and never the
    /// one that is written; gives their names. Less than [`RETENTION_MIN`] is taken for that.
    ///
    /// What later months need to verify is in their own files. To be called with a clock that is known to be right: to a clock that is
    /// years ahead all rows are old.
    ///
    /// # Errors
    /// Where a file cannot be read or removed. It and all later ones are still there then.
    pub fn age(&mut self, now: u64, retention: Duration) -> Result<Vec<String>, RecordError> {
        let oldest = now.saturating_sub(kept_for(retention));
        let mut removed = Vec::new();
        for name in names::list(&self.directory).map_err(RecordError::file(&self.directory))? {
            if name >= self.file.name {
                break;
            }
            let file = MonthFile::open_to_read(&self.directory, &name)?;
            let times = file.times().map_err(RecordError::sqlite(&file.path))?;
            let newest = times.map_or(file.start.previous_newest, |(_, newest)| Some(newest));
            if newest.is_some_and(|newest| newest >= oldest) {
                break;
            }
            let path = file.path.clone();
            drop(file);
            names::remove(&path).map_err(RecordError::file(&path))?;
            removed.push(name.to_string());
        }
        Ok(removed)
    }
}

/// How long rows are kept, in milliseconds.
fn kept_for(retention: Duration) -> u64 {
    u64::try_from(retention.max(RETENTION_MIN).as_millis()).unwrap_or(u64::MAX)
}
