//! TLS towards Postgres. The Postgres of the tests has none, so a door in front of it does what a server with TLS does.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use switchboard::store::postgres::{Config, Postgres};
use switchboard::store::{Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::services;

use super::fixture::{Folder, metrics};

/// What a client sends first when it wants TLS: the length, and a number that is no protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A loopback port that answers `SSLRequest` with yes, and speaks TLS for the Postgres behind it.
struct Door {
    port: u16,
    certificate: String,
}

impl Door {
    async fn open(postgres: u16) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that refuses the certificate hangs up here.
                tokio::spawn(pass(client, acceptor.clone(), postgres));
            }
        });
        Self { port, certificate: cert.pem() }
    }
}

async fn pass(mut client: TcpStream, acceptor: TlsAcceptor, postgres: u16) -> std::io::Result<()> {
    let mut request = [0; SSL_REQUEST.len()];
    client.read_exact(&mut request).await?;
    if request != SSL_REQUEST {
        return Err(std::io::Error::other("the client does not want TLS"));
    }
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(("127.0.0.1", postgres)).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn a_required_tls_is_used_and_verifies_the_server() {
    let url = services::database().await;
    let port = services::postgres().await.port();
    let door = Door::open(port).await;
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", door.port));
    let folder = Folder::new();
    let ca_file = folder.database().with_extension("pem");
    std::fs::write(&ca_file, &door.certificate).unwrap();

    for mode in ["require", "verify-ca", "verify-full"] {
        let config = Config { ca_file: Some(ca_file.clone()), ..Config::new(format!("{url}?sslmode={mode}")) };
        let store = Postgres::connect(config, metrics()).unwrap();
        store.migrate().await.unwrap();
        store.check().await.unwrap();
    }

    // The platform does not know this certificate, and the certificate does not know this name.
    let unknown = Config::new(format!("{url}?sslmode=require"));
    let error = Postgres::connect(unknown, metrics()).unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let misnamed = url.replace("127.0.0.1", "localhost");
    let config = Config { ca_file: Some(ca_file), ..Config::new(format!("{misnamed}?sslmode=require")) };
    let error = Postgres::connect(config, metrics()).unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_is_required() {
    let url = services::database().await;
    let store = Postgres::connect(Config::new(format!("{url}?sslmode=require")), metrics()).unwrap();
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_read_is_named() {
    let folder = Folder::new();
    let config = Config { ca_file: Some(folder.database()), ..Config::new("postgres://127.0.0.1/x?sslmode=require") };
    let error = Postgres::connect(config, metrics()).err().unwrap();
    assert!(matches!(&error, StoreError::Internal(why) if why.contains("switchboard.db")), "{error}");
}
