//! The tree is the architecture: arrows between modules point one way.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules in the order in which they may use each other: only what stands in an earlier row, or in one's own module.
const ROWS: [&[&str]; 14] = [
    &["ids", "clock", "secret", "limits", "shutdown", "telemetry"],
    &["protocol", "store", "bus", "model"],
    &["knowledge"],
    &["agent"],
    &["agents"],
    &["turn"],
    &["session"],
    &["socket"],
    &["http"],
    &["node"],
    &["config"],
    &["dev"],
    &["chaos"],
    &["main", "lib"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file uses by `crate::` or `switchboard::`.
fn used(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .flat_map(|rest| {
            let listed = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let names = listed.map_or_else(|| vec![rest.as_str()], |names| names.split(',').collect());
            names.into_iter().map(module).collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn module(path: &str) -> String {
    path.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
}

#[test]
fn no_module_uses_one_above_it() {
    let rank: HashMap<&str, usize> =
        ROWS.iter().enumerate().flat_map(|(row, names)| names.iter().map(move |name| (*name, row))).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut arrows) = (Vec::new(), 0);
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let own = module(relative.to_str().unwrap());
        let own_rank = *rank.get(own.as_str()).unwrap_or_else(|| panic!("{own} has no place in the order"));
        for used in used(&fs::read_to_string(&file).unwrap()) {
            let Some(used_rank) = rank.get(used.as_str()) else { panic!("{used}, used in {relative:?}, has no place") };
            arrows += 1;
            assert!(used == own || *used_rank < own_rank, "{own} must not use {used} ({relative:?})");
        }
    }
    assert!(arrows > 100, "only {arrows} arrows were read; the reader of `use` lines must be broken");
}

#[test]
fn the_reader_of_use_lines_sees_every_form() {
    assert_eq!(used("use crate::store::{A, B};\nlet x = crate::ids::TurnId::new();"), ["store", "ids"]);
    assert_eq!(used("use crate::{session, socket, turn};"), ["session", "socket", "turn"]);
    assert_eq!(used("// use crate::store;\n//! crate::bus"), Vec::<String>::new());
}
