//! The program's debugging log, put into words: it logs a verdict as two numbers, since the verifier would follow every
//! string.

use gateway_common::verdict::{Action, Reason};
use log::{Log, Metadata, Record};

/// Hands what the program logs to the process's log.
#[derive(Clone, Copy, Debug)]
pub struct VerdictLog;

impl Log for VerdictLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ::log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = in_words(&record.args().to_string());
        ::log::logger()
            .log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{text}")).build());
    }

    fn flush(&self) {
        ::log::logger().flush();
    }
}

/// `1 42` as `drop: not_tls`; anything else as it is.
fn in_words(text: &str) -> String {
    let verdict = text.split_once(' ').and_then(|(action, reason)| {
        let action = Action::ALL.get(action.parse::<usize>().ok()?)?;
        Some((action, Reason::ALL.get(reason.parse::<usize>().ok()?)?))
    });
    match verdict {
        Some((action, reason)) => format!("{}: {}", action.name(), reason.name()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words() {
        let text = format!("{} {}", Action::Drop as u8, Reason::NotTls as u8);
        assert_eq!(in_words(&text), "drop: not_tls");
        assert_eq!(in_words("1 999"), "1 999");
        assert_eq!(in_words("something else"), "something else");
    }
}
