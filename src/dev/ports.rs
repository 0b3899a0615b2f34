//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use super::DevError;

/// How many ports are looked at before the machine counts as full.
const TRIES: usize = 100;

/// Returns a port that nothing listens on at this moment.
///
/// It lies below the ranges from which systems take the ports of outgoing connections, so that no connection takes the port
/// of a server that is stopped and about to start again. Another process may still be faster: whoever binds it retries.
pub(super) fn free_port() -> Result<u16, DevError> {
    let mut last = None;
    for _ in 0..TRIES {
        let port = rand::rng().random_range(15_000..32_000);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(DevError::Io { doing: "find a free port on 127.0.0.1".into(), source })
}
