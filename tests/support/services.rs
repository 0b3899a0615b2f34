//! Real Postgres and NATS, started once for all tests of the binary, or one of one's own to stop and start.
//!
//! Take a database and a prefix per test from the shared servers; never stop them. A server ends with the test process.

use std::io::Write;

use switchboard::dev::{Nats, Postgres, PostgresConfig, Tools};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The Postgres that all tests share.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(own_postgres).await
}

/// The NATS server that all tests share; see [`nats_prefix`].
pub async fn nats() -> &'static Nats {
    static SHARED: OnceCell<Nats> = OnceCell::const_new();
    SHARED.get_or_init(own_nats).await
}

/// The address of a new, empty database on the shared Postgres.
pub async fn database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    postgres().await.create_database(&name).await.expect("a database for the test")
}

/// A connection to a database, behind the nodes' backs, and what drives it.
pub async fn connect(url: &str) -> (Client, JoinHandle<Result<(), tokio_postgres::Error>>) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    (client, tokio::spawn(connection))
}

/// A subject prefix that no other test uses.
pub fn nats_prefix() -> String {
    format!("test.{}", Uuid::new_v4().simple())
}

/// A Postgres for one test that stops, pauses or fills it.
pub async fn own_postgres() -> Postgres {
    Postgres::start(&tools(), PostgresConfig::default()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A NATS server for one test that stops or pauses it.
pub async fn own_nats() -> Nats {
    own_nats_with(&[]).await
}

/// The same with more arguments for the server.
pub async fn own_nats_with(arguments: &[&str]) -> Nats {
    Nats::start_with(&tools(), arguments).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The project's tools, which say what they do on the terminal.
pub fn tools() -> Tools {
    // Written to the stream itself: the test harness holds back what `eprintln!` writes.
    Tools::locate(|line| drop(writeln!(std::io::stderr(), "[tests] {line}"))).unwrap_or_else(|error| panic!("{error}"))
}
