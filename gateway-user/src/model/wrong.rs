//! What is wrong with a value that somebody wrote, before it is known where the value stands.

use std::fmt;

/// What is wrong with a value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

/// The longest text that [`quoted`] repeats, in characters.
const QUOTED_MAX: usize = 60;

/// The operator's text as it may stand in a message: control characters, which a terminal would obey, are escaped.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_MAX).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("`{}{dots}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// Which of `known` the author of `word` may have meant.
pub(crate) fn suggestion<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    /// From these similarities on (0 to 1) two words are likely the same with a slip. Jaro-Winkler sees what starts
    /// alike, the edit distance a wrong letter in a short word.
    const ALIKE: f64 = 0.8;
    const FEW_EDITS: f64 = 0.6;
    let word = word.to_lowercase();
    let start = |candidate: &str| strsim::jaro_winkler(&word, candidate);
    let edits = |candidate: &str| strsim::normalized_damerau_levenshtein(&word, candidate);
    let likely = known.iter().copied().filter(|known| start(known) >= ALIKE || edits(known) >= FEW_EDITS);
    likely.max_by(|one, other| start(one).total_cmp(&start(other)))
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn listed(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
