//! The scenarios and what came of them, as the documentation has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Played;

/// Scenarios that differ in numbers alone.
#[derive(Default)]
struct Family {
    /// In the order of the scenarios.
    first: usize,
    played: usize,
    nothing: usize,
    hello: usize,
    whole: usize,
    breaches: usize,
    best_effort: bool,
}

/// A table in Markdown: a line for scenarios that differ in numbers alone.
#[must_use]
pub fn table(played: &[Played]) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for (index, one) in played.iter().enumerate() {
        let family =
            families.entry(name(&one.name)).or_insert_with(|| Family { first: index, ..Family::default() });
        family.played += 1;
        let empty = one.read.iter().all(Vec::is_empty);
        if one.breach.is_some() && one.best_effort {
            family.best_effort = true;
        } else if one.breach.is_some() {
            family.breaches += 1;
        } else if one.whole {
            family.whole += 1;
        } else if empty {
            family.nothing += 1;
        } else {
            family.hello += 1;
        }
    }
    let mut rows: Vec<_> = families.iter().collect();
    rows.sort_by_key(|(_, family)| family.first);
    let mut text = String::from("| what is sent | played | what the application read |\n|---|---|---|\n");
    for (name, family) in rows {
        let _ = writeln!(text, "| {name} | {} | {} |", family.played, family.result());
    }
    text
}

impl Family {
    fn result(&self) -> String {
        let mut words = Vec::new();
        for (count, what) in [
            (self.whole, "all that an honest client sent"),
            (self.nothing, "nothing"),
            (self.hello, "a stream that starts with a hello"),
            (self.breaches, "**against the law**"),
        ] {
            if count == self.played {
                return what.to_owned();
            }
            if count > 0 {
                words.push(format!("{what} ({count})"));
            }
        }
        if self.best_effort {
            words.push("best effort where the server is another host".to_owned());
        }
        words.join(", ")
    }
}

/// The name with a letter for each number, and for each list of them.
fn name(name: &str) -> String {
    let mut short = String::new();
    for word in name.split(' ') {
        let bare = word.trim_start_matches(['[', '-']).trim_end_matches([',', ']']);
        let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        let shown =
            if is_number { word.replace(bare, "N").replace(['[', '-', ']'], "") } else { word.to_owned() };
        let repeats = is_number && short.ends_with("N,");
        if repeats {
            short.truncate(short.len() - 1);
            if shown.ends_with(',') {
                short.push(',');
            }
            continue;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(&shown);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn numbers_become_letters() {
        assert_eq!(name("a hello after 3 bytes of it"), "a hello after N bytes of it");
        assert_eq!(name("cut at [1, 4, 5], in the order [3, 0, 1, 2]"), "cut at N, in the order N");
        assert_eq!(name("FIN at -100, then plaintext"), "FIN at N, then plaintext");
        assert_eq!(name("major version 2"), "major version N");
    }
}
