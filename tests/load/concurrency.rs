//! Many turns at once on two nodes and one Postgres: none fails, none breaks.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use crate::Result;
use crate::client::{Client, Fault, Session, Turn};
use crate::process::Node;
use crate::report::{Report, Sample};
use crate::rig::{Bus, Rig};
use crate::script::Script;

/// Turns that run at once.
const TURNS: usize = 600;

/// An answer: long enough that the last turn begins before the first one ends.
const TOKENS: u32 = 200;
const INTERVAL_US: u64 = 50_000;

/// Measures two nodes that both do everything; then one that holds all sockets while the other runs all turns, so that every
/// token crosses the bus.
pub async fn run(rig: &Rig, report: &mut Report) -> Result<()> {
    let slots = TURNS.to_string();
    let cluster = rig.cluster().await?;
    let nodes = [cluster.node("both-1", Bus::Nats, &[]).await?, cluster.node("both-2", Bus::Nats, &[]).await?];
    measure(&[&nodes[0], &nodes[1]], "two nodes", report).await?;
    drop(nodes);

    let cluster = rig.cluster().await?;
    let _runner = cluster.node("runner", Bus::Nats, &[("ROLE", "runner"), ("MAX_TURNS", &slots)]).await?;
    let edge = cluster.node("edge", Bus::Nats, &[("ROLE", "edge")]).await?;
    measure(&[&edge], "sockets here, turns there", report).await
}

async fn measure(nodes: &[&Node], how: &str, report: &mut Report) -> Result<()> {
    let connecting = (0..TURNS).map(|place| async move {
        let mut client = Client::connect(nodes[place % nodes.len()].address).await?;
        let session = client.session().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((client, session))
    });
    let clients = try_join_all(connecting).await?;
    let begin = Instant::now();
    let talking = (0..).zip(clients).map(|(seed, (client, session))| tokio::spawn(talk(client, session, seed)));
    let (mut turns, mut failed, mut broken) = (Vec::new(), 0, 0);
    for ended in join_all(talking).await {
        match ended? {
            Ok(turn) => turns.push(turn),
            Err(fault) => {
                if failed + broken == 0 {
                    eprintln!("the first fault: {fault}");
                }
                match fault {
                    Fault::Failed(_) => failed += 1,
                    Fault::Broken(_) => broken += 1,
                }
            }
        }
    }
    let (mut accepted, mut took) = (Sample::default(), Sample::default());
    for turn in &turns {
        accepted.add(seconds(turn.accepted - begin));
        took.add(seconds(turn.ended - turn.accepted));
    }
    let alone = seconds(Duration::from_micros(INTERVAL_US) * (TOKENS - 1));
    report.at_most(format!("{how}: failed of {TURNS}"), f64::from(failed), 0.0, "");
    report.at_most(format!("{how}: broken of {TURNS}"), f64::from(broken), 0.0, "");
    report.note(format!("{how}: at the same moment"), most_at_once(&turns) as f64, "");
    report.note(format!("{how}: last one accepted after"), accepted.quantile(1.0), "s");
    report.note(format!("{how}: a turn that the model needs {alone:.2} s for, median"), took.quantile(0.5), "s");
    report.note(format!("{how}: the longest"), took.quantile(1.0), "s");
    Ok(())
}

async fn talk(mut client: Client, session: Session, seed: u64) -> std::result::Result<Turn, Fault> {
    let turn = client.turn(&session, &Script::paced(TOKENS, INTERVAL_US).with_seed(seed), |_, _| {}).await?;
    match client.expect_silence().await {
        Ok(()) => Ok(turn),
        Err(error) => Err(Fault::Broken(format!("after the end: {error}"))),
    }
}

/// How many turns had been accepted and not yet ended, at the fullest moment.
fn most_at_once(turns: &[Turn]) -> usize {
    let running_at =
        |moment: Instant| turns.iter().filter(|turn| turn.accepted <= moment && moment < turn.ended).count();
    turns.iter().map(|turn| running_at(turn.accepted)).max().unwrap_or(0)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
