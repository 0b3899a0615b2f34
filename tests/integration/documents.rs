//! What the documents say of the program is what the program does.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use switchboard::config::Cli;
use switchboard::model::Scripted;

use crate::support::node::TestNode;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_readme_has_every_setting_with_its_default_and_no_other() {
    let readme = document("README.md");
    let command = Cli::command();
    let mut expected: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| {
            let name = argument.get_env()?.to_str()?.strip_prefix("SWITCHBOARD_")?.to_owned();
            let default = argument.get_default_values().first().map(|value| value.to_str().unwrap().to_owned());
            Some(format!("| `{name}` | {} |", default.map_or("–".to_owned(), |value| format!("`{value}`"))))
        })
        .collect();
    let mut listed: Vec<String> = readme
        .lines()
        .filter(|line| {
            line.starts_with("| `")
                && line
                    .split('|')
                    .nth(1)
                    .unwrap()
                    .trim()
                    .chars()
                    .all(|c| c == '`' || c == '_' || c.is_ascii_uppercase())
        })
        .map(|line| line.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|")
        .collect();
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = document("README.md");
    let tests = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration")).unwrap();
    let sources: String =
        tests.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok()).collect::<Vec<_>>().join("\n");
    let mut named = 0;
    for name in readme.split('`').filter(|word| word.contains("::") && !word.contains(' ')) {
        let (module, function) = name.split_once("::").unwrap();
        assert!(sources.contains(&format!("mod {module};")), "no test module {module}");
        assert!(function.is_empty() || sources.contains(&format!("fn {function}(")), "no test {name}");
        named += 1;
    }
    assert!(named > 5, "only {named} tests are named");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_the_documents_name_exists() {
    let node = TestNode::alone(&Scripted::default()).await;
    let (_, metrics) = node.internal("/metrics").await;
    let text = document("README.md") + &document("ARCHITECTURE.md");
    let named: Vec<&str> = text.split('`').filter(|word| word.starts_with("switchboard_")).collect();
    for name in &named {
        // One label at most is named, beside those that are not.
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let is_it = |line: &str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label.trim_end_matches('}')))
        };
        assert!(metrics.lines().any(is_it), "no metric {name} with {label:?}");
    }
    assert!(named.len() > 8, "only {named:?} are named");
    node.stop().await;
}
