//! Errors: their places, their help, and that none hides another.

use std::io::Write as _;

use super::super::{Config, FromOutside, Severity};
use super::cases::{BAD, Bad};
use super::refused;

fn error_lines(text: &str) -> Vec<(usize, usize)> {
    let errors = refused(text).problems.into_iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| (problem.place.line, problem.place.column)).collect()
}

#[test]
fn each_error_names_its_place_and_what_would_be_right() {
    let mut failed = Vec::new();
    for Bad { text, line, column, message, help } in BAD {
        let Err(report) = Config::parse("gateway.toml", text) else {
            failed.push(format!(
                "accepted:
{text}"
            ));
            continue;
        };
        let errors: Vec<_> =
            report.problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
        let fits = errors.iter().any(|problem| {
            (problem.place.line, problem.place.column) == (*line, *column)
                && problem.message.contains(message)
                && problem.help.contains(help)
        });
        let source = text.lines().nth(line - 1).unwrap_or_default();
        let shown = report.to_string();
        let complete = shown.contains(&format!("gateway.toml:{line}:{column}"))
            && shown.contains(source)
            && shown.contains('^')
            && shown.contains("help: ");
        if !fits || !complete {
            failed.push(format!("expected {line}:{column} {message:?} {help:?}, got:\n{shown}"));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), BAD.len(), failed.join("\n\n"));
}

#[test]
fn one_mistake_gives_one_error() {
    // The second of two cases has a mistake of its own.
    let two =
        ["[limits.neighbours]\nipv6_prefix = 56\nudp = 5", "ban = { \"\u{e4}\u{e4}\" = 1, strike = 3 }"];
    for Bad { text, .. } in BAD.iter().filter(|bad| !two.contains(&bad.text)) {
        assert_eq!(refused(text).errors(), 1, "{text}\n{}", refused(text));
    }
}

#[test]
fn all_errors_of_a_file_are_reported() {
    let text = "mode = \"on\"\n\n[limits]\nsyn = { rate = \"200\" }\nbits = 1\n\n[metrics]\nlisten = 9464\n";
    assert_eq!(error_lines(text), [(1, 8), (4, 16), (5, 1), (8, 10)]);
}

#[test]
fn a_syntax_error_does_not_hide_the_rest() {
    let text = "mode = enforce\n[limits]\nsyn = { rate = \"200\" }\n[attach]\ndriver = = \"auto\"\non_exit = \"kep\"\n";
    assert_eq!(error_lines(text), [(1, 8), (3, 16), (5, 10), (6, 11)]);
}

#[test]
fn what_a_syntax_error_swallowed_is_not_missing() {
    let text = "[[service]]\nname = api\nprotocol = \"tcp\"\nports = [443]\n";
    assert_eq!(error_lines(text), [(2, 8)]);
}

#[test]
fn what_an_open_bracket_swallowed_is_not_judged() {
    let text =
        "mode = \"on\"\n[attach]\ninterfaces = [\"eth0\"\n[limits]\nsyn = { rate = \"200/s\" }\nudp = 5\n";
    assert_eq!(error_lines(text)[0], (1, 8));
    let others = refused(text).problems.split_off(1);
    assert!(!others.is_empty() && others.iter().all(|problem| problem.message.starts_with("no valid TOML")));
}

#[test]
fn overlapping_services_are_both_shown() {
    let text = "[[service]]\nname = \"one\"\nprotocol = \"tcp\"\nports = [443]\n\
                [[service]]\nname = \"two\"\nprotocol = \"tcp\"\nports = [80, \"440-450\"]\n";
    let report = refused(text);
    let [problem] = &report.problems[..] else { panic!("{report}") };
    let related = problem.related.as_ref().unwrap();
    assert_eq!(
        (problem.place.line, problem.place.column, related.place.line, related.place.column),
        (8, 14, 4, 10)
    );
    let shown = report.to_string();
    assert!(shown.contains("ports = [80, \"440-450\"]") && shown.contains("ports = [443]"), "{shown}");
}

/// A service whose protocol or address is wrong is no second service on port 443.
#[test]
fn an_error_does_not_cause_an_overlap() {
    let second = |rest: &str| {
        format!(
            "[[service]]\nname = \"one\"\nprotocol = \"tcp\"\nports = [443]\naddresses = [\"192.0.2.1\"]\n\
             [[service]]\nname = \"two\"\nports = [443]\n{rest}\n"
        )
    };
    assert_eq!(error_lines(&second("protocol = \"upd\"")), [(9, 12)]);
    assert_eq!(error_lines(&second("addresses = [\"192.0.2\"]\nprotocol = \"tcp\"")), [(9, 14)]);
}

#[test]
fn the_picture_is_the_documented_one() {
    let report = refused("mode = \"monitor\"\n\n[limits]\nsyn = { rate = \"200\", burst = \"400\" }\n");
    let expected = "\
error: `200` has no unit of time
 --> gateway.toml:4:16
  |
4 | syn = { rate = \"200\", burst = \"400\" }
  |                ^^^^^
  |
  = help: write a rate such as 200/s, 20k/s or 30/min";
    assert_eq!(report.to_string(), expected);
    assert!(!report.render(false).contains('\u{1b}'));
    assert!(report.render(true).contains('\u{1b}'));
}

#[test]
fn problems_are_data_too() {
    let report = refused("mode = \"monitr\"");
    let json = serde_json::to_value(&report).unwrap();
    let problem = &json["problems"][0];
    assert_eq!(problem["file"], "gateway.toml");
    assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(1), Some(8)));
    assert_eq!(problem["severity"], "error");
    assert!(problem["help"].as_str().unwrap().contains("`monitor`"));
}

#[test]
fn a_line_of_a_list_that_says_nothing_is_skipped_and_told() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(
        b"; Spamhaus\xff\n192.0.2.0/24 ; SBL1\n\n  198.51.100.1/24  # host bits\n  example.com # x\r\n",
    )
    .unwrap();
    let name = file.path().to_str().unwrap();
    let config = Config::parse("gateway.toml", &format!("[lists]\nblock = [\"file:{name}\"]\n")).unwrap();
    let taken: Vec<_> = config.lists.block.iter().map(ToString::to_string).collect();
    assert_eq!(taken, ["192.0.2.0/24", "198.51.100.0/24"]);
    let told = &config.warnings.problems;
    let places: Vec<_> = told.iter().map(|p| (p.place.file.as_str(), p.place.line, p.place.column)).collect();
    assert_eq!(places, [(name, 5, 3), (name, 0, 0)]);
    assert!(
        told[1].to_string().contains("1 lines of") && told[1].to_string().contains("2 are taken"),
        "{}",
        told[1]
    );
}

#[test]
fn of_a_list_with_many_such_lines_a_few_are_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no prefix\n".repeat(1_000)).unwrap();
    let text = format!("[lists]\nblock = [\"file:{}\"]", file.path().display());
    let warnings = Config::parse("gateway.toml", &text).unwrap().warnings;
    assert_eq!(warnings.problems.len(), 21);
    assert!(warnings.to_string().contains("1000 lines of"), "{warnings}");
    assert_eq!(warnings.in_short("gateway.toml").count(), 1);
}

#[test]
fn a_list_that_was_cut_off_or_covers_too_much_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[lists]\nblock = [\"192.0.2.1\", \"file:{}\"]", file.path().display());
    let load = |list: &str| {
        std::fs::write(file.path(), list).unwrap();
        let config = Config::parse("gateway.toml", &text).unwrap();
        (config.lists.block.len(), config.warnings.to_string())
    };
    let (taken, told) = load("{\"cidr\":\"198.51.100.0/24\"}\n{\"type\":\"metadata\",\"records\":2}\n");
    assert!(taken == 2 && told.contains("was to have 2 entries, and has 1"), "{taken}: {told}");
    let wide = |count: u32| (0..count).map(|first| format!("{first}.0.0.0/8\n")).collect::<String>();
    assert_eq!(load(&wide(64)), (65, String::new()));
    let (taken, told) = load(&wide(65));
    assert!(taken == 1 && told.contains("held back") && told.contains("IPv4"), "{taken}: {told}");
    // What is in others does not count twice.
    assert_eq!(load(&(wide(60) + &"10.0.0.0/8\n11.0.0.0/9\n".repeat(40))), (141, String::new()));
    let (taken, told) =
        load(&(0x2000_u32..0x2801).map(|first| format!("{first:x}::/16\n")).collect::<String>());
    assert!(taken == 1 && told.contains("IPv6"), "{taken}: {told}");
}

#[test]
fn at_a_start_a_list_that_cannot_be_read_is_left_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[lists]\nblock = [\"192.0.2.1\", \"file:/nowhere/list.txt\"]\n").unwrap();
    assert!(Config::load(file.path()).is_err());
    let config = Config::load_with(file.path(), FromOutside::LeftOut).unwrap();
    assert_eq!(config.lists.block.len(), 1);
    assert!(config.warnings.to_string().contains("the list is left out"), "{}", config.warnings);
}

#[test]
fn a_prefix_in_two_files_is_allowed_and_shown_in_both() {
    let allow = tempfile::NamedTempFile::new().unwrap();
    let block = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(allow.path(), "192.0.2.1\n").unwrap();
    std::fs::write(block.path(), "192.0.2.0/24\n192.0.2.1/32\n").unwrap();
    let (allow, block) = (allow.path().display().to_string(), block.path().display().to_string());
    let text = format!("[lists]\nallow = [\"file:{allow}\"]\nblock = [\"file:{block}\"]");
    let report = Config::parse("gateway.toml", &text).unwrap().warnings;
    let [problem] = &report.problems[..] else { panic!("{report}") };
    let related = &problem.related.as_ref().unwrap().place;
    assert_eq!((&problem.place.file, problem.place.line), (&block, 2));
    assert_eq!((&related.file, related.line), (&allow, 1));
}

#[test]
fn too_many_of_anything_is_an_error() {
    let services = |count: usize, address: fn(usize) -> String| -> String {
        let service = |i| {
            let address = address(i);
            format!("[[service]]\nname = \"s{i}\"\nprotocol = \"tcp\"\nports = [1]\n{address}\n")
        };
        (0..count).map(service).collect()
    };
    let crowded = services(9, |i| format!("addresses = [\"192.0.2.{i}\"]"));
    let report = refused(&crowded);
    assert!(report.to_string().contains("more than 8 services have port 1"), "{report}");
    assert_eq!(report.errors(), 1);
    super::accepted(&services(8, |i| format!("addresses = [\"192.0.2.{i}\"]")));

    let class = |i: usize| format!("[[class]]\nname = \"c{i}\"\nsources = [\"10.0.{i}.0/24\"]\n");
    let classes = |count| (0..count).map(class).collect::<String>();
    super::accepted(&classes(63));
    let report = refused(&classes(64));
    assert_eq!(error_lines(&classes(64)), [(3 * 63 + 2, 8)], "{report}");
}

#[test]
fn an_unreadable_file_is_an_error() {
    let report = Config::load("/nowhere/gateway.toml".as_ref()).unwrap_err();
    let shown = report.to_string();
    assert!(shown.contains("/nowhere/gateway.toml") && shown.contains("help: create the file"), "{shown}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"mode = \"off\"\n# \xff\n").unwrap();
    let report = Config::load(file.path()).unwrap_err();
    assert!(report.to_string().contains("no UTF-8 text: line 2"), "{report}");
}
