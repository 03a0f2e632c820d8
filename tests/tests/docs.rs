//! What the documentation says of reasons, stages and files is what the code says.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gateway_common::{tables::Table, verdict::Reason};

/// The page with the table of reasons.
const PAGE: &str = "docs/packet-path.md";
/// The file whose head shows the order of stages.
const PIPELINE: &str = "gateway-common/src/pipeline.rs";
/// The longest line, in characters, of the pages on the packet path and of the picture of its stages.
const COLUMNS: usize = 120;
const BEGIN: &str = "<!-- reasons -->\n";
const END: &str = "<!-- /reasons -->";
/// With this set the page is written instead of compared.
const BLESS: &str = "GATEWAY_BLESS";

/// A path from the project's directory.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The pages below docs, as paths from the project's directory.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(path("docs")).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect()
}

/// The first block of a page that is fenced as text.
fn picture(page: &str) -> &str {
    let (_, rest) = page.split_once("```text\n").expect("a block of text");
    rest.split_once("\n```").expect("its end").0
}

/// The same of a module's head.
fn picture_of_module(source: &str) -> String {
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<&str> = head.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    picture(&head.join("\n")).to_owned()
}

/// A page without its table of reasons, which is written by this test.
fn without_reasons(page: &str) -> String {
    match (page.split_once(BEGIN), page.split_once(END)) {
        (Some((head, _)), Some((_, tail))) => [head, tail].concat(),
        _ => page.to_owned(),
    }
}

/// The source files in directories that a page names.
fn sources(page: &str) -> Vec<&str> {
    let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    let words = page.split(|letter| !is_of_path(letter));
    words.filter(|word| word.contains('/') && word.ends_with(".rs")).collect()
}

/// The links of a page to headings: the page that they name, empty for the same one, and the heading's anchor.
fn anchors(page: &str) -> Vec<(&str, &str)> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.filter_map(|(target, _)| target.split_once('#')).filter(|(to, _)| !to.contains("://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(page: &str) -> Vec<String> {
    let of_heading = |line: &str| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?.to_lowercase();
        let kept = title.chars().filter(|&letter| letter.is_alphanumeric() || " -_".contains(letter));
        Some(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect())
    };
    page.lines().filter_map(of_heading).collect()
}

fn table() -> String {
    let mut table = String::from("| reason | verdict | stage | meaning |\n|---|---|---|---|\n");
    for reason in Reason::ALL {
        let (name, verdict, stage) = (reason.name(), reason.action().name(), reason.stage().name());
        writeln!(table, "| `{name}` | {verdict} | {stage} | {} |", reason.text())
            .expect("a string takes everything");
    }
    table
}

#[test]
fn the_table_of_reasons_is_the_enum() {
    let page = read(PAGE);
    let (head, rest) = page.split_once(BEGIN).expect("a marker before the table");
    let (_, tail) = rest.split_once(END).expect("a marker behind the table");
    let right = [head, BEGIN, &table(), END, tail].concat();
    if std::env::var_os(BLESS).is_some() {
        fs::write(path(PAGE), right).expect("the page can be written");
        return;
    }
    assert_eq!(page, right, "run: {BLESS}=1 cargo test -p gateway-tests --test docs");
}

#[test]
fn reasons_have_words_of_their_own() {
    let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::COUNT);
    for reason in Reason::ALL {
        let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(reason.name().bytes().all(snake), "{}", reason.name());
        assert!(reason.text().ends_with('.'), "{}", reason.name());
    }
}

#[test]
fn the_stages_are_drawn_once() {
    let drawn = picture_of_module(&read(PIPELINE));
    for page in ["README.md", PAGE] {
        assert_eq!(picture(&read(page)), drawn, "{page} shows other stages than {PIPELINE}");
    }
    for line in drawn.lines() {
        assert!(line.chars().count() + "//! ".len() <= COLUMNS, "{line}");
    }
}

#[test]
fn each_stage_is_drawn_and_described() {
    let (page, drawn) = (read(PAGE), picture_of_module(&read(PIPELINE)));
    for stage in Reason::ALL.iter().map(|reason| reason.stage().name()) {
        // The path itself, and what budgets ask when a limit is reached.
        if matches!(stage, "pipeline" | "own") {
            continue;
        }
        assert!(drawn.contains(&format!("─ {stage} ")), "{PIPELINE} does not draw {stage}");
        assert!(page.contains(&format!("\n## {stage}\n")), "{PAGE} does not describe {stage}");
    }
}

#[test]
fn each_table_is_described() {
    let page = read("docs/architecture.md");
    for table in Table::ALL {
        let row = format!("\n| `{}` | ", table.name());
        assert!(page.contains(&row), "docs/architecture.md does not describe the table {}", table.name());
    }
}

#[test]
fn pages_on_the_packet_path_have_short_lines() {
    for name in ["docs/architecture.md", PAGE] {
        for line in without_reasons(&read(name)).lines() {
            let width = line.chars().count();
            assert!(width <= COLUMNS, "{name}, {width} columns: {line}");
        }
    }
    let page = ["a\n", BEGIN, "table\n", END, "\nb"].concat();
    assert_eq!(without_reasons(&page), "a\n\nb");
}

#[test]
fn source_files_that_pages_name_are_there() {
    let mut count = 0;
    for name in pages() {
        let page = read(&name);
        for source in sources(&page) {
            assert!(path(source).is_file(), "{name} names {source}, which is not in the project");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} were found");
    assert_eq!(sources("`a/b.rs`, (c-d/e_f/g.rs): h.rs, i/j.md."), ["a/b.rs", "c-d/e_f/g.rs"]);
}

#[test]
fn headings_that_pages_link_to_are_there() {
    let mut count = 0;
    for name in pages().into_iter().chain(["README.md".to_owned(), "CHANGELOG.md".to_owned()]) {
        let page = read(&name);
        let directory = Path::new(&name).parent().expect("a directory");
        for (to, anchor) in anchors(&page) {
            let target = if to.is_empty() { name.clone() } else { directory.join(to).display().to_string() };
            let there = headings(&read(&target));
            assert!(there.iter().any(|heading| heading == anchor), "{name} links to {target}#{anchor}");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} were found");
    assert_eq!(anchors("[a](b.md#c-d) [e](#f) [g](h.md) [i](https://j/#k)"), [("b.md", "c-d"), ("", "f")]);
    assert_eq!(headings("# A b's, C\n#no\n### D-e"), ["a-bs-c", "d-e"]);
}
