//! The chaos suite on a small scale: the program breaks a cluster of its own for some seconds and judges what it did.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

/// Seconds of load: enough for most kinds of fault; the verdict is looked at for that.
const SECONDS: &str = "7";

async fn chaos(folder: &str, arguments: &[&str]) -> (Output, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg("chaos").args(arguments).arg("--folder").arg(&folder);
    (command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the program runs"), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_its_promises_while_everything_breaks() {
    let run = ["--seed", "7", "--seconds", SECONDS, "--clients", "9", "--lease-seconds", "1"];
    let (output, folder) = chaos("chaos", &run).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "see {}\n{said}", folder.display());
    let verdict: Value = serde_json::from_slice(&std::fs::read(folder.join("verdict.json")).unwrap()).unwrap();
    assert_eq!(verdict["violations"], 0);
    let counts = &verdict["counts"];
    for what in ["accepted", "completed", "cuts", "tool_calls"] {
        assert!(counts[what].as_u64().is_some_and(|count| count > 0), "no {what} in {counts}");
    }
    assert!(counts["faults"].as_object().is_some_and(|kinds| kinds.len() > 5), "{counts}");
    let (judged, _) = chaos("judged", &["--judge", folder.join("history.jsonl").to_str().unwrap()]).await;
    assert!(judged.status.success() && said.ends_with(&*String::from_utf8_lossy(&judged.stdout)), "judged again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_promise_in_a_history_is_told_and_fails_the_program() {
    let history = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken.jsonl");
    let lines = [
        r#"{"at_us":0,"what":"session","reader":1,"session":"s","conversation":"c"}"#,
        r#"{"at_us":1,"what":"asked","reader":1,"request":"r1","ask":{"ask":"send","message":"m"}}"#,
        r#"{"at_us":2,"what":"saw","reader":1,"request":"r1","seen":{"seen":"accepted"}}"#,
    ];
    std::fs::write(&history, lines.join("\n")).unwrap();
    let (output, _) = chaos("broken", &["--judge", history.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("r1 was accepted and never ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_does_not_exist_is_named_with_those_that_do() {
    let (output, _) = chaos("none", &["--faults", "pause,fire"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("'fire' is no fault") && said.contains("kill_holder"), "{said}");
}
