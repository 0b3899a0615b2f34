//! What a node keeps for a client that stops to read in the middle of a long answer.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::timeout;

use crate::Result;
use crate::client::{Client, Session};
use crate::idle;
use crate::process::Node;
use crate::report::Report;
use crate::rig::{Bus, Rig};
use crate::script::Script;

/// Clients, each with a few turns at once: the text of one would fit into what the kernel keeps between a node and a client.
const CLIENTS: usize = 10;
const TURNS: u64 = 3;

/// The answer of a turn: nearly 1 MB, which is the longest that a node takes.
const TOKENS: u32 = 100_000;
const WORDS_PER_TOKEN: u32 = 2;

/// How long the gateway thinks first: every turn of a client has been accepted before the first token comes.
const THINKS: Duration = Duration::from_secs(2);

/// How long the gateway keeps an answer open that it has said in full: all is measured while every turn still runs, for with
/// it the node forgets its text.
const HELD_OPEN: Duration = Duration::from_secs(100);

/// How much a client reads, in bytes of text, so that the kernel has room again for some, but not all, of what it missed.
const READ_BEHIND: usize = 70_000;

/// The most that a client which stopped may cost beside one that has read everything, in KiB.
const TARGET_KIB: f64 = 256.0;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// They stop after the first token.
    StopAtOnce,
    /// They stop again when the answer is there in full and the node has begun to send what they missed in large frames.
    StopBehind,
}

/// Measures the same load twice.
pub async fn run(rig: &Rig, report: &mut Report) -> Result<()> {
    for (case, figure) in [
        (Case::StopAtOnce, "a client that stopped at the first token"),
        (Case::StopBehind, "a client that stopped among the largest frames"),
    ] {
        let kept = kept_kib(rig, case, report).await?;
        report.at_most(figure, kept / CLIENTS as f64, TARGET_KIB, "KiB");
    }
    Ok(())
}

/// How much the node gives back when clients that had stopped have read everything, while their turns still run.
async fn kept_kib(rig: &Rig, case: Case, report: &mut Report) -> Result<f64> {
    // Neither the time that a write may take nor silence ends anything here.
    let settings = [("WRITE_TIMEOUT_SECONDS", "600"), ("PING_SECONDS", "300"), ("GATEWAY_IDLE_SECONDS", "300")];
    // What was freed goes back to the system at once, so that what is resident is what is kept.
    let environment = [("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")];
    let node = rig.cluster().await?.node_with("stalled", Bus::None, &settings, &environment).await?;
    let mut clients = Vec::new();
    for first in (0..).step_by(TURNS as usize).take(CLIENTS) {
        let mut client = Client::connect_fixed(node.address).await?;
        let sessions = client.sessions(TURNS as usize).await?;
        clients.push((client, sessions.into_iter().zip((first..first + TURNS).map(script)).collect()));
    }
    let mut texts = try_join_all(clients.iter_mut().map(begin)).await?;
    if case == Case::StopBehind {
        // While a node makes tokens as fast as it can, it grows.
        idle::resting_kib(&node).await?;
        let behind =
            clients.iter_mut().zip(&mut texts).map(|((client, _), text)| client.read_text(text, is_enough_behind));
        timeout(HELD_OPEN, try_join_all(behind)).await??;
    }
    let stopped = idle::resting_kib(&node).await?;
    let collapsed_before = collapsed(&node).await?;
    // Nothing was lost by it: the rest comes when they read again.
    try_join_all(clients.iter_mut().zip(&mut texts).map(|(client, text)| finish(client, text))).await?;
    if collapsed(&node).await? < collapsed_before + CLIENTS {
        return Err("the kernel took everything: nothing waited in the node".into());
    }
    let read = idle::resting_kib(&node).await?;
    let in_flight = node.metric("switchboard_turns_in_flight").await? as usize;
    if in_flight as u64 != CLIENTS as u64 * TURNS {
        return Err(format!("{in_flight} turns still run; see {}", node.log()).into());
    }
    report.note(format!("resident, {CLIENTS} clients, {case:?}"), stopped as f64, "KiB");
    report.note("resident once they have read everything", read as f64, "KiB");
    Ok(stopped as f64 - read as f64)
}

/// A client and its turns.
type Talking = (Client, Vec<(Session, Script)>);

fn script(seed: u64) -> Script {
    let (think_us, linger_us) = (THINKS.as_micros() as u64, HELD_OPEN.as_micros() as u64);
    Script { width: WORDS_PER_TOKEN, think_us, linger_us, ..Script::flat_out(TOKENS, 1) }.with_seed(seed)
}

/// How much text all turns of a client have, in bytes.
fn whole(turns: &[(Session, Script)]) -> usize {
    turns.iter().filter_map(|(_, script)| script.text()).map(|text| text.len()).sum()
}

/// Sends the messages and reads the first token.
async fn begin((client, turns): &mut Talking) -> Result<String> {
    for (session, script) in &*turns {
        client.begin(session, script).await?;
    }
    let mut text = String::new();
    client.read_text(&mut text, |_| true).await?;
    Ok(text)
}

/// Reads the rest. The texts of the turns come mixed; there must be as much as was scripted.
async fn finish((client, turns): &mut Talking, text: &mut String) -> Result<()> {
    let whole = whole(turns);
    if text.len() < whole {
        client.read_text(text, |text| text.len() >= whole).await?;
    }
    if text.len() == whole { Ok(()) } else { Err("there is more text than was scripted".into()) }
}

fn is_enough_behind(text: &str) -> bool {
    text.len() >= READ_BEHIND
}

/// Frames with the text of several that a client missed.
async fn collapsed(node: &Node) -> Result<usize> {
    Ok(node.metric("switchboard_outbox_overflow_total{action=\"collapsed\"").await? as usize)
}
