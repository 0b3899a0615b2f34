//! How to reach NATS, and the limits of the connection.
//!
//! Server addresses carry passwords: nothing here prints one, not even in an error.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// Where NATS is, who the node is there, and every limit of the connection.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Servers of one cluster: `nats://host:port` or `tls://host:port`, optionally with `user:password@` or `token@`
    /// (percent-encoded; the same for all). Default `nats://127.0.0.1:4222`.
    pub servers: Vec<Secret>,
    /// A credentials file with a user's JWT and seed, as `nsc` makes it.
    pub credentials_file: Option<PathBuf>,
    /// PEM file of the certificates that `tls://` servers are checked against; else the system's.
    pub ca_file: Option<PathBuf>,
    /// What every subject starts with: the one thing to allow in NATS's permissions, as `<prefix>.>`. Nodes that share it
    /// form one cluster. Default `switchboard.v1`.
    pub prefix: String,
    /// The node's name in NATS's own monitoring. Default `switchboard`.
    pub name: String,
    /// How long a request waits for its answer. Default 2 s: a holder that takes longer has other troubles.
    pub request_timeout: Duration,
    /// How long one attempt to connect may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long [`flush`](crate::bus::Bus::flush) may take. Default 2 s.
    pub flush_timeout: Duration,
    /// Messages that may wait to be written; more are dropped. Default 8192: a second of a busy node.
    pub publish_queue: usize,
    /// Messages that wait in one subscription; more are dropped. Default 1024: ten seconds of a fast answer.
    pub subscription_capacity: usize,
    /// The longest wait before the first new attempt; doubles with each. A wait is random between half of it and all of
    /// it, so that nodes do not come back in step. Default 100 ms.
    pub reconnect_min: Duration,
    /// Where the doubling ends. Default 5 s.
    pub reconnect_max: Duration,
    /// How often a silent connection is probed; it is given up when a third probe is due and none was answered. Default 5 s.
    pub ping_interval: Duration,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec![Secret::new("nats://127.0.0.1:4222")],
            credentials_file: None,
            ca_file: None,
            prefix: "switchboard.v1".into(),
            name: "switchboard".into(),
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            flush_timeout: Duration::from_secs(2),
            publish_queue: 8192,
            subscription_capacity: 1024,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// Why a configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum NatsConfigError {
    /// The list of servers is empty.
    #[error("no NATS server is given")]
    NoServer,
    /// An address cannot be read.
    #[error("NATS server {position} of the list: {reason}")]
    Server {
        /// Its place in the list, from 1: the address itself may hold a password.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Two addresses name different users.
    #[error("the NATS servers are given with different users or tokens")]
    DifferentUsers,
    /// The prefix is not made of tokens.
    #[error("the NATS prefix {0:?} is not made of letters, digits, '_' and '-', separated by dots")]
    Prefix(String),
    /// A limit that must not be zero is.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// A file cannot be read or does not hold what it should.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client does not accept the configuration.
    #[error("the NATS client does not accept the configuration: {0}")]
    Client(String),
}

impl NatsConfigError {
    pub(super) fn client(error: impl std::error::Error) -> Self {
        Self::Client(error.to_string())
    }
}

/// The servers, without the login that their addresses carried.
pub(super) struct Servers {
    pub(super) addresses: Vec<ServerAddr>,
    login: Option<Login>,
}

#[derive(PartialEq, Eq)]
enum Login {
    Token(String),
    User { name: String, password: String },
}

impl NatsConfig {
    /// Returns the servers as they may be shown: without user, password or token.
    pub fn redacted_servers(&self) -> Vec<String> {
        let redact = |address: &Secret| match server(address.expose()) {
            Ok((address, _)) => address.as_url_str().to_owned(),
            Err(_) => "(unreadable)".to_owned(),
        };
        self.servers.iter().map(redact).collect()
    }

    /// Reads the addresses.
    pub(super) fn servers(&self) -> Result<Servers, NatsConfigError> {
        let mut servers = Servers { addresses: Vec::new(), login: None };
        for (index, address) in self.servers.iter().enumerate() {
            let (address, login) =
                server(address.expose()).map_err(|reason| NatsConfigError::Server { position: index + 1, reason })?;
            if index > 0 && login != servers.login {
                return Err(NatsConfigError::DifferentUsers);
            }
            servers.addresses.push(address);
            servers.login = login;
        }
        if servers.addresses.is_empty() { Err(NatsConfigError::NoServer) } else { Ok(servers) }
    }

    /// Returns the client's options for these servers.
    pub(super) async fn options(&self, servers: &Servers) -> Result<ConnectOptions, NatsConfigError> {
        self.check()?;
        let first = AtomicBool::new(true);
        let (min, max) = (self.reconnect_min, self.reconnect_max);
        let delay = move |attempt| {
            // The client also waits before the very first attempt.
            if first.swap(false, Ordering::Relaxed) { Duration::ZERO } else { back_off(attempt, min, max) }
        };
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .no_echo()
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(self.connect_timeout)
            .ping_interval(self.ping_interval)
            .subscription_capacity(self.subscription_capacity)
            .reconnect_delay_callback(delay);
        options = match &servers.login {
            Some(Login::Token(token)) => options.token(token.clone()),
            Some(Login::User { name, password }) => options.user_and_password(name.clone(), password.clone()),
            None => options,
        };
        if let Some(path) = &self.credentials_file {
            let unusable = |source| NatsConfigError::File { path: path.clone(), source };
            options = options.credentials_file(path).await.map_err(unusable)?;
        }
        if let Some(path) = &self.ca_file {
            let unusable = |source| NatsConfigError::File { path: path.clone(), source };
            tokio::fs::File::open(path).await.map_err(unusable)?;
            options = options.add_root_certificates(path.clone());
        }
        Ok(options)
    }

    fn check(&self) -> Result<(), NatsConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !self.prefix.split('.').all(|token| !token.is_empty() && token.chars().all(plain)) {
            return Err(NatsConfigError::Prefix(self.prefix.clone()));
        }
        for (zero, name) in [
            (self.publish_queue == 0, "the NATS publish queue"),
            (self.subscription_capacity == 0, "the NATS subscription capacity"),
            (self.ping_interval.is_zero(), "the NATS ping interval"),
            (self.reconnect_min.is_zero(), "the NATS reconnect delay"),
        ] {
            if zero {
                return Err(NatsConfigError::Zero(name));
            }
        }
        Ok(())
    }
}

/// Splits an address into the server and the login.
fn server(text: &str) -> Result<(ServerAddr, Option<Login>), String> {
    let mut url = text.trim().parse::<ServerAddr>().map_err(|error| error.to_string())?.into_inner();
    match url.scheme() {
        "nats" | "tls" => {}
        _ => return Err("the scheme must be nats or tls".into()),
    }
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("user, password or token is not UTF-8".to_owned()),
    };
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) => Some(Login::Token(decode(token)?)),
        (name, Some(password)) => Some(Login::User { name: decode(name)?, password: decode(password)? }),
    };
    if url.host_str().is_none_or(str::is_empty) || url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err("the address has no host".into());
    }
    let address = ServerAddr::from_url(url).map_err(|error| error.to_string())?;
    Ok((address, login))
}

/// Returns a random wait before an attempt (from 1): between half and all of `min`, doubled for each attempt before it up
/// to `max`.
fn back_off(attempt: usize, min: Duration, max: Duration) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let ceiling = min.saturating_mul(2u32.saturating_pow(doublings)).min(max);
    rand::random_range(ceiling / 2..=ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(servers: &[&str]) -> NatsConfig {
        NatsConfig { servers: servers.iter().map(|text| Secret::new(*text)).collect(), ..NatsConfig::default() }
    }

    #[test]
    fn an_address_gives_server_and_login() {
        let user = |name: &str, password: &str| Some(Login::User { name: name.into(), password: password.into() });
        for (text, address, login) in [
            ("nats://a:4222", "nats://a:4222", None),
            ("a:4222", "nats://a:4222", None),
            ("tls://a", "tls://a", None),
            ("nats://s3cret@a:1", "nats://a:1", Some(Login::Token("s3cret".into()))),
            ("nats://jo:p%40ss@a:1", "nats://a:1", user("jo", "p@ss")),
            ("nats://jo:x@[::1]:1", "nats://[::1]:1", user("jo", "x")),
        ] {
            let servers = with(&[text]).servers().unwrap();
            assert_eq!(servers.addresses[0].as_url_str(), address);
            assert!(servers.login == login, "{text}");
        }
    }

    #[test]
    fn a_bad_address_is_named_by_its_position_and_no_password_is_shown() {
        for text in
            ["nats://", "http://jo:s3cret@a", "nats://jo:s3cret@a:99999", "nats://jo:s3cret@", "ws://jo:s3cret@a"]
        {
            let config = with(&["nats://a", text]);
            let error = config.servers().err().unwrap().to_string();
            assert!(error.contains("server 2"), "{error}");
            assert!(!error.contains("s3cret") && !format!("{config:?}").contains("s3cret"), "{error} {config:?}");
        }
        assert_eq!(with(&["nats://jo:s3cret@a:1"]).redacted_servers(), ["nats://a:1"]);
        assert!(matches!(with(&["nats://jo:x@a", "b"]).servers(), Err(NatsConfigError::DifferentUsers)));
        assert!(matches!(with(&[]).servers(), Err(NatsConfigError::NoServer)));
    }

    #[tokio::test]
    async fn limits_prefix_and_files_are_checked() {
        let servers = with(&["a"]).servers().unwrap();
        for prefix in ["", ".", "a.", "a b", "a.*", ">"] {
            let config = NatsConfig { prefix: prefix.into(), ..NatsConfig::default() };
            assert!(matches!(config.options(&servers).await, Err(NatsConfigError::Prefix(_))), "{prefix}");
        }
        let config = NatsConfig { subscription_capacity: 0, ..NatsConfig::default() };
        assert!(matches!(config.options(&servers).await, Err(NatsConfigError::Zero(_))));
        for config in [
            NatsConfig { credentials_file: Some("/missing".into()), ..NatsConfig::default() },
            NatsConfig { ca_file: Some("/missing".into()), ..NatsConfig::default() },
        ] {
            assert!(matches!(config.options(&servers).await, Err(NatsConfigError::File { .. })));
        }
    }

    #[test]
    fn waits_grow_to_the_limit_and_differ() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        for (attempt, ceiling) in [(1, 100), (2, 200), (6, 3200), (7, 5000), (usize::MAX, 5000)] {
            let waits: Vec<_> = (0..100).map(|_| back_off(attempt, min, max).as_millis()).collect();
            assert!(waits.iter().all(|wait| (ceiling / 2..=ceiling).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| wait != &waits[0]));
        }
    }
}
