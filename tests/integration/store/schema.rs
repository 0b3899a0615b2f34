//! The schema: brought up once, refused when it is not the one this build knows, and strict about turns.

use switchboard::ids::NodeId;
use switchboard::store::StoreError;

use super::fixture::Fixture;

pub async fn an_empty_database_is_too_old_and_migrating_it_twice_is_enough_once(fixture: Fixture) {
    let empty = fixture.unmigrated().await;
    // More often than there are connections, so that each has seen the empty database and then the full one.
    for _ in 0..8 {
        let error = empty.store.check().await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaTooOld { found: 0, .. }), "{error}");
    }
    empty.store.migrate().await.unwrap();
    for _ in 0..8 {
        empty.store.check().await.unwrap();
    }
    empty.store.migrate().await.unwrap();
    empty.other.check().await.unwrap();
}

pub async fn a_newer_schema_is_refused_by_migrate_and_by_check(fixture: Fixture) {
    fixture
        .sql("insert into schema_version select max(version) + 1, max(applied_at) from schema_version")
        .await
        .unwrap();
    let error = fixture.store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaTooNew { found, known } if found == known + 1), "{error}");
    let error = fixture.store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaTooNew { found, known } if found == known + 1), "{error}");
}

pub async fn four_nodes_that_boot_on_an_empty_database_all_succeed(fixture: Fixture) {
    let empty = fixture.unmigrated().await;
    let nodes = [empty.store.clone(), empty.other.clone(), empty.another().await, empty.another().await];
    let boots = nodes.map(|node| tokio::spawn(async move { node.migrate().await }));
    for boot in boots {
        boot.await.unwrap().unwrap();
    }
    empty.store.check().await.unwrap();
}

pub async fn the_rules_of_a_turn_stand_in_the_database_too(fixture: Fixture) {
    let session = fixture.any_session().await;
    fixture.start(&session, "r1", NodeId::new()).await;
    for forbidden in [
        "update turns set state = 'queued'",
        "update turns set state = 'parked'",
        "update turns set state = 'parked', holder = null, lease_until = null",
        "update turns set parked_until = created_at",
        "update turns set state = 'forgotten'",
        "update turns set holder = null",
        "update turns set lease_until = null",
        "update turns set state = 'completed', holder = null, lease_until = null",
        "update turns set state = 'failed', holder = null, lease_until = null, finished_at = created_at",
        "update turns set finished_at = created_at",
        "update turns set error_code = 'AGENT_ERROR'",
        "update turns set attempt = epoch + 1",
        "update turns set epoch = 0, attempt = 0",
        "update turns set last_seq = -1",
        "update messages set seq = 0",
    ] {
        let refused = fixture.sql(forbidden).await.expect_err(forbidden).to_lowercase();
        assert!(refused.contains("check"), "{forbidden}: {refused}");
    }
    fixture
        .sql("update turns set state = 'parked', holder = null, lease_until = null, parked_until = created_at")
        .await
        .unwrap();
}
