//! Imports run downwards: each layer knows those below it, and no file is part of a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, UseTree};

/// The layers of gateway-common, the lowest first: modules of one layer do not know each other.
const COMMON: &[&[&str]] = &[
    &["branchless", "frame", "hash", "packet", "words"],
    &["limit"],
    &["verdict"],
    &["wire"],
    &["abi"],
    &["prefixes", "source", "tables"],
    &["env"],
    &["state"],
    &["stage"],
    &["pipeline"],
    &["host"],
];

/// The same of gateway-ebpf.
const EBPF: &[&[&str]] = &[
    &["array", "atomics", "constants", "frame", "inner_map", "sock_tuple"],
    &["maps"],
    &["barrier", "drop_cache", "live_entry", "reply", "socket"],
    &["clock", "receiver"],
    &["env"],
    &["subprog"],
];

/// The same of gateway-user.
const USER: &[&[&str]] = &[
    &["escalation", "link_layer", "model", "net", "places", "prefixes", "record", "state_file"],
    &["config", "control", "drops", "lockout", "metrics"],
    &["exposure", "finer"],
    &["bans", "policy"],
    &["connections", "kernel", "live", "replay"],
    &["store"],
    &["event_rows"],
    &["daemon"],
    &["cli"],
    &["doctor"],
];

/// A module of a crate, as a path from its root.
type Module = Vec<String>;
/// Which modules each module imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The imports of a file.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.0.push(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // Tests may look anywhere.
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

impl Paths {
    fn tree(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(before, &path.tree);
                before.pop();
            }
            UseTree::Name(name) => self.leaf(before, name.ident.to_string()),
            UseTree::Rename(name) => self.leaf(before, name.ident.to_string()),
            UseTree::Glob(_) => self.0.push(before.clone()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }

    fn leaf(&mut self, before: &[String], name: String) {
        let mut path = before.to_vec();
        if name != "self" {
            path.push(name);
        }
        self.0.push(path);
    }
}

/// The Rust files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The module that a file is.
fn module(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).expect("below the source").with_extension("");
    let mut parts: Module = path.iter().map(|part| part.to_str().expect("a name").to_owned()).collect();
    parts.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
    parts
}

/// What a path of a module means from the crate's root; none where it is of another crate.
fn absolute(of: &Module, path: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
    let mut path = path.iter().map(String::as_str).peekable();
    let mut base = of.clone();
    match path.peek() {
        Some(&"crate") => {
            path.next();
            base.clear();
        }
        Some(&"self") => _ = path.next(),
        Some(&"super") => {
            while path.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        Some(first) => {
            let child = [base.clone(), vec![(*first).to_owned()]].concat();
            modules.contains(&child).then_some(())?;
        }
        None => return None,
    }
    base.extend(path.map(str::to_owned));
    // The longest part of it that is a module.
    (1..=base.len()).rev().map(|length| base[..length].to_vec()).find(|part| modules.contains(part))
}

/// The imports of a crate's modules, but for its tests and those that `skip` names.
fn imports(source: &str, skip: &[&str]) -> Imports {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let of_product = |file: &PathBuf| {
        let module = module(&source, file);
        !module.iter().any(|part| part == "tests")
            && !module.first().is_some_and(|first| skip.contains(&first.as_str()))
    };
    let files: Vec<PathBuf> = files(&source).into_iter().filter(of_product).collect();
    let modules: BTreeSet<Module> = files.iter().map(|file| module(&source, file)).collect();
    let of_file = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a file of the product");
        let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut paths = Paths::default();
        paths.visit_file(&tree);
        let module = module(&source, file);
        let imported = paths.0.iter().filter_map(|path| absolute(&module, path, &modules));
        let others = imported.filter(|other| *other != module && !other.is_empty()).collect();
        (module, others)
    };
    files.iter().map(of_file).filter(|(module, _)| !module.is_empty()).collect()
}

/// The imports that do not run downwards.
fn upward(layers: &[&[&str]], imports: &Imports) -> Vec<String> {
    let layer = |module: &Module| layers.iter().position(|names| names.contains(&module[0].as_str()));
    let mut wrong = Vec::new();
    for (module, others) in imports {
        let Some(own) = layer(module) else {
            wrong.push(format!("{} is in no layer", module.join("::")));
            continue;
        };
        for other in others {
            if other[0] != module[0] && layer(other).is_none_or(|of_other| of_other >= own) {
                wrong.push(format!("{} imports {}", module.join("::"), other.join("::")));
            }
        }
    }
    wrong
}

/// The modules that import themselves by way of others. A parent that uses its child, which uses what else the parent has, is no circle: they
/// are one module in several files.
fn circles(imports: &Imports) -> Vec<String> {
    let is_family = |one: &Module, other: &Module| one.starts_with(other) || other.starts_with(one);
    let reached = |start: &Module| {
        let mut seen = BTreeSet::new();
        let mut left = vec![start];
        while let Some(module) = left.pop() {
            for other in imports.get(module).into_iter().flatten().filter(|other| !is_family(module, other)) {
                if seen.insert(other) {
                    left.push(other);
                }
            }
        }
        seen
    };
    let in_circle = imports.keys().filter(|module| reached(module).contains(module));
    in_circle.map(|module| module.join("::")).collect()
}

#[test]
fn imports_run_downwards() {
    for (source, skip, layers) in [
        ("../gateway-common/src", &[][..], COMMON),
        ("../gateway-ebpf/src", &["lab"][..], EBPF),
        ("../gateway-user/src", &[][..], USER),
    ] {
        let imports = imports(source, skip);
        assert!(imports.len() > 10, "{source}: {} modules", imports.len());
        assert_eq!(upward(layers, &imports), Vec::<String>::new(), "{source}");
        assert_eq!(circles(&imports), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn an_import_that_is_turned_round_is_found() {
    let turned = |from: &str, to: &str| {
        let mut imports = imports("../gateway-common/src", &[]);
        let path = |module: &str| module.split("::").map(str::to_owned).collect::<Module>();
        let other = path(to);
        imports.get_mut(&path(from)).unwrap_or_else(|| panic!("no {from}")).insert(other);
        imports
    };
    assert_eq!(upward(COMMON, &turned("state::bans", "stage::lists")), ["state::bans imports stage::lists"]);
    assert_eq!(upward(COMMON, &turned("env", "pipeline")), ["env imports pipeline"]);
    assert_eq!(
        circles(&turned("stage::packet_state", "stage::quic")),
        ["stage::packet_state", "stage::quic"]
    );
}
