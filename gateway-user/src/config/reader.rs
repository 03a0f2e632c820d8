//! Walks over the tables of a TOML file and collects every problem on the way.

use std::ops::{Range, RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::FromOutside;
use super::problem::{Location, Problem, Related, Severity};
use super::source::Source;
use crate::model::keyword::{self, Keyword};
use crate::model::wrong::{Wrong, listed, quoted, suggestion};

/// The file under the reader, and what was found in it.
pub(super) struct Reader<'t> {
    pub(super) source: Source<'t>,
    pub(super) problems: Vec<Problem>,
    /// The syntax is broken somewhere: what is missing may have been there.
    pub(super) partial: bool,
    /// What becomes of prefix lists that cannot be read.
    pub(super) lists: FromOutside,
}

/// A value with the name of its key.
#[derive(Clone)]
pub(super) struct Item<'t> {
    /// Dotted: `limits.packets`.
    pub(super) name: String,
    /// Where the key stands; of an array's element, the element.
    pub(super) key: Range<usize>,
    /// Where the value stands.
    pub(super) at: Range<usize>,
    pub(super) value: &'t DeValue<'t>,
}

impl Item<'_> {
    /// The last word of the name: `packets`.
    pub(super) fn word(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// A table, and which keys of it were asked for: the others are unknown.
pub(super) struct Section<'t> {
    pub(super) name: String,
    /// The header, or the key where there is none.
    pub(super) at: Range<usize>,
    table: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Self { name: String::new(), at: 0..0, table, asked: Vec::new() }
    }

    /// A key's dotted name.
    pub(super) fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The value of a key.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Item<'t>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let (found, value) = self.table.get_key_value(key)?;
        Some(Item { name: self.name_of(key), key: found.span(), at: value.span(), value: value.get_ref() })
    }

    /// All values, of a table whose keys are names: it is not [finished](Self::finish).
    pub(super) fn items(&self) -> Vec<Item<'t>> {
        let item = |(key, value): (&'t toml::Spanned<_>, &'t toml::Spanned<DeValue<'t>>)| {
            let word: &std::borrow::Cow<'t, str> = key.get_ref();
            Item { name: self.name_of(word), key: key.span(), at: value.span(), value: value.get_ref() }
        };
        self.table.iter().map(item).collect()
    }

    /// The value of a key that has no default.
    pub(super) fn need(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<Item<'t>> {
        let item = self.get(key);
        if item.is_none() && !reader.partial {
            reader.error(self.at.clone(), format!("`{key}` is missing"), format!("add: {example}"));
        }
        item
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if self.asked.contains(&word) {
                continue;
            }
            let help = match suggestion(word, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", listed(&self.asked)),
            };
            let place = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
            reader.error(key.span(), format!("unknown key {}{place}", quoted(word)), help);
        }
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(name: &'t str, text: &'t str) -> Self {
        Self {
            source: Source::new(name, text),
            problems: Vec::new(),
            partial: false,
            lists: FromOutside::Needed,
        }
    }

    pub(super) fn error(&mut self, at: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.push(self.source.place(at), Severity::Error, Wrong::new(message, help), None);
    }

    pub(super) fn warn(&mut self, at: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.push(self.source.place(at), Severity::Warning, Wrong::new(message, help), None);
    }

    /// An error that two places make together.
    pub(super) fn conflict(&mut self, at: Range<usize>, wrong: Wrong, other: Range<usize>, label: String) {
        let related = Related { place: self.source.place(other), label };
        self.push(self.source.place(at), Severity::Error, wrong, Some(related));
    }

    pub(super) fn push(
        &mut self,
        place: Location,
        severity: Severity,
        wrong: Wrong,
        related: Option<Related>,
    ) {
        let Wrong { message, help } = wrong;
        self.problems.push(Problem { place, severity, message, help, related });
    }

    /// The value has another type than it should have.
    fn wrong_type(&mut self, item: &Item<'t>, wanted: &str, example: &str) {
        let (name, found) = (quoted(&item.name), with_article(item.value));
        self.error(
            item.at.clone(),
            format!("{name} must be {wanted}, not {found}"),
            format!("write: {example}"),
        );
    }

    pub(super) fn text(&mut self, item: &Item<'t>, example: &str) -> Option<&'t str> {
        let text = item.value.as_str();
        if text.is_none() {
            self.wrong_type(item, "a string", example);
        }
        text
    }

    /// A string that `parse` makes something of.
    pub(super) fn parsed<T>(
        &mut self,
        item: &Item<'t>,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(item, example)?;
        parse(text).map_err(|wrong| self.error(item.at.clone(), wrong.message, wrong.help)).ok()
    }

    pub(super) fn word<K: Keyword>(&mut self, item: &Item<'t>) -> Option<K> {
        let first = K::KEYWORDS.first().map_or("", |(word, _)| word);
        self.parsed(item, &format!("\"{first}\""), keyword::parse)
    }

    pub(super) fn flag(&mut self, item: &Item<'t>) -> Option<bool> {
        let flag = item.value.as_bool();
        if flag.is_none() {
            self.wrong_type(item, "a boolean", "true or false, without quotes");
        }
        flag
    }

    pub(super) fn number(&mut self, item: &Item<'t>, range: RangeInclusive<u32>) -> Option<u32> {
        let help = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = item.value.as_integer() else {
            self.wrong_type(item, "an integer", &help);
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("{} is out of range: {integer}", quoted(&item.name));
            self.error(item.at.clone(), message, format!("write: {help}"));
        }
        number
    }

    /// The elements of an array.
    pub(super) fn array(&mut self, item: &Item<'t>, example: &str) -> Vec<Item<'t>> {
        let Some(array) = item.value.as_array() else {
            self.wrong_type(item, "an array", example);
            return Vec::new();
        };
        let element = |(index, value): (usize, &'t toml::Spanned<DeValue<'t>>)| Item {
            name: format!("{}[{index}]", item.name),
            key: value.span(),
            at: value.span(),
            value: value.get_ref(),
        };
        array.iter().enumerate().map(element).collect()
    }

    pub(super) fn section(&mut self, item: &Item<'t>, example: &str) -> Option<Section<'t>> {
        let Some(table) = item.value.as_table() else {
            self.wrong_type(item, "a table", example);
            return None;
        };
        Some(Section { name: item.name.clone(), at: item.at.clone(), table, asked: Vec::new() })
    }

    /// The tables under `[[name]]` headers.
    pub(super) fn sections(&mut self, item: &Item<'t>) -> Vec<Section<'t>> {
        let example = format!("[[{}]] with two brackets, once for each", item.name);
        let items = self.array(item, &example);
        items.iter().filter_map(|item| self.section(item, &example)).collect()
    }
}

/// A value's type in prose.
fn with_article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}
