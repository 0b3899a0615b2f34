//! What can happen between the store and Postgres: stopped, frozen, locked, out of connections, encrypted.

use std::time::Duration;

use prometheus::Registry;
use switchboard::dev::Shutdown;
use switchboard::ids::{NodeId, SessionId};
use switchboard::store::postgres::{Config, Postgres};
use switchboard::store::{Acceptance, Metrics, Store, StoreError};
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use crate::support::eventually::assert_eventually;
use crate::support::services;

use super::fixture::{LONG, claim, metrics, new_session, new_turn, owner};

const WITHIN: Duration = Duration::from_secs(30);

/// Short limits, so that a test that runs into one is short too.
fn impatient(url: impl Into<String>) -> Config {
    Config {
        pool_size: 2,
        wait_timeout: Duration::from_millis(300),
        statement_timeout: Duration::from_millis(900),
        lock_timeout: Duration::from_millis(300),
        ..Config::new(url.into())
    }
}

async fn migrated(config: Config) -> Postgres {
    let store = Postgres::connect(config, metrics()).unwrap();
    store.migrate().await.unwrap();
    store
}

async fn client(url: &str) -> Client {
    services::connect(url).await.0
}

/// The result is [`StoreError::Unavailable`], and came well before anybody's patience ended.
async fn assert_unavailable<T: std::fmt::Debug>(call: impl Future<Output = Result<T, StoreError>>) -> String {
    let result = timeout(Duration::from_secs(10), call).await.expect("an answer in time");
    match result {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stopped_server_is_unavailable_at_once_and_the_store_recovers_by_itself() {
    let server = services::own_postgres().await;
    let store = migrated(Config::new(server.url())).await;
    let new = new_session(&owner("ada"));
    let session = store.create_session(&new).await.unwrap().unwrap();

    server.stop(Shutdown::Fast).await.unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        assert_unavailable(store.session(new.session)).await;
        assert_unavailable(store.accept_turn(&new_turn(&session, "r1"))).await;
        assert_unavailable(store.claim_turn(&claim(NodeId::new(), LONG))).await;
        assert_unavailable(store.check()).await;
        assert_unavailable(store.migrate()).await;
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    server.start_again().await.unwrap();
    assert_eventually("the store answers again", WITHIN, async || store.check().await.is_ok()).await;
    assert_eq!(store.session(new.session).await.unwrap().unwrap().id, new.session);
    assert_eq!(store.accept_turn(&new_turn(&session, "r1")).await.unwrap(), Acceptance::Accepted { epoch: 0 });
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_in_bounded_time_and_the_store_recovers_by_itself() {
    let server = services::own_postgres().await;
    let config = Config { create_timeout: Duration::from_secs(1), ..impatient(server.url()) };
    let store = migrated(config).await;
    store.check().await.unwrap();
    server.pause().await.unwrap();
    assert_unavailable(store.session(SessionId::new())).await;
    assert_unavailable(store.check()).await;
    assert_unavailable(store.session(SessionId::new())).await;
    server.resume().await.unwrap();
    assert_eventually("the store answers again", WITHIN, async || store.check().await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_reason_to_fail_before_the_first_call() {
    let store = Postgres::connect(Config::new("postgres://nobody:sesame@127.0.0.1:1/nowhere"), metrics()).unwrap();
    let why = assert_unavailable(store.check()).await;
    assert!(!why.contains("sesame"), "{why}");
}

#[tokio::test]
async fn a_wrong_password_says_so_and_never_prints() {
    let url = services::database().await;
    let password = url.split([':', '@']).nth(2).unwrap();
    let store = Postgres::connect(Config::new(url.replace(password, "sesame")), metrics()).unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(&error, StoreError::Internal(why) if why.contains("password")), "{error}");
    assert!(!format!("{error:?}").contains("sesame"));
}

#[tokio::test]
async fn terminated_connections_are_replaced() {
    let url = services::database().await;
    let store = migrated(Config::new(url.as_str())).await;
    store.check().await.unwrap();
    let admin = client(&url).await;
    let terminate = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'switchboard'
                     and datname = current_database()";
    assert!(!admin.query(terminate, &[]).await.unwrap().is_empty());
    assert_eventually("a new connection", WITHIN, async || store.check().await.is_ok()).await;
}

#[tokio::test]
async fn a_locked_row_and_a_used_up_pool_are_unavailable_in_bounded_time() {
    let url = services::database().await;
    let registry = Registry::new();
    let store = Postgres::connect(impatient(url.as_str()), Metrics::register(&registry).unwrap()).unwrap();
    store.migrate().await.unwrap();
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let other = client(&url).await;
    other.batch_execute("begin; update conversations set title = 'locked'").await.unwrap();

    let rename = async || store.rename_conversation(&session.owner, session.conversation, "mine").await;
    let why = assert_unavailable(rename()).await;
    assert!(why.contains("55P03"), "{why}");

    // As many sleepers as there are connections: the next call finds none.
    let sleepy = Config {
        lock_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        ..impatient(url.as_str())
    };
    let crowded = Postgres::connect(sleepy, Metrics::register(&Registry::new()).unwrap()).unwrap();
    let sleepers: Vec<_> = (0..2)
        .map(|_| {
            let (store, session) = (crowded.clone(), session.clone());
            tokio::spawn(async move { store.rename_conversation(&session.owner, session.conversation, "mine").await })
        })
        .collect();
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let observer = client(&url).await;
    assert_eventually("both connections are in use", WITHIN, async || {
        observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 2
    })
    .await;
    let why = assert_unavailable(crowded.session(session.id)).await;
    assert!(why.contains("Wait"), "{why}");

    other.batch_execute("commit").await.unwrap();
    for sleeper in sleepers {
        assert!(sleeper.await.unwrap().unwrap());
    }
    assert!(rename().await.unwrap());
}

#[tokio::test]
async fn a_slow_statement_is_ended_by_the_server() {
    let url = services::database().await;
    let store = migrated(impatient(url.as_str())).await;
    let slow =
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return new; end $$;
                create trigger slow before insert on conversations for each row execute function slow()";
    client(&url).await.batch_execute(slow).await.unwrap();
    let why = assert_unavailable(store.create_session(&new_session(&owner("ada")))).await;
    assert!(why.contains("57014"), "{why}");
}

#[tokio::test]
async fn a_serialization_failure_is_repeated_three_times_and_no_more() {
    let url = services::database().await;
    let registry = Registry::new();
    let store = Postgres::connect(Config::new(url.as_str()), Metrics::register(&registry).unwrap()).unwrap();
    store.migrate().await.unwrap();
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let admin = client(&url).await;
    // A sequence does not go back with the transaction that used it, so it counts the tries.
    let unlucky = "create sequence tries;
                   create function unlucky() returns trigger language plpgsql as $$
                   begin
                       if nextval('tries') <= 3 then raise exception using errcode = '40001'; end if;
                       return new;
                   end $$;
                   create trigger unlucky before insert on turns for each row execute function unlucky()";
    admin.batch_execute(unlucky).await.unwrap();
    let new = new_turn(&session, "r1");
    assert_eq!(store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 0 });
    assert_eq!(retries(&registry, "turn.accept"), 3.0);
    assert_eq!(store.history(session.conversation, 10).await.unwrap().len(), 1);

    store.cancel_turn(session.conversation, Some("r1")).await.unwrap();
    admin.batch_execute("select setval('tries', 1, false); drop trigger unlucky on turns").await.unwrap();
    let hopeless = "create or replace function unlucky() returns trigger language plpgsql as $$
                    begin perform nextval('tries'); raise exception using errcode = '40P01'; end $$;
                    create trigger unlucky before insert on turns for each row execute function unlucky()";
    admin.batch_execute(hopeless).await.unwrap();
    assert_unavailable(store.accept_turn(&new_turn(&session, "r2"))).await;
    let tries: i64 = admin.query_one("select last_value from tries", &[]).await.unwrap().get(0);
    assert_eq!(tries, 4);
    assert_eq!(retries(&registry, "turn.accept"), 6.0);
}

fn retries(registry: &Registry, operation: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "switchboard_store_retries_total").unwrap();
    let of_operation = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == operation;
    family.get_metric().iter().find(of_operation).unwrap().get_counter().get_value()
}

#[tokio::test]
async fn an_unreadable_row_is_named_and_what_people_wrote_is_not() {
    let url = services::database().await;
    let store = migrated(Config::new(url.as_str())).await;
    let session = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let new = new_turn(&session, "r1");
    store.accept_turn(&new).await.unwrap();
    let admin = client(&url).await;
    admin
        .batch_execute("alter table turns drop constraint turns_state_check; update turns set state = 'odd'")
        .await
        .unwrap();
    let error = store.turn(new.turn).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains(&format!("turns.state of {}", new.turn)), "{error}");

    admin.batch_execute("alter table messages add constraint mute check (length(text) < 5)  not valid").await.unwrap();
    let other = store.create_session(&new_session(&owner("ada"))).await.unwrap().unwrap();
    let error = store.accept_turn(&new_turn(&other, "r1")).await.unwrap_err();
    assert!(error.to_string().contains("messages.mute"), "{error}");
    assert!(!error.to_string().contains("What does it cost?"), "{error}");
}
