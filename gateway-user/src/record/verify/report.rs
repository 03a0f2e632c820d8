//! What verifying gives, and what it means.

use super::Finding;

/// What was found, and what was not looked at.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Files that were read.
    pub files: usize,
    /// Rows that were read.
    pub rows: u64,
    /// The id of the first row that is kept.
    pub first: u64,
    /// The id behind that of the last row.
    pub end: u64,
    /// Checkpoints that the rows fit.
    pub checkpoints: u64,
    /// Rows that the last of these stands for.
    pub signed: Option<u64>,
    /// Rows that the last checkpoint kept elsewhere stands for, if they fit it.
    pub kept: Option<u64>,
    /// Checkpoints kept elsewhere that are older than the first row which is kept, or in a file that cannot be read: nothing is said of
    /// them.
    pub unchecked: u64,
    /// Files that were set aside as damaged; they are not verified.
    pub aside: Vec<String>,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

impl Report {
    /// Whether everything is as it was written, as far as that can be seen: [`Self::limits`].
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    /// What this report holds against, and what not: a sentence each.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        match self.kept {
            Some(size) => limits.push(format!(
                "Rows before {size} fit a checkpoint that was kept elsewhere: what is found here of them holds against everybody, \
                 whoever has root and the key of the record included."
            )),
            None => limits.push(
                "No checkpoint that was kept elsewhere was compared: whoever has root and the key of the record can have \
                 rewritten all of it."
                    .to_owned(),
            ),
        }
        if let Some(signed) = self.signed.filter(|signed| Some(*signed) > self.kept) {
            limits.push(format!(
                "Rows from {} to {} fit a checkpoint that lies beside them: that holds against whoever can write the files, but has not the \
                 key (record.key).",
                self.kept.unwrap_or(self.first),
                signed.saturating_sub(1)
            ));
        }
        let unsigned = self.signed.max(self.kept).unwrap_or(self.first);
        if unsigned < self.end {
            limits.push(format!(
                "Rows from {unsigned} on are under no checkpoint yet: whoever can write the files can have changed, removed or added some."
            ));
        }
        limits.push(
            "Rows that were removed behind the last checkpoint, and checkpoints with them, leave no trace: a checkpoint kept elsewhere shows it."
                .to_owned(),
        );
        limits.push("That a row is here says that the gateway, or something in its place, wrote it; not that it is true.".to_owned());
        if self.unchecked > 0 {
            limits.push(format!(
                "{} checkpoints kept elsewhere could not be compared: the rows that they end with are no longer kept, or cannot be read.",
                self.unchecked
            ));
        }
        if !self.aside.is_empty() {
            limits.push(format!("Set aside as damaged, and not verified: {}.", self.aside.join(", ")));
        }
        limits
    }
}
