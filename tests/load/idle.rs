//! What a session costs while nothing happens in it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::interval;

use crate::Result;
use crate::client::Client;
use crate::process::Node;
use crate::report::Report;
use crate::rig::{Bus, Rig};

/// Sessions that are counted, each on a connection of its own.
const SESSIONS: usize = 3000;

/// Sessions that are there before and after, so that what the first ones set up (the connections to Postgres) is not counted.
const WARM_UP: usize = 50;

/// Clients that connect at once.
const AT_ONCE: usize = 32;

/// The most that a session may cost, in KiB.
const TARGET_KIB: f64 = 10.0;

/// How often the memory is looked at until it rests, and how often it must be the same: nothing tells when pages come and go.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SAME_LOOKS: u32 = 5;

/// Measures a node of a cluster, and one that is alone.
pub async fn run(rig: &Rig, report: &mut Report) -> Result<()> {
    for (bus, kind) in [(Bus::Nats, "with NATS"), (Bus::None, "without a bus")] {
        let node = rig.cluster().await?.node("idle", bus, &[]).await?;
        let mut clients = connect(node.address, WARM_UP).await?;
        let before = resting_kib(&node).await?;
        clients.extend(connect(node.address, SESSIONS).await?);
        for client in &mut clients {
            client.expect_silence().await?;
        }
        let after = resting_kib(&node).await?;
        let open = node.metric("switchboard_sockets").await? as usize;
        if open != WARM_UP + SESSIONS {
            return Err(format!("{open} sockets are open; see {}", node.log()).into());
        }
        let each = after.saturating_sub(before) as f64 / SESSIONS as f64;
        report.note(format!("resident before, {kind}"), before as f64, "KiB");
        report.note(format!("resident with {SESSIONS} more sessions, {kind}"), after as f64, "KiB");
        report.at_most(format!("an idle session, {kind}"), each, TARGET_KIB, "KiB");
    }
    Ok(())
}

/// Clients with a session each.
async fn connect(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let one = |_| async move {
        let mut client = Client::connect(address).await?;
        client.session().await?;
        Ok(client)
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// The node's resident memory once it does not change any more.
pub async fn resting_kib(node: &Node) -> Result<u64> {
    let mut looks = interval(LOOK_EVERY);
    let (mut last, mut same) = (0, 0);
    while same < SAME_LOOKS {
        looks.tick().await;
        let now = node.resident_kib()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
