//! TLS towards Postgres: rustls with the platform's roots.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

/// A connector that verifies the server's certificate and name. Names its crypto provider, so that it does not depend on
/// what the process installed.
pub(super) fn connector() -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(StoreError::Internal(
            "the database URL requires TLS, and this machine has no root certificates".into(),
        ));
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Internal(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
