//! What the node's CPU pays for a token and for a turn.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::Result;
use crate::client::{Client, Session};
use crate::process::Node;
use crate::report::Report;
use crate::rig::{Bus, Rig};
use crate::script::Script;

/// Sessions that a socket takes its turns in, one after the other; the turns of the first warm up.
const SESSIONS: usize = 16;

/// The most CPU that a token may cost, in microseconds, and a turn, in milliseconds.
const TOKEN_TARGET_US: f64 = 8.0;
const TURN_TARGET_MS: f64 = 2.0;

/// The tokens of the turn that [`TURN_TARGET_MS`] is about.
const PLAIN_TURN: u32 = 200;

/// A load: so many sockets, each with this many turns in each of its sessions.
struct Load {
    sockets: usize,
    turns: u64,
    script: Script,
}

/// What a load cost.
struct Cost {
    cpu: Duration,
    tokens: f64,
    turns: f64,
    /// Frames with text that were sent to clients.
    frames: f64,
}

/// Measures a node of a cluster at steady state.
pub async fn run(rig: &Rig, report: &mut Report) -> Result<()> {
    let node = rig.cluster().await?.node("cpu", Bus::Nats, &[]).await?;

    let plain = Load { sockets: 8, turns: 10, script: Script::flat_out(PLAIN_TURN, 64) };
    let cost = plain.measure(&node).await?;
    report.at_most(format!("a turn of {PLAIN_TURN} tokens, flat out"), cost.ms_per_turn(), TURN_TARGET_MS, "ms");

    for (per_write, how) in [(64, "64 events a write"), (1, "one event a write")] {
        let load = Load { sockets: 8, turns: 3, script: Script::flat_out(2000, per_write) };
        let cost = load.measure(&node).await?;
        report.at_most(format!("a token, flat out, {how}"), cost.us_per_token(), TOKEN_TARGET_US, "us");
        report.note("  frames per token", cost.frames / cost.tokens, "");
    }

    let paced = Load { sockets: 50, turns: 1, script: Script::paced(PLAIN_TURN, 5_000) };
    let cost = paced.measure(&node).await?;
    report.note("a token, every 5 ms, each in a frame of its own", cost.us_per_token(), "us");
    report.note("  frames per token", cost.frames / cost.tokens, "");
    Ok(())
}

impl Load {
    async fn measure(&self, node: &Node) -> Result<Cost> {
        let connecting = (0..self.sockets).map(|_| async {
            let mut client = Client::connect(node.address).await?;
            let sessions = client.sessions(SESSIONS).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((client, sessions))
        });
        let mut clients = try_join_all(connecting).await?;
        self.talk(&mut clients, 0..1).await?;

        let (cpu, frames) = (node.cpu()?, node.metric(TOKEN_FRAMES).await?);
        self.talk(&mut clients, 1..SESSIONS).await?;
        let turns = (self.sockets * (SESSIONS - 1)) as f64 * self.turns as f64;
        Ok(Cost {
            cpu: node.cpu()? - cpu,
            frames: node.metric(TOKEN_FRAMES).await? - frames,
            turns,
            tokens: turns * f64::from(self.script.tokens),
        })
    }

    /// Every client at once, each with all turns of some of its sessions.
    async fn talk(&self, clients: &mut [(Client, Vec<Session>)], which: std::ops::Range<usize>) -> Result<()> {
        let talking = clients.iter_mut().map(|(client, sessions)| {
            let sessions = &sessions[which.clone()];
            async move {
                for session in sessions {
                    for turn in 0..self.turns {
                        client.turn(session, &self.script.with_seed(turn), |_, _| {}).await?;
                    }
                }
                Ok::<_, crate::client::Fault>(())
            }
        });
        try_join_all(talking).await?;
        Ok(())
    }
}

/// What the node counts: frames with text that it made.
const TOKEN_FRAMES: &str = "switchboard_turn_frames_total{kind=\"token\"";

impl Cost {
    fn us_per_token(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tokens
    }

    fn ms_per_turn(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.turns
    }
}
