//! The program itself: it starts, it stops, it refuses what is wrong, and its death does not end a turn.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::gateway::ScriptedGateway;
use crate::support::services;

const PATIENCE: Duration = Duration::from_secs(30);

struct Process {
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

fn switchboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Process {
    async fn start(settings: &[(&str, String)]) -> Self {
        let mut command = switchboard(&["serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
        command.envs(settings.iter().map(|(name, value)| (format!("SWITCHBOARD_{name}"), value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await.expect("in time").expect("readable").expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        Self { child, _stdout: stdout, address: address.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    async fn signal(&mut self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.expect("kill runs");
        assert!(sent.success());
    }
}

async fn cluster(gateway: &ScriptedGateway) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", services::database().await),
        ("NATS_URL", services::nats().await.url()),
        ("NATS_PREFIX", services::nats_prefix()),
        ("GATEWAY_URL", gateway.url()),
        ("MODEL", "test".to_owned()),
        ("LEASE_SECONDS", "2".to_owned()),
        ("CLOSE_SPREAD_SECONDS", "0".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_closes_sockets_with_1012_waits_for_the_turn_and_exits_with_0() {
    let gateway = ScriptedGateway::start().await;
    let settings = cluster(&gateway).await;
    let (mut stopping, other) = (Process::start(&settings).await, Process::start(&settings).await);
    let mut client = Client::connect(stopping.address).await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    let mut call = gateway.expect_request().await;
    call.send_text("before ");
    client.expect("stream_token").await;
    stopping.signal("-TERM").await;
    assert_eq!(client.closed().await, Some(1012));

    let mut client = Client::connect(other.address).await;
    client.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    call.send_text("after");
    call.finish();
    let turn = client.turn("r1").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["before after"]));
    assert_eq!(turn.text, "", "a client that may have seen text gets no second copy");
    let status = timeout(PATIENCE, stopping.child.wait()).await.expect("it exits").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_outlasts_the_drain_goes_on_elsewhere_and_costs_no_attempt() {
    let gateway = ScriptedGateway::start().await;
    let mut settings = cluster(&gateway).await;
    settings.push(("DRAIN_SECONDS", "1".to_owned()));
    a_turn_is_given_back(&gateway, &settings, &["-TERM"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_gives_turns_back_at_once() {
    let gateway = ScriptedGateway::start().await;
    let mut settings = cluster(&gateway).await;
    settings.push(("DRAIN_SECONDS", "600".to_owned()));
    a_turn_is_given_back(&gateway, &settings, &["-TERM", "-TERM"]).await;
}

/// Stops a node in the middle of a turn with these signals, and sees the turn end on another as its first attempt.
async fn a_turn_is_given_back(gateway: &ScriptedGateway, settings: &[(&'static str, String)], signals: &[&str]) {
    let mut stopping = Process::start(settings).await;
    let mut client = Client::connect(stopping.address).await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    let mut call = gateway.expect_request().await;
    call.send_text("cut ");
    client.expect("stream_token").await;
    let other = Process::start(settings).await;
    let (first, more) = signals.split_first().expect("a signal");
    stopping.signal(first).await;
    assert_eq!(client.closed().await, Some(1012));
    for signal in more {
        stopping.signal(signal).await;
    }

    let mut client = Client::connect(other.address).await;
    client.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    let mut again = gateway.expect_request().await;
    again.send_text("whole");
    again.finish();
    let turn = client.turn("r1").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["whole"]));
    let status = timeout(PATIENCE, stopping.child.wait()).await.expect("it exits").unwrap();
    assert_eq!(status.code(), Some(0));

    let (_, database) = settings.iter().find(|(name, _)| *name == "DATABASE_URL").expect("a database");
    let (store, connection) = services::connect(database).await;
    let row = store.query_one("select epoch, attempt from turns", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (2, 1));
    drop(store);
    connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_no_turn() {
    let gateway = ScriptedGateway::start().await;
    let settings = cluster(&gateway).await;
    let (mut holder, edge) = (Process::start(&settings).await, Process::start(&settings).await);
    let mut client = Client::connect(holder.address).await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    let mut first = gateway.expect_request().await;
    first.send_text("lost ");
    client.expect("stream_token").await;
    holder.child.start_kill().unwrap();
    assert_eq!(client.closed().await, None);

    let mut client = Client::connect(edge.address).await;
    client.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    let mut second = gateway.expect_request().await;
    second.send_text("the whole answer");
    second.finish();
    let turn = client.turn("r1").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["the whole answer"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_refuses_to_start_and_names_every_mistake_but_no_secret() {
    let mut command = switchboard(&["check-config"]);
    command
        .env("SWITCHBOARD_MAX_TURNS", "many")
        .env("SWITCHBOARD_ROLE", "boss")
        .env("SWITCHBOARD_MAX_TRUNS", "7")
        .env("SWITCHBOARD_GATEWAY_KEY", "sk-very-secret")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(1));
    for mistake in ["SWITCHBOARD_MAX_TURNS", "SWITCHBOARD_ROLE", "SWITCHBOARD_MAX_TRUNS", "SWITCHBOARD_GATEWAY_KEY"] {
        assert!(said.contains(mistake), "{mistake} is not named in {said}");
    }
    assert!(!said.contains("very-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_is_described_in_the_help_with_its_variable() {
    let output = switchboard(&["serve", "--help"]).output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for name in [
        "LISTEN",
        "DATABASE_URL",
        "NATS_URL",
        "GATEWAY_URL",
        "GATEWAY_KEY",
        "MODEL",
        "ROLE",
        "MAX_TURNS",
        "LEASE_SECONDS",
    ] {
        assert!(help.contains(&format!("SWITCHBOARD_{name}")), "{name}");
    }
}
