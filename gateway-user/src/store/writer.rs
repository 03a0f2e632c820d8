//! The thread that writes the state.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    StoreOptions,
    recorder::{Outgoing, Recorder},
    state::{Batch, Kept, Row, State, StateError},
};
use crate::{
    bans::{Claim, ClaimKey},
    live::now_ms,
    record::Kind,
    state_file,
};

/// Rows that wait in memory for a disk that takes none; further ones are counted and lost.
pub const ROWS_MAX: usize = 65_536;
/// A database has at least one page: of so many bytes, or more (SQLite, Database File Format, section 1.3.2).
const SMALLEST: u64 = 512;
/// How often it is tried again to write.
const AGAIN: Duration = Duration::from_secs(1);

/// The state database, written in the background.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// There is something to do.
    called: Condvar,
    /// Something was done.
    done: Condvar,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is not written yet. Claims and facts are there once by their keys, so it is never larger than the state itself.
#[derive(Debug, Default)]
struct Pending {
    claims: BTreeMap<ClaimKey, Option<Claim>>,
    facts: BTreeMap<String, Option<String>>,
    rows: VecDeque<Row>,
    /// Rows that found no room, ever, and those of them that the record does not tell of yet.
    lost: u64,
    unrecorded: u64,
    /// The ones who wait for an answer.
    waiting: Vec<oneshot::Sender<bool>>,
    /// The thread is writing.
    is_busy: bool,
    /// Why the last try failed.
    trouble: Option<String>,
    /// What is not as it should be with the record.
    record_troubles: Vec<String>,
    is_large: bool,
    /// Rows of the record.
    recorded: u64,
    /// When the first of the rows that wait for the record came; Unix milliseconds.
    waiting_since: Option<u64>,
    /// What the configuration says now.
    options: Option<StoreOptions>,
    ends: bool,
    /// The thread has ended.
    is_over: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.facts.is_empty() && self.rows.is_empty()
    }

    fn add(&mut self, batch: Batch) {
        self.claims.extend(batch.claims);
        self.facts.extend(batch.facts);
        for row in batch.rows {
            self.waiting_since.get_or_insert(row.at);
            if self.rows.len() < ROWS_MAX {
                self.rows.push_back(row);
            } else {
                self.lost += 1;
                self.unrecorded += 1;
            }
        }
    }

    fn take(&mut self) -> Batch {
        Batch {
            claims: std::mem::take(&mut self.claims),
            facts: std::mem::take(&mut self.facts),
            rows: std::mem::take(&mut self.rows).into(),
        }
    }

    /// Puts a batch that was not written before all that came since.
    fn put_back(&mut self, batch: Batch) {
        let newer = self.take();
        self.add(batch);
        self.add(newer);
    }
}

impl Store {
    /// Reads what was kept, as far as it can be read, and begins to write. A damaged file is put aside. Whatever is wrong
    /// is told, and nothing of it keeps the daemon from starting.
    pub fn start(path: &Path, options: StoreOptions) -> (Self, Kept, Vec<String>) {
        let mut warnings = Vec::new();
        let (opened, kept) = open(path, &mut warnings);
        let shared = Arc::new(Shared::default());
        let state = match opened {
            Ok(state) => Some(state),
            Err(error) => {
                shared.pending().trouble = Some(error.to_string());
                None
            }
        };
        let recorder = Recorder::new(path.parent().unwrap_or(Path::new(".")), options);
        let writer = Writer { shared: Arc::clone(&shared), path: path.to_owned(), state, recorder };
        let begun = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        if let Err(error) = begun {
            warnings.push(format!("cannot keep anything: no thread for it ({error})"));
        }
        (Self { shared }, kept, warnings)
    }

    /// Has a batch written. The answer comes once it is on the disk (true), or once a try has failed (false): then it is
    /// tried again until it is done.
    pub fn write(&self, batch: Batch) -> oneshot::Receiver<bool> {
        let (answer, written) = oneshot::channel();
        let mut pending = self.shared.pending();
        pending.add(batch);
        pending.waiting.push(answer);
        drop(pending);
        self.shared.called.notify_one();
        written
    }

    /// Why what should be written is not.
    pub fn trouble(&self) -> Option<String> {
        self.shared.pending().trouble.clone()
    }

    /// What is not as it should be with the record, a sentence each.
    pub fn record_troubles(&self) -> Vec<String> {
        self.shared.pending().record_troubles.clone()
    }

    /// Whether the record has more bytes than it should: it is to get less of what is still to come.
    pub fn is_large(&self) -> bool {
        self.shared.pending().is_large
    }

    /// Rows of the record, and since when the oldest waits that it has not yet, in Unix milliseconds.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let pending = self.shared.pending();
        (pending.recorded, pending.waiting_since)
    }

    /// Goes on as the configuration says now.
    pub fn set_options(&self, options: StoreOptions) {
        self.shared.pending().options = Some(options);
        self.shared.called.notify_one();
    }

    /// Rows for the record that were lost: a disk took none for too long.
    pub fn lost(&self) -> u64 {
        self.shared.pending().lost
    }

    /// Waits until all is written, at most for this time and only while there is no trouble; whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut pending = self.shared.pending();
        while (!pending.is_empty() || pending.is_busy) && pending.trouble.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.done.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        pending.is_empty()
    }

    /// Ends, once all is written and recorded, or this time is over; whether all was.
    pub fn close(&mut self, patience: Duration) -> bool {
        let mut pending = self.shared.pending();
        pending.ends = true;
        self.shared.called.notify_one();
        let goes_on = |pending: &mut Pending| !pending.is_over;
        let waited = self.shared.done.wait_timeout_while(pending, patience, goes_on);
        pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        pending.is_over && pending.is_empty()
    }
}

/// The file, and what is in it. A damaged one is put aside, and another takes its place.
fn open(path: &Path, warnings: &mut Vec<String>) -> (Result<State, StateError>, Kept) {
    // SQLite takes an empty file for a new database, and one of a few bytes too.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() < SMALLEST) {
        warnings.push(format!(
            "{} was empty or cut short: what bans, trusted prefixes, limits and modes it had is gone",
            path.display()
        ));
    }
    let whole = || {
        let state = State::open(path)?;
        let kept = state.load()?;
        Ok::<_, StateError>((state, kept))
    };
    let mut opened = whole();
    if let Err(error) = &opened
        && error.is_damage()
    {
        let moved = state_file::moved(state_file::put_aside(path, &["-wal", "-shm"]));
        warnings.push(format!(
            "cannot read {error}; {moved}, and the bans, trusted prefixes, limits and modes that it had do not hold"
        ));
        opened = whole();
    }
    let (state, kept) = match opened {
        Ok((state, kept)) => (Ok(state), kept),
        Err(trouble) => {
            let kept = State::look(path).unwrap_or_else(|error| {
                warnings.push(format!("cannot read {error}; the bans and changes that it has do not hold"));
                Kept::default()
            });
            (Err(trouble), kept)
        }
    };
    if kept.left_out != 0 {
        let count = kept.left_out;
        warnings.push(format!("{count} rows of {} make no sense, and are left out", path.display()));
    }
    (state, kept)
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    /// Nothing while it cannot be opened.
    state: Option<State>,
    recorder: Recorder,
}

impl Writer {
    fn run(mut self) {
        self.work();
        self.shared.pending().is_over = true;
        self.shared.done.notify_all();
    }

    fn work(&mut self) {
        // What an earlier daemon left in the outbox.
        self.record(false);
        loop {
            let mut pending = self.shared.pending();
            if let Some(options) = pending.options.take() {
                self.recorder.set_options(options);
            }
            let due = Duration::from_millis(self.recorder.due_in(now_ms())).max(AGAIN);
            let due = if self.recorder.has_more { Duration::ZERO } else { due };
            let is_idle = |pending: &mut Pending| {
                pending.is_empty() && pending.waiting.is_empty() && pending.options.is_none() && !pending.ends
            };
            let waited = self.shared.called.wait_timeout_while(pending, due, is_idle);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
            if pending.is_empty() && pending.waiting.is_empty() {
                let ends = pending.ends;
                drop(pending);
                self.record(ends);
                if ends {
                    return;
                }
                continue;
            }
            let (mut batch, waiting) = (pending.take(), std::mem::take(&mut pending.waiting));
            pending.is_busy = true;
            let lost = std::mem::take(&mut pending.unrecorded);
            drop(pending);
            if lost != 0 {
                batch.rows.insert(0, gap(lost));
            }
            let written = self.write(&batch);
            let is_written = written.is_ok();
            if !is_written && lost != 0 {
                batch.rows.remove(0);
                self.shared.pending().unrecorded += lost;
            }
            if !self.finish(batch, waiting, written.err()) {
                return;
            }
            if is_written {
                self.record(false);
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StateError> {
        let state = match &mut self.state {
            Some(state) => state,
            none => none.insert(State::open(&self.path)?),
        };
        state.write(batch)
    }

    /// Takes what waits into the record, and signs a checkpoint if one is due, or at the end.
    fn record(&mut self, ends: bool) {
        let Some(state) = &mut self.state else { return };
        let now = now_ms();
        // A change that waits for its answer goes first.
        let is_urgent = || !ends && !self.shared.pending().waiting.is_empty();
        let taken = self.recorder.take(state, now, is_urgent).and_then(|warnings| {
            warnings.iter().for_each(|warning| log::error!("record: {warning}"));
            let note = self.recorder.sign(now, ends)?;
            self.recorder.age(now)?;
            Ok(note)
        });
        let trouble = match taken {
            Ok(note) => {
                // One line, so that whatever keeps the system's log keeps it.
                note.iter().for_each(|note| log::info!("record: checkpoint {:?}", note.trim_end()));
                None
            }
            Err(error) => Some(format!("record: {error}; rows wait, and go there as soon as they can")),
        };
        let mut pending = self.shared.pending();
        if trouble.is_none() && pending.rows.is_empty() && !self.recorder.has_more {
            pending.waiting_since = None;
        }
        pending.record_troubles = trouble.into_iter().chain(self.recorder.troubles()).collect();
        pending.is_large = self.recorder.is_large();
        pending.recorded = self.recorder.rows();
    }

    /// Answers; after a failure waits for the next try. Whether there is one.
    fn finish(
        &mut self,
        batch: Batch,
        waiting: Vec<oneshot::Sender<bool>>,
        error: Option<StateError>,
    ) -> bool {
        let is_written = error.is_none();
        let mut pending = self.shared.pending();
        pending.is_busy = false;
        pending.trouble = error.map(|error| error.to_string());
        if !is_written {
            pending.put_back(batch);
        }
        // Whoever waited may have gone.
        for answer in waiting {
            let _ = answer.send(is_written);
        }
        self.shared.done.notify_all();
        if is_written {
            return true;
        }
        // A file that was taken away, or a disk that was remounted, is opened anew.
        self.state = None;
        let goes_on = |pending: &mut Pending| !pending.ends;
        let waited = self.shared.called.wait_timeout_while(pending, AGAIN, goes_on);
        !waited.unwrap_or_else(PoisonError::into_inner).0.ends
    }
}

/// A row that says how many are missing.
fn gap(lost: u64) -> Row {
    let body = [("lost".to_owned(), lost.into())].into_iter().collect();
    let outgoing: Outgoing = Outgoing { kind: Kind::Gap.name().to_owned(), body, ..Outgoing::default() };
    Row { at: now_ms(), body: serde_json::to_string(&outgoing).unwrap_or_default() }
}
