//! What can happen to a SQLite file and the threads in front of it: a killed process, another writer, a full queue.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use prometheus::Registry;
use switchboard::ids::{ConversationId, NodeId, TurnId};
use switchboard::store::sqlite::{Config, Location, Sqlite};
use switchboard::store::{Acceptance, Metrics, NewTurn, Store, StoreError, TurnState};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::eventually::assert_eventually;

use super::fixture::{Folder, LONG, claim, finish, metrics, new_session, new_turn, owner};

const WITHIN: Duration = Duration::from_secs(30);
/// Tells the process that is going to be killed where to write.
const DATABASE: &str = "SWITCHBOARD_TEST_DATABASE";

async fn open(path: &Path) -> Sqlite {
    Sqlite::open(Config::new(Location::File(path.into())), metrics()).await.unwrap()
}

async fn migrated(folder: &Folder) -> Sqlite {
    let store = open(&folder.database()).await;
    store.migrate().await.unwrap();
    store
}

/// Holds the file's write lock until it is dropped.
fn lock(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("begin immediate").unwrap();
    connection
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = Folder::new();
    migrated(&folder).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::sqlite::a_process_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DATABASE, folder.database())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = HashSet::new();
    let mut killed = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(turn) = line.strip_prefix("finished ") {
            // The kill may cut the last line short: half an id acknowledges nothing.
            acknowledged.extend(turn.parse::<TurnId>().ok());
        }
        if acknowledged.len() >= 100 && !killed {
            child.start_kill().unwrap();
            killed = true;
        }
    }
    assert!(!child.wait().await.unwrap().success());
    assert!(acknowledged.len() >= 100, "only {} turns were acknowledged", acknowledged.len());

    let store = open(&folder.database()).await;
    store.check().await.unwrap();
    let mut conversations = HashSet::<ConversationId>::new();
    for turn in acknowledged {
        let turn = store.turn(turn).await.unwrap().expect("an acknowledged turn");
        assert_eq!(turn.state, TurnState::Completed);
        assert_eq!(turn.answer.unwrap().text, "Nothing at all.");
        conversations.insert(turn.conversation);
    }
    for conversation in conversations {
        let messages = store.history(conversation, 100_000).await.unwrap();
        let numbers: Vec<_> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(numbers, (1..=messages.len() as i64).collect::<Vec<_>>());
    }
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    let verdict: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// The other half of the test above; does nothing unless that one calls it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run, and killed, by what_was_acknowledged_survives_kill_9"]
#[expect(clippy::disallowed_methods, reason = "how a parent process speaks to its child")]
async fn a_process_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(DATABASE) else { return };
    let store = open(&PathBuf::from(path)).await;
    let writers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
            let holder = NodeId::new();
            for round in 0_u64.. {
                let claim = Some(claim(holder, LONG));
                let new = NewTurn { claim, ..new_turn(&session, &round.to_string()) };
                assert_eq!(store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 1 });
                store.finish_turn(&finish(new.turn, 1, holder)).await.unwrap();
                println!("finished {}", new.turn);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn dropping_the_store_ends_its_threads_and_closes_the_file() {
    let folder = Folder::new();
    let store = migrated(&folder).await;
    let wal = folder.database().with_extension("db-wal");
    assert!(wal.exists());
    let clone = store.clone();
    drop(store);
    clone.check().await.unwrap();
    drop(clone);
    // SQLite removes the log when the last connection closes.
    assert_eventually("the file is closed", WITHIN, async || !wal.exists()).await;
}

#[tokio::test]
async fn another_writer_holds_up_writes_but_neither_reads_nor_the_runtime() {
    let folder = Folder::new();
    let store = migrated(&folder).await;
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let other = lock(&folder.database());
    let new = new_turn(&session, "r1");
    let mut accepting = std::pin::pin!(store.accept_turn(&new));
    assert!(futures_util::poll!(accepting.as_mut()).is_pending());
    // This test has one thread: it could not go on if the store blocked it.
    assert_eq!(store.session(session.id).await.unwrap().map(|found| found.id), Some(session.id));
    assert_eq!(store.history(session.conversation, 10).await.unwrap(), []);
    drop(other);
    assert_eq!(accepting.await.unwrap(), Acceptance::Accepted { epoch: 0 });
}

#[tokio::test]
async fn a_file_that_stays_locked_is_unavailable_and_works_again_afterwards() {
    let folder = Folder::new();
    migrated(&folder).await;
    let config = Config { busy_timeout: Duration::from_millis(50), ..Config::new(Location::File(folder.database())) };
    let store = Sqlite::open(config, metrics()).await.unwrap();
    let other = lock(&folder.database());
    let error = store.create_session(&new_session(&owner("ada"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    drop(other);
    store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_queue_is_counted_and_refused_at_once() {
    let folder = Folder::new();
    migrated(&folder).await;
    let registry = Registry::new();
    let config = Config { queue_length: 2, ..Config::new(Location::File(folder.database())) };
    let store = Sqlite::open(config, Metrics::register(&registry).unwrap()).await.unwrap();
    let other = lock(&folder.database());
    let writes = (0..200).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.create_session(&new_session(&owner("ada"))).await })
    });
    let writes: Vec<_> = writes.collect();
    assert_eventually("a refusal", WITHIN, async || refused(&registry) >= 100.0).await;
    drop(other);
    let mut made = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(session) => made += usize::from(session.is_some()),
            Err(StoreError::Unavailable(why)) => assert!(why.contains("too many calls"), "{why}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(made >= 2);
    assert_eq!(refused(&registry) as usize, 200 - made);
}

fn refused(registry: &Registry) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "switchboard_store_refused_total").unwrap();
    family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
}

#[tokio::test]
async fn a_call_that_fails_undoes_nothing_of_those_it_was_committed_with() {
    let folder = Folder::new();
    let store = migrated(&folder).await;
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let mut stranger = session.clone();
    stranger.conversation = ConversationId::new();
    let other = lock(&folder.database());
    // All of these wait for the lock, so they share the next commits.
    let (good, bad, later) = (new_turn(&session, "r1"), new_turn(&stranger, "r2"), new_session(&owner("ada")));
    let all = async { tokio::join!(store.accept_turn(&good), store.accept_turn(&bad), store.create_session(&later)) };
    let mut all = std::pin::pin!(all);
    assert!(futures_util::poll!(all.as_mut()).is_pending());
    drop(other);
    let (good_result, bad_result, later_result) = all.await;
    assert_eq!(good_result.unwrap(), Acceptance::Accepted { epoch: 0 });
    assert!(matches!(bad_result, Err(StoreError::Internal(_))), "{bad_result:?}");
    assert!(later_result.unwrap().is_some());
    assert!(store.turn(good.turn).await.unwrap().is_some());
    assert!(store.turn(bad.turn).await.unwrap().is_none());
    assert!(store.session(later.session).await.unwrap().is_some());
}

#[tokio::test]
async fn a_place_that_cannot_be_opened_is_named() {
    let folder = Folder::new();
    let nowhere = folder.database().join("no/such/folder.db");
    let error = Sqlite::open(Config::new(Location::File(nowhere.clone())), metrics()).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains(&nowhere.display().to_string()), "{error}");

    std::fs::write(folder.database(), "this is a letter to a friend, and by no means a database").unwrap();
    let error = Sqlite::open(Config::new(Location::File(folder.database())), metrics()).await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("switchboard.db"), "{error}");
}

#[tokio::test]
async fn an_unreadable_row_is_named_by_table_column_and_row() {
    let folder = Folder::new();
    let store = migrated(&folder).await;
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let new = new_turn(&session, "r1");
    store.accept_turn(&new).await.unwrap();
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    connection.execute_batch("pragma ignore_check_constraints = on; update turns set state = 'odd'").unwrap();
    let error = store.turn(new.turn).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains(&format!("turns.state of {}", new.turn)), "{error}");
}

#[tokio::test]
async fn a_database_in_memory_works_and_its_clones_share_it() {
    let store = Sqlite::open(Config::new(Location::Memory), metrics()).await.unwrap();
    store.migrate().await.unwrap();
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    assert_eq!(store.clone().session(session.id).await.unwrap().map(|found| found.id), Some(session.id));
}
