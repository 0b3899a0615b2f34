//! The development servers: they start, stop, keep their data, and leave nothing behind.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use switchboard::dev::{DevError, Nats, Postgres, PostgresConfig, Shutdown};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::support::eventually::assert_eventually;
use crate::support::services;

/// What an idle machine does in well under a second may take this long on one that is busy building.
const WITHIN: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> Client {
    services::connect(url).await.0
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.expect("an answer").get(0)
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn postgres_answers_and_has_vectors() {
    let client = connect(&services::database().await).await;
    client.batch_execute("CREATE EXTENSION vector").await.expect("the extension");
    let distance: f64 = client.query_one("SELECT '[1,2]'::vector <-> '[4,6]'::vector", &[]).await.unwrap().get(0);
    assert_eq!(distance, 5.0);
    let version: String = client.query_one("SHOW server_version_num", &[]).await.unwrap().get(0);
    assert!(version.starts_with("18"), "{version}");
}

#[tokio::test]
async fn every_test_gets_a_database_of_its_own() {
    let (one, two) = (services::database().await, services::database().await);
    assert_ne!(one, two);
    connect(&one).await.batch_execute("CREATE TABLE only_here ()").await.unwrap();
    let seen = number(&connect(&two).await, "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'").await;
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn a_database_name_that_would_need_quoting_is_refused() {
    let error = services::postgres().await.create_database("a\"; DROP DATABASE postgres; --").await.unwrap_err();
    assert!(matches!(error, DevError::DatabaseName(_)), "{error}");
}

#[tokio::test]
async fn postgres_asks_for_the_password() {
    let url = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", services::postgres().await.port());
    let Err(error) = tokio_postgres::connect(&url, NoTls).await else { panic!("let in with a wrong password") };
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn postgres_never_runs_as_root() {
    let postgres = services::postgres().await;
    let pid = postgres.pid().await.expect("it runs");
    let runs_as = std::fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_ne!(runs_as, 0);
    assert_eq!(std::fs::metadata(postgres.folder()).unwrap().uid(), runs_as);
}

#[tokio::test]
async fn two_servers_at_once_do_not_collide() {
    let (one, two) = tokio::join!(services::own_postgres(), services::own_postgres());
    assert_ne!(one.port(), two.port());
    connect(&one.url()).await.batch_execute("CREATE TABLE only_here ()").await.unwrap();
    let seen = number(&connect(&two.url()).await, "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'").await;
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn postgres_keeps_data_and_port_over_a_stop_and_a_crash() {
    let postgres = services::own_postgres().await;
    connect(&postgres.url()).await.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    for shutdown in [Shutdown::Fast, Shutdown::Immediate] {
        postgres.stop(shutdown).await.expect("it stops");
        assert!(tokio_postgres::connect(&postgres.url(), NoTls).await.is_err(), "it still answers after {shutdown:?}");
        postgres.start_again().await.expect("it starts again");
        assert_eq!(number(&connect(&postgres.url()).await, "SELECT n FROM kept").await, 42);
    }
}

#[tokio::test]
async fn stopping_twice_is_an_error_and_not_a_hang() {
    let nats = services::own_nats().await;
    nats.stop().await.expect("it stops");
    assert!(matches!(nats.stop().await, Err(DevError::NotRunning { .. })));
}

#[tokio::test]
async fn a_postgres_whose_processes_were_killed_has_what_was_committed() {
    let settings = vec![("synchronous_commit".to_owned(), "on".to_owned())];
    let config = PostgresConfig { settings, ..PostgresConfig::default() };
    let postgres = Postgres::start(&services::tools(), config).await.expect("it starts");
    let client = connect(&postgres.url()).await;
    client.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    postgres.kill().await.expect("it is killed");
    assert!(client.query_one("SELECT 1", &[]).await.is_err(), "the session is gone, too");
    postgres.start_again().await.expect("it starts again");
    assert_eq!(number(&connect(&postgres.url()).await, "SELECT n FROM kept").await, 42);
}

#[tokio::test]
async fn the_servers_of_a_nats_cluster_pass_messages_on_and_find_each_other_again() {
    let servers = Nats::start_cluster(&services::tools(), 3).await.expect("they start");
    for (here, there) in [(0, 1), (1, 2), (2, 0)] {
        passes_on(&servers[here], &servers[there]).await;
    }
    servers[1].stop().await.expect("it stops");
    passes_on(&servers[2], &servers[0]).await;
    servers[1].start_again().await.expect("it starts again");
    passes_on(&servers[0], &servers[1]).await;
}

/// What is published on one server arrives at the other, once they have found each other.
async fn passes_on(here: &Nats, there: &Nats) {
    let (sender, receiver) =
        (async_nats::connect(here.url()).await.unwrap(), async_nats::connect(there.url()).await.unwrap());
    let subject = services::nats_prefix();
    let inbox = receiver.subscribe(subject.clone()).await.expect("a subscription");
    let inbox = tokio::sync::Mutex::new(inbox);
    assert_eventually("a message passes", WITHIN, async || {
        sender.publish(subject.clone(), "hello".into()).await.expect("room to publish");
        timeout(Duration::from_millis(50), futures_util::StreamExt::next(&mut *inbox.lock().await)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_paused_postgres_answers_once_it_goes_on() {
    let postgres = services::own_postgres().await;
    let client = connect(&postgres.url()).await;
    postgres.pause().await.expect("it pauses");
    let mut query = std::pin::pin!(number(&client, "SELECT 1::bigint"));
    assert!(timeout(Duration::from_millis(100), &mut query).await.is_err(), "it answered while paused");
    postgres.resume().await.expect("it goes on");
    assert_eq!(timeout(WITHIN, query).await.expect("it answers"), 1);
}

#[tokio::test]
async fn nats_carries_a_message_and_comes_back_on_the_same_port() {
    let nats = services::own_nats().await;
    round_trip(&nats).await;
    nats.stop().await.expect("it stops");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", nats.port())).await.is_err());
    nats.start_again().await.expect("it starts again");
    round_trip(&nats).await;
}

#[tokio::test]
async fn the_shared_nats_carries_a_message() {
    round_trip(services::nats().await).await;
}

async fn round_trip(nats: &Nats) {
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let subject = services::nats_prefix();
    let mut inbox = client.subscribe(subject.clone()).await.expect("a subscription");
    client.publish(subject, "hello".into()).await.expect("room to publish");
    let message =
        timeout(WITHIN, futures_util::StreamExt::next(&mut inbox)).await.expect("in time").expect("a message");
    assert_eq!(message.payload, "hello");
}

#[tokio::test]
async fn a_dropped_server_takes_its_data_with_it() {
    let postgres = services::own_postgres().await;
    let (pid, folder) = (postgres.pid().await.unwrap(), postgres.folder().to_owned());
    assert!(runs(pid) && folder.exists());
    drop(postgres);
    assert_eventually("server and data are gone", WITHIN, async || !runs(pid) && !folder.exists()).await;
}

#[tokio::test]
async fn what_a_power_cut_left_is_swept_away_and_what_runs_is_not() {
    let nats = services::nats().await;
    let left = nats.folder().with_file_name(format!("left-{}", services::nats_prefix()));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    services::tools();
    assert!(!left.exists());
    assert!(nats.folder().join("log").exists());
}

#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_data() {
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dev::helper_that_is_killed_while_servers_run", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the helper");
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    let mut servers: Vec<(u32, PathBuf)> = Vec::new();
    while servers.len() < 3 {
        let line = timeout(WITHIN, lines.next_line()).await.expect("in time").unwrap().expect("three servers");
        if let Some(server) = line.strip_prefix("server ") {
            let (pid, folder) = server.split_once(' ').unwrap();
            servers.push((pid.parse().unwrap(), folder.into()));
        }
    }
    assert!(servers.iter().all(|(_, folder)| folder.exists()));
    assert!(runs(servers[0].0) && runs(servers[1].0) && !runs(servers[2].0));
    helper.kill().await.expect("SIGKILL");
    for (pid, folder) in servers {
        let what = format!("process {pid} and {} are gone", folder.display());
        assert_eventually(&what, WITHIN, async || !runs(pid) && !folder.exists()).await;
    }
}

/// Run by the test above in a process of its own: a server that runs, one that is paused and one that is stopped.
#[tokio::test]
#[ignore = "a part of another test"]
async fn helper_that_is_killed_while_servers_run() {
    let paused: Postgres = services::own_postgres().await;
    let running = services::own_nats().await;
    let stopped = services::own_nats().await;
    let servers = [
        (paused.pid().await.unwrap(), paused.folder()),
        (running.pid().await.unwrap(), running.folder()),
        (stopped.pid().await.unwrap(), stopped.folder()),
    ];
    paused.pause().await.unwrap();
    stopped.stop().await.unwrap();
    for (pid, folder) in servers {
        println!("\nserver {pid} {}", folder.display());
    }
    // Ends by itself when nobody is there to kill it.
    drop(std::io::stdin().read(&mut [0]));
}
