//! Reads what the store holds in the end, as a client does: page by page, over the wire, from any node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{NoTls, Row};

use super::ChaosError;
use super::dice::Dice;
use super::history::{History, Stored, StoredTurn, What};
use super::link::{Lifetime, Link};
use super::world::{Session, World};
use crate::protocol::{Action, MAX_PAGE};

/// How long one page may take.
const PAGE_WITHIN: Duration = Duration::from_secs(5);

/// How long before a page is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The part of an answer that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    messages: Vec<Message>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    direction: String,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    text: String,
}

/// Writes every conversation into the history, as far as that can be done until then.
pub(super) async fn read_all(world: &Arc<World>, until: Instant) {
    let mut dice = Dice::of(world.seed, "stored");
    for session in world.sessions() {
        loop {
            if let Some(messages) = read(world, &session, &mut dice).await {
                let conversation = session.conversation.to_string();
                world.history.add(What::Stored { conversation, messages });
                break;
            }
            if Instant::now() > until {
                return;
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Writes the row of every turn into the history. No client sees how many attempts a turn took, so this asks the database.
pub(super) async fn read_turns(history: &History, database: &str) -> Result<(), ChaosError> {
    let failed = |error: tokio_postgres::Error| ChaosError::io("read the turns")(io::Error::other(error));
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.map_err(failed)?;
    let driver = tokio::spawn(connection);
    let rows =
        client.query("select request_id, state, attempt from turns order by request_id", &[]).await.map_err(failed)?;
    drop(client);
    // The rows are there; how the connection ends tells nothing more.
    let _ = driver.await;
    let turn =
        |row: &Row| Ok(StoredTurn { request: row.try_get(0)?, state: row.try_get(1)?, attempt: row.try_get(2)? });
    let turns = rows.iter().map(turn).collect::<Result<_, _>>().map_err(failed)?;
    history.add(What::Turns { turns });
    Ok(())
}

async fn read(world: &World, session: &Session, dice: &mut Dice) -> Option<Vec<Stored>> {
    let (_, address) = world.node(None, dice)?;
    let mut link = Link::connect(address, Lifetime::LONG).await.ok()?;
    let (mut messages, mut cursor) = (Vec::new(), None);
    loop {
        let action = Action::GetConversationMessages { session_id: session.id, limit: MAX_PAGE, cursor };
        link.send("page", &action).await.ok()?;
        let frame = timeout(PAGE_WITHIN, link.next()).await.ok()?.ok()?;
        let page: Page = serde_json::from_value(frame.data).ok()?;
        messages.extend(page.messages);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let stored = |message: Message| Stored { inbound: message.direction == "inbound", text: message.content.text };
    Some(messages.into_iter().rev().map(stored).collect())
}
