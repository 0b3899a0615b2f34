//! `switchboard agents apply FILE`, as a process.

use std::path::Path;
use std::process::Stdio;

use prometheus::Registry;
use serde_json::{Value, json};
use switchboard::ids::AgentId;
use switchboard::node::StoreChoice;
use switchboard::store::{SharedStore, postgres};
use tokio::process::Command;

use crate::support::client::AGENT;
use crate::support::services;

/// Runs it on a file; success, standard output, standard error.
async fn apply(url: &str, file: &Path) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["agents", "apply"])
        .arg(file)
        .env("SWITCHBOARD_DATABASE_URL", url)
        .env("SWITCHBOARD_LOG", "off")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn file(tool_url: &str) -> Value {
    json!({"agents": [
        {"id": AGENT, "name": "Ann", "instructions": "Be kind.", "maxIterations": 3, "tools": [{
            "name": "look", "description": "Looks", "url": tool_url, "parameters": {"type": "object"},
            "headers": {"Authorization": {"env": "LOOK_KEY"}},
        }]},
        {"id": "00000000-0000-4000-8000-000000000002", "name": "Bob", "instructions": "", "model": "big"},
    ]})
}

async fn open(url: &str) -> SharedStore {
    StoreChoice::Postgres(postgres::Config::new(url)).open(&Registry::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_applied_wholly_as_often_as_one_likes_and_a_bad_one_not_at_all() {
    let url = services::database().await;
    let path = std::env::temp_dir().join(format!("switchboard-agents-{}.json", uuid::Uuid::new_v4()));
    let write = |value: &Value| std::fs::write(&path, value.to_string()).unwrap();
    write(&file("https://tools.example/look"));
    let (ok, said, failed) = apply(&url, &path).await;
    assert!(ok && said.contains("2 agents declared, 2 of them new or changed"), "{said}{failed}");
    let (ok, said, _) = apply(&url, &path).await;
    assert!(ok && said.contains("0 of them new or changed"), "{said}");
    let id: AgentId = AGENT.parse().unwrap();
    let store = open(&url).await;
    let agent = store.agent(id).await.unwrap().unwrap();
    assert_eq!((agent.name.as_str(), agent.max_iterations, agent.tools.len()), ("Ann", Some(3), 1));
    assert_eq!(agent.tools[0].headers["Authorization"].env, "LOOK_KEY");

    let mut bad = file("gopher://x");
    bad["agents"][0]["name"] = json!("Changed");
    bad["agents"][1]["modle"] = json!("small");
    write(&bad);
    let (ok, _, said) = apply(&url, &path).await;
    assert!(!ok && said.contains("/agents/0/tools/0/url: ") && said.contains("/agents/1: "), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(store.agent(id).await.unwrap().unwrap(), agent);

    write(&file("https://tools.example/other"));
    let (ok, said, _) = apply(&url, &path).await;
    assert!(ok && said.contains("1 of them new or changed"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let (ok, _, said) = apply(&url, &path).await;
    assert!(!ok && said.contains("switchboard-agents-"), "{said}");
}
