//! The end of what the verifier writes: its log begins with the program's first instruction and may be megabytes long, and the
//! error stands at its end.
//!
//! The log has, of the way to the error, a line for each instruction, lines of the registers' states, and lines of source; then
//! the error in one line or several; then figures (`print_verification_stats` in kernel/bpf/verifier.c).

/// Instructions before the error that are told.
const INSTRUCTIONS: usize = 5;
/// Lines of the error that are told.
const MESSAGES: usize = 8;
/// Longest line: states of all registers take more than a screen.
const WIDTH: usize = 160;

/// The function, the last instructions, the error and the number of instructions that were gone through.
pub(super) fn end(log: &str) -> Vec<String> {
    let lines: Vec<&str> =
        log.lines().map(str::trim_end).filter(|line| Line::of(line) != Line::Noise).collect();
    let figures = lines.iter().rposition(|line| line.starts_with("processed "));
    let (way, figures) = lines.split_at(figures.unwrap_or(lines.len()));
    // Of a log that was cut there is no error to be found.
    let last = way.iter().rposition(|line| Line::of(line) == Line::Instruction);
    let (way, error) = way.split_at(last.map_or(0, |last| last + 1));
    let function = way.iter().rfind(|line| Line::of(line) == Line::Function);
    let way = way.iter().filter(|line| Line::of(line) == Line::Instruction);
    let skipped = way.clone().count().saturating_sub(INSTRUCTIONS);
    let told = function.into_iter().chain(way.skip(skipped));
    let told = told.chain(error.iter().take(MESSAGES)).chain(figures.iter().take(1));
    told.map(|line| cut(line)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// `12: (61) r2 = *(u32 *)(r1 +0)`.
    Instruction,
    /// `Validating tls() func#7...`.
    Function,
    /// States, and what the verifier tells of its own search.
    Noise,
    Other,
}

impl Line {
    fn of(line: &str) -> Self {
        const SEARCH: [&str; 9] = [
            "from ",
            "last_idx ",
            "regs=",
            "parent ",
            "mark_precise",
            "propagating ",
            "verification time ",
            "stack depth ",
            "; ",
        ];
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        match rest.strip_prefix(": ") {
            Some(rest) if rest.starts_with('(') => Self::Instruction,
            Some(_) => Self::Noise,
            None if line.starts_with("Validating ") || line.starts_with("Func#") => Self::Function,
            None if line.is_empty() || line.starts_with([' ', ';']) => Self::Noise,
            None if SEARCH.iter().any(|word| line.starts_with(word)) => Self::Noise,
            None if line.starts_with("R0") && line.contains(" R10=") => Self::Noise,
            None => Self::Other,
        }
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}
