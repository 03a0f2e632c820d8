//! Checkpoints: those in the files, and those that were kept elsewhere.

use std::collections::VecDeque;

use super::{
    super::{Checkpoint, NoteError, Verifier, file::MonthFile, note, tree::Tree},
    Findings, Name, Report, What,
};

/// A checkpoint whose signature is good.
#[derive(Clone, Debug)]
struct Claim {
    checkpoint: Checkpoint,
    /// Its number among those kept elsewhere.
    kept: Option<u64>,
}

/// What was signed, in the order of sizes.
#[derive(Debug)]
pub(super) struct Signed {
    verifiers: Vec<Verifier>,
    /// Those kept elsewhere that are not compared yet.
    kept: VecDeque<Claim>,
    /// Those of the file that are not compared yet.
    stored: VecDeque<Claim>,
    /// The last size at which one fit.
    good: Option<u64>,
    /// Checkpoints that fit.
    count: u64,
    /// The last that fit of those kept elsewhere.
    kept_good: Option<u64>,
    /// Those kept elsewhere whose rows are not there to compare.
    unchecked: u64,
    /// The first of the file that does not fit.
    bad: Option<Bad>,
}

/// A checkpoint of a file that does not fit.
#[derive(Clone, Copy, Debug)]
struct Bad {
    size: u64,
    /// The size at which one fitted before.
    good: u64,
    /// How many more do not fit.
    more: u64,
}

impl Signed {
    pub(super) fn new(verifiers: Vec<Verifier>, notes: &[String], findings: &mut Findings) -> Self {
        let mut kept = Vec::new();
        for (id, note) in (1..).zip(notes) {
            match claim(note, &verifiers) {
                Ok(checkpoint) => kept.push(Claim { checkpoint, kept: Some(id) }),
                Err(why) => findings.add(None, None, What::Forged { id, why }),
            }
        }
        kept.sort_by_key(|claim| claim.checkpoint.size);
        let (kept, stored) = (kept.into(), VecDeque::new());
        Self { verifiers, kept, stored, good: None, count: 0, kept_good: None, unchecked: 0, bad: None }
    }

    /// Reads the checkpoints of a file.
    pub(super) fn read(&mut self, file: &MonthFile, findings: &mut Findings) -> rusqlite::Result<()> {
        self.stored.clear();
        let name = Some(&file.name);
        let first = file.start.tree.size();
        let mut statement = file.connection.prepare("SELECT id, note FROM checkpoints ORDER BY id")?;
        let mut rows = statement.query(())?;
        let mut next = 1;
        while let Some(row) = rows.next()? {
            let id: u64 = row.get(0)?;
            if id > next {
                findings.add(name, None, What::CheckpointsMissing(next, id - 1));
            }
            next = id + 1;
            match claim(row.get_ref(1)?.as_str()?, &self.verifiers) {
                Err(why) => findings.add(name, None, What::Forged { id, why }),
                Ok(checkpoint) if checkpoint.size < first || (id == 1 && checkpoint.size != first) => {
                    findings.add(name, None, What::Misplaced(id));
                }
                Ok(checkpoint) => self.stored.push_back(Claim { checkpoint, kept: None }),
            }
        }
        if next == 1 {
            findings.add(name, None, What::CheckpointsMissing(1, 1));
        }
        self.stored.make_contiguous().sort_by_key(|claim| claim.checkpoint.size);
        Ok(())
    }

    /// The tree is this large now: whether it is what was signed. Cheap where nothing was signed at this size.
    pub(super) fn compare(&mut self, tree: &Tree, file: &MonthFile, findings: &mut Findings) {
        while let Some(claim) = self.due(tree.size()) {
            let Claim { checkpoint: Checkpoint { size, root, .. }, kept } = claim;
            if root == tree.root() {
                self.count += 1;
                self.good = Some(size);
                self.kept_good = kept.map(|_| size).or(self.kept_good);
                continue;
            }
            let good = self.good.unwrap_or(file.start.tree.size());
            if kept.is_some() {
                findings.add(None, Some(good..size), What::Kept);
            } else if let Some(bad) = &mut self.bad {
                bad.more += 1;
            } else {
                self.bad = Some(Bad { size, good, more: 0 });
            }
        }
    }

    /// The next one to compare with a tree of this size.
    fn due(&mut self, size: u64) -> Option<Claim> {
        while self.kept.pop_front_if(|claim| claim.checkpoint.size < size).is_some() {
            self.unchecked += 1;
        }
        let is_due = |claim: &mut Claim| claim.checkpoint.size == size;
        self.kept.pop_front_if(is_due).or_else(|| self.stored.pop_front_if(is_due))
    }

    /// The file ends here.
    pub(super) fn end_of_file(&mut self, end: u64, file: &Name, findings: &mut Findings) {
        if let Some(Bad { size, good, more }) = self.bad.take() {
            findings.add(Some(file), Some(good..size), What::Checkpoint { size, more });
        }
        if let Some(size) = self.stored.drain(..).map(|claim| claim.checkpoint.size).max()
            && size > end
        {
            findings.add(Some(file), Some(end..size), What::Cut);
        }
    }

    /// The record ends here.
    pub(super) fn finish(mut self, end: u64, findings: &mut Findings, report: &mut Report) {
        for claim in self.kept.drain(..) {
            let size = claim.checkpoint.size;
            if size > end {
                findings.add(None, Some(end..size), What::RolledBack(size));
            } else {
                self.unchecked += 1;
            }
        }
        if self.good.is_none() {
            findings.add(None, None, What::Unsigned);
        }
        report.checkpoints = self.count;
        report.unchecked = self.unchecked;
        (report.signed, report.kept) = (self.good, self.kept_good);
    }
}

fn claim(note: &str, verifiers: &[Verifier]) -> Result<Checkpoint, NoteError> {
    Checkpoint::parse(note::open(note, verifiers)?).ok_or(NoteError::Malformed)
}
