//! What the documentation says of reasons is what the code says.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gateway_common::verdict::Reason;

/// The page, from this crate's directory.
const PAGE: &str = "../docs/packet-path.md";
const BEGIN: &str = "<!-- reasons -->\n";
const END: &str = "<!-- /reasons -->";
/// With this set the page is written instead of compared.
const BLESS: &str = "GATEWAY_BLESS";

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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).expect("the page is there");
    let (head, rest) = page.split_once(BEGIN).expect("a marker before the table");
    let (_, tail) = rest.split_once(END).expect("a marker behind the table");
    let right = [head, BEGIN, &table(), END, tail].concat();
    if std::env::var_os(BLESS).is_some() {
        fs::write(&path, right).expect("the page can be written");
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
