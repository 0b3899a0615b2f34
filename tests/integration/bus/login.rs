//! How a node proves to NATS who it is, and NATS to the node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::json;
use switchboard::bus::{BusError, NatsConfig};
use switchboard::secret::Secret;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Node, PATIENCE, conversation, message};
use crate::support::eventually::assert_eventually;
use crate::support::{log, services};

#[tokio::test]
async fn user_and_password_or_a_token_come_from_the_address() {
    for (arguments, login) in
        [(&["--user", "jo", "--pass", "p@ss:word"][..], "jo:p%40ss%3Aword"), (&["--auth", "s3cret"][..], "s3cret")]
    {
        let server = services::own_nats_with(arguments).await;
        let node = Node::on_nats(at(&format!("nats://{login}@127.0.0.1:{}", server.port()))).await;
        node.until(|state| state.connected).await;
        node.settle().await;
    }
}

#[tokio::test]
async fn wrong_credentials_leave_the_node_disconnected_logged_once_and_in_no_hurry() {
    let log = log::capture();
    let server = services::own_nats_with(&["--user", "jo", "--pass", "right"]).await;
    let started = Instant::now();
    let address = format!("nats://jo:wr0ng@127.0.0.1:{}", server.port());
    let node = Node::on_nats(NatsConfig { reconnect_min: Duration::from_millis(50), ..at(&address) }).await;
    let server_log = server.folder().join("log");
    assert_eventually("four attempts", PATIENCE, async || {
        std::fs::read_to_string(&server_log).unwrap().matches("authentication error").count() >= 4
    })
    .await;
    assert!(started.elapsed() >= Duration::from_millis(25 + 50 + 100), "{:?}", started.elapsed());
    assert!(!node.bus.state().borrow().connected);
    assert_eq!(node.bus.request(&conversation(), message("")).await, Err(BusError::Disconnected));
    let log = log.text();
    let ours: Vec<_> = log.lines().filter(|line| line.contains("switchboard::bus")).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert!(ours[0].contains("ERROR") && ours[0].contains("authorization violation"), "{ours:?}");
    assert!(!log.contains("wr0ng"), "{log}");
}

#[tokio::test]
async fn a_tls_server_is_checked_against_the_given_certificates() {
    let folder = Folder::new();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let certificate = folder.write("cert.pem", &cert.pem());
    let key = folder.write("key.pem", &signing_key.serialize_pem());
    let arguments = ["--tls", "--tlscert", text(&certificate), "--tlskey", text(&key)];
    let server = services::own_nats_with(&arguments).await;
    let address = format!("tls://localhost:{}", server.port());

    let trusting = Node::on_nats(NatsConfig { ca_file: Some(certificate), ..at(&address) }).await;
    trusting.until(|state| state.connected).await;
    trusting.settle().await;

    let other = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let others = folder.write("other.pem", &other.cert.pem());
    let wary = Node::on_nats(NatsConfig { ca_file: Some(others), ..at(&address) }).await;
    assert!(!wary.bus.state().borrow().connected);
}

#[tokio::test]
async fn a_credentials_file_opens_a_server_that_trusts_its_operator() {
    let folder = Folder::new();
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let operator_jwt = jwt(&operator, &operator, "operator");
    let account_jwt = jwt(&operator, &account, "account");
    let resolver = format!("{}: {account_jwt}", account.public_key());
    let settings = folder.write(
        "nats.conf",
        &format!("operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {resolver} }}\n"),
    );
    let server = services::own_nats_with(&["--config", text(&settings)]).await;

    let credentials = |name: &str, signer: &KeyPair| {
        let (jwt, seed) = (jwt(signer, &user, "user"), user.seed().unwrap());
        let block = |name: &str, text: &str| format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n\n");
        folder.write(name, &(block("NATS USER JWT", &jwt) + &block("USER NKEY SEED", &seed)))
    };
    let known = NatsConfig { credentials_file: Some(credentials("known", &account)), ..at(&server.url()) };
    let node = Node::on_nats(known).await;
    node.until(|state| state.connected).await;
    node.settle().await;

    let stranger = credentials("stranger", &KeyPair::new_account());
    let node = Node::on_nats(NatsConfig { credentials_file: Some(stranger), ..at(&server.url()) }).await;
    assert!(!node.bus.state().borrow().connected);
}

/// Returns a token of NATS: `issuer` says that `subject` is an operator, account or user.
fn jwt(issuer: &KeyPair, subject: &KeyPair, kind: &str) -> String {
    let encode = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let unlimited = json!({"subs": -1, "conn": -1, "data": -1, "payload": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": true});
    let mut claims = json!({
        "jti": Uuid::new_v4().to_string(), "iat": 1_700_000_000, "name": kind,
        "iss": issuer.public_key(), "sub": subject.public_key(),
        "nats": {"type": kind, "version": 2},
    });
    match kind {
        "account" => claims["nats"]["limits"] = unlimited,
        "user" => claims["nats"].as_object_mut().unwrap().extend([
            ("subs".into(), json!(-1)),
            ("data".into(), json!(-1)),
            ("payload".into(), json!(-1)),
        ]),
        _ => {}
    }
    let signed = format!("{}.{}", encode(json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn at(address: &str) -> NatsConfig {
    NatsConfig { servers: vec![Secret::new(address)], ..NatsConfig::default() }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Files that the server's own account can read; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("switchboard-{}", Uuid::new_v4())));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
