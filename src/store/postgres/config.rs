//! What can be set about Postgres.
//!
//! Every wait is bounded: the pool's own defaults wait for ever.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::SslMode;

use crate::secret::Secret;
use crate::store::StoreError;

/// How long a silent connection may be idle before the kernel asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How Postgres is reached and how long each step may take.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is: `postgres://user:password@host:port/database`. `sslmode=require` encrypts and verifies the server's
    /// certificate and name against the platform's roots (or `ca_file`), and so do `verify-ca` and `verify-full`;
    /// without one of them the connection is plain.
    pub url: Secret,
    /// PEM file of the certificates that the server is checked against; else the platform's.
    pub ca_file: Option<PathBuf>,
    /// Connections at most. 10: about four per core of a small database server; more wait better here than there.
    pub pool_size: usize,
    /// How long a call waits for a free connection. 3 s: a client is told to try again before it gives up by itself.
    pub wait_timeout: Duration,
    /// How long opening a connection may take, name resolution, TLS and authentication included. 3 s.
    pub create_timeout: Duration,
    /// How long the check of a used connection may take. 2 s.
    pub recycle_timeout: Duration,
    /// How long the server works on one statement. 5 s: the slowest plain one takes some milliseconds.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock. 2 s: below `statement_timeout`, so that the log tells the two apart.
    pub lock_timeout: Duration,
    /// The name shown in `pg_stat_activity`.
    pub application_name: String,
}

impl Config {
    /// The defaults, for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Secret::new(url), ..Self::default() }
    }

    /// How long a call waits for the server's answer: longer than the server itself may take, so that only a dead
    /// connection gets there.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }

    /// Says whether the URL can be read.
    pub fn check(&self) -> Result<(), StoreError> {
        self.parse().map(|_| ())
    }

    /// What tokio-postgres makes of it.
    pub(super) fn parse(&self) -> Result<tokio_postgres::Config, StoreError> {
        // What the parser says may quote a piece of the URL, and with it of the password.
        let mut parsed: tokio_postgres::Config = with_known_ssl_mode(&self.url).parse().map_err(|_| {
            StoreError::Internal(
                "the database URL cannot be read; it looks like postgres://user:password@host:port/database".into(),
            )
        })?;
        if parsed.get_ssl_mode() == SslMode::Prefer {
            // Encryption that a man in the middle can talk the client out of is worth less than it looks.
            parsed.ssl_mode(SslMode::Disable);
        }
        let limits = format!(
            "-c statement_timeout={} -c lock_timeout={}",
            self.statement_timeout.as_millis(),
            self.lock_timeout.as_millis()
        );
        let options = parsed.get_options().map_or_else(|| limits.clone(), |given| format!("{given} {limits}"));
        parsed
            .options(options)
            .application_name(&self.application_name)
            .connect_timeout(self.create_timeout)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(self.answer_timeout());
        Ok(parsed)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://postgres@127.0.0.1:5432/switchboard"),
            ca_file: None,
            pool_size: 10,
            wait_timeout: Duration::from_secs(3),
            create_timeout: Duration::from_secs(3),
            recycle_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            application_name: "switchboard".into(),
        }
    }
}

/// The URL with the two stricter modes of libpq, which tokio-postgres does not know, written as `require`: rustls verifies
/// certificate and name in any case.
fn with_known_ssl_mode(url: &Secret) -> String {
    url.expose().replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_prints() {
        let config = Config::new("postgres://user:sesame@host/database");
        assert!(!format!("{config:?}").contains("sesame"));
        let broken = Config::new("postgres://user:sesame@host:port:sesame/?sesame=1");
        assert!(!broken.parse().unwrap_err().to_string().contains("sesame"));
    }

    #[test]
    fn tls_is_used_exactly_when_the_url_requires_it() {
        let mode = |url: &str| Config::new(url).parse().unwrap().get_ssl_mode();
        assert_eq!(mode("postgres://host/database"), SslMode::Disable);
        assert_eq!(mode("postgres://host/database?sslmode=prefer"), SslMode::Disable);
        assert_eq!(mode("postgres://host/database?sslmode=require"), SslMode::Require);
        assert_eq!(mode("postgres://host/database?sslmode=verify-full"), SslMode::Require);
    }

    #[test]
    fn the_limits_are_added_to_the_options_of_the_url() {
        let parsed = Config::new("postgres://host/database?options=-c%20work_mem%3D8MB").parse().unwrap();
        assert_eq!(parsed.get_options(), Some("-c work_mem=8MB -c statement_timeout=5000 -c lock_timeout=2000"));
    }
}
