//! The numbered migrations, compiled in. A file that was released never changes; the next number mends it.
//!
//! The version of a schema is the number of its last migration, so both lists grow together.

use super::StoreError;

/// Postgres, from number 1.
pub(super) const POSTGRES: &[&str] = &[
    include_str!("../../migrations/postgres/0001_conversations_and_turns.sql"),
    include_str!("../../migrations/postgres/0002_tools_and_parked_turns.sql"),
];

/// SQLite, from number 1.
pub(super) const SQLITE: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_conversations_and_turns.sql"),
    include_str!("../../migrations/sqlite/0002_tools_and_parked_turns.sql"),
];

/// The version that this build knows.
pub(super) const VERSION: i64 = POSTGRES.len() as i64;

/// What a schema of version `found` still lacks, with the version that each step leads to.
///
/// Refuses a version newer than this build.
pub(super) fn pending(migrations: &'static [&'static str], found: i64) -> Result<Pending, StoreError> {
    let done =
        usize::try_from(found).map_err(|_| StoreError::corrupt("schema_version", "version", found, "negative"))?;
    match migrations.get(done..) {
        Some(rest) => Ok(rest.iter().copied().zip(found + 1..)),
        None => Err(StoreError::SchemaTooNew { found, known: VERSION }),
    }
}

/// SQL text and the version it leads to, in order.
pub(super) type Pending =
    std::iter::Zip<std::iter::Copied<std::slice::Iter<'static, &'static str>>, std::ops::RangeFrom<i64>>;

/// Compares the version found with the one this build knows.
pub(super) fn verify(found: i64) -> Result<(), StoreError> {
    match found.cmp(&VERSION) {
        std::cmp::Ordering::Less => Err(StoreError::SchemaTooOld { found, known: VERSION }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::SchemaTooNew { found, known: VERSION }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &str) -> Vec<String> {
        let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut texts: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        texts.sort();
        for (path, number) in texts.iter().zip(1..) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with(&format!("{number:04}_")), "{folder}: {name} should have number {number:04}");
        }
        texts.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn every_migration_is_compiled_in_and_both_stores_have_the_same_number() {
        assert_eq!(files("postgres"), POSTGRES);
        assert_eq!(files("sqlite"), SQLITE);
        assert_eq!(POSTGRES.len(), SQLITE.len());
    }

    #[test]
    fn a_newer_schema_is_refused_and_an_older_one_gets_what_it_lacks() {
        assert_eq!(pending(POSTGRES, 0).unwrap().count(), POSTGRES.len());
        assert_eq!(pending(POSTGRES, VERSION).unwrap().count(), 0);
        assert!(matches!(pending(POSTGRES, VERSION + 1), Err(StoreError::SchemaTooNew { .. })));
        assert!(matches!(verify(VERSION - 1), Err(StoreError::SchemaTooOld { .. })));
        assert!(matches!(verify(VERSION + 1), Err(StoreError::SchemaTooNew { .. })));
    }
}
