//! What a node adds to the time that the model takes: for the first token, and for each one after it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::client::{Client, Session};
use crate::clock::{Watch, now_ns};
use crate::report::{Report, Sample};
use crate::rig::{Bus, Rig};
use crate::script::{Script, Stamp};

/// Turns that run at once.
const AT_ONCE: u32 = 50;

/// Turns of each client, one after the other. The first is not counted.
const TURNS: u64 = 5;

/// An answer: so many tokens, and so long between two and before the first.
const TOKENS: u32 = 100;
const INTERVAL: Duration = Duration::from_millis(20);

/// The most that may be added at the median, in milliseconds.
const FIRST_TARGET_MS: f64 = 5.0;
const TOKEN_TARGET_MS: f64 = 1.0;

/// What was added, in milliseconds.
#[derive(Default)]
struct Added {
    first: Sample,
    token: Sample,
}

/// Where a client gets its answers from.
enum Source {
    Node(Box<Client>, Session),
    /// The gateway itself, for comparison.
    Gateway(reqwest::Client, String),
}

/// Measures a node under turns that began one after the other, as people begin them, then under turns that all begin in the
/// same moment; and before that what the same clients see without a node.
pub async fn run(rig: &Rig, report: &mut Report) -> Result<()> {
    let turn = INTERVAL * TOKENS;
    let url = format!("{}/chat/completions", rig.gateway.url());
    let direct = (0..AT_ONCE).map(|_| Source::Gateway(reqwest::Client::new(), url.clone())).collect();
    let mut added = measure(direct, turn).await?;
    report.note("without a node: first token, median", added.first.quantile(0.5), "ms");
    report.note("without a node: token, median", added.token.quantile(0.5), "ms");

    let node = rig.cluster().await?.node("latency", Bus::Nats, &[]).await?;
    for (spread, how) in [(turn, "spread"), (Duration::ZERO, "in step")] {
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            let mut client = Box::new(Client::connect(node.address).await?);
            let session = client.session().await?;
            clients.push(Source::Node(client, session));
        }
        let mut added = measure(clients, spread).await?;
        let (first, token) = (added.first.quantile(0.5), added.token.quantile(0.5));
        if spread.is_zero() {
            report.note(format!("first token, {how}, median"), first, "ms");
        } else {
            report.at_most(format!("first token, {how}, median"), first, FIRST_TARGET_MS, "ms");
        }
        report.note(format!("first token, {how}, 99 of 100"), added.first.quantile(0.99), "ms");
        if spread.is_zero() {
            report.note(format!("token, {how}, median"), token, "ms");
        } else {
            report.at_most(format!("token, {how}, median"), token, TOKEN_TARGET_MS, "ms");
        }
        report.note(format!("token, {how}, 99 of 100"), added.token.quantile(0.99), "ms");
    }
    Ok(())
}

/// Lets every client take its turns, the clients' beginnings spread over a time.
async fn measure(sources: Vec<Source>, spread: Duration) -> Result<Added> {
    let watch = Watch::start();
    let begin = Instant::now();
    let all = (0..).zip(sources).map(|(place, mut source)| async move {
        sleep_until(begin + spread * place / AT_ONCE).await;
        let mut added = Added::default();
        for number in 0..TURNS {
            let one = source.turn(number).await?;
            if number > 0 {
                added.first.merge(one.first);
                added.token.merge(one.token);
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(added)
    });
    let mut added = Added::default();
    for one in try_join_all(all).await? {
        added.first.merge(one.first);
        added.token.merge(one.token);
    }
    watch.check()?;
    Ok(added)
}

impl Source {
    async fn turn(&mut self, number: u64) -> Result<Added> {
        let interval_us = u64::try_from(INTERVAL.as_micros())?;
        let script = Script { think_us: interval_us, stamped: true, ..Script::paced(TOKENS, interval_us) };
        let script = script.with_seed(number);
        match self {
            Self::Node(client, session) => {
                let mut arrived = Vec::with_capacity(TOKENS as usize);
                let turn = client.turn(session, &script, |text, received_ns| {
                    arrived.extend(Stamp::all(text).map(|stamp| (stamp, received_ns)));
                });
                let sent_ns = turn.await?.sent_ns;
                Added::of(sent_ns, arrived)
            }
            Self::Gateway(client, url) => {
                let message = serde_json::to_string(&script)?;
                let body = json!({"messages": [{"role": "user", "content": message}]}).to_string();
                let sent_ns = now_ns();
                let mut answer = client.post(&*url).body(body).send().await?.bytes_stream();
                let mut arrived = Vec::with_capacity(TOKENS as usize);
                while let Some(bytes) = answer.next().await {
                    let received_ns = now_ns();
                    // One write is one event here, and a stamp has nothing that JSON escapes.
                    for part in String::from_utf8_lossy(&bytes?).split(r#"{"content":""#).skip(1) {
                        let text = part.split('"').next().unwrap_or_default();
                        arrived.extend(Stamp::all(text).map(|stamp| (stamp, received_ns)));
                    }
                }
                Added::of(sent_ns, arrived)
            }
        }
    }
}

impl Added {
    /// What was added to an answer whose stamps arrived at these times.
    ///
    /// First token: from the client's send to its arrival, less the time that the gateway itself took, from when it had
    /// read the request to when it wrote. Every other token: from when the gateway wrote it to its arrival.
    fn of(sent_ns: u64, arrived: Vec<(Stamp, u64)>) -> Result<Self> {
        if arrived.len() != TOKENS as usize {
            return Err(format!("{} of {TOKENS} tokens arrived", arrived.len()).into());
        }
        let mut added = Self::default();
        for (Stamp { written_ns, asked_ns }, received_ns) in arrived {
            match asked_ns {
                Some(asked_ns) => added.first.add(ms((received_ns - sent_ns).saturating_sub(written_ns - asked_ns))),
                None => added.token.add(ms(received_ns.saturating_sub(written_ns))),
            }
        }
        Ok(added)
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
