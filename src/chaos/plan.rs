//! What will go wrong, and when: decided from the seed before anything runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dice::Dice;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $place:ident;)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Fault { $($(#[doc = $doc])+ $name,)+ }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As it is written on the command line.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// Who brings it about.
            pub fn place(self) -> Place {
                match self { $(Self::$name => Place::$place),+ }
            }
        }
    };
}

/// Who brings a fault about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The plan, at a certain time.
    Plan,
    /// The clients, now and then, as part of their load.
    Client,
    /// The model gateway or a tool, for some of their answers.
    Served,
}

faults! {
    /// SIGKILL to the node that runs a turn, at a random token.
    KillHolder = "kill_holder", Plan;
    /// SIGKILL to the node that holds a random client's socket.
    KillSocket = "kill_socket", Plan;
    /// SIGSTOP to a node, past its lease, then SIGCONT.
    Pause = "pause", Plan;
    /// SIGTERM to one node after the other, each started again before the next.
    Rolling = "rolling", Plan;
    /// A NATS server is killed and started again.
    NatsRestart = "nats_restart", Plan;
    /// One node's connection to NATS is refused, or swallows everything.
    NatsCut = "nats_cut", Plan;
    /// Messages of NATS are dropped, doubled and reordered.
    NatsFrames = "nats_frames", Plan;
    /// SIGKILL to every process of Postgres, which then recovers.
    PostgresRestart = "postgres_restart", Plan;
    /// One node's connections to Postgres are refused, or swallow everything.
    PostgresCut = "postgres_cut", Plan;
    /// Everything between the nodes and Postgres is late.
    PostgresSlow = "postgres_slow", Plan;
    /// A client's connection breaks at a random byte, in either direction.
    ClientCut = "client_cut", Client;
    /// The same message is sent to two nodes at once.
    Twice = "twice", Client;
    /// Two messages of one conversation are sent at once.
    TwoMessages = "two_messages", Client;
    /// A cancel races the end of its turn.
    Cancel = "cancel", Client;
    /// A person approves a tool on one node and rejects it on another, at once.
    TwoApprovals = "two_approvals", Client;
    /// A client stops to read for a while, in the middle of much text.
    StopReading = "stop_reading", Client;
    /// The model gateway answers 429 or 503, stalls, hangs up in mid-token or in the middle of a call, or sends garbage.
    Gateway = "gateway", Served;
    /// A tool takes effect and answers late, or never.
    Tools = "tools", Served;
}

impl Fault {
    /// Reads a list, separated by commas; `all` is every kind, `none` is none.
    ///
    /// # Errors
    /// The word that is no fault, with those that are.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        match text.trim() {
            "all" => return Ok(Self::ALL.to_vec()),
            "none" => return Ok(Vec::new()),
            _ => {}
        }
        text.split(',')
            .map(|word| {
                let word = word.trim();
                Self::ALL.iter().copied().find(|fault| fault.word() == word).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|fault| fault.word()).collect();
                    format!("'{word}' is no fault; there are: all, none, {}", known.join(", "))
                })
            })
            .collect()
    }
}

/// One fault of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, since the load began.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// How long what is broken stays broken.
    pub lasts: Duration,
    /// For everything else that is left to chance.
    pub dice: u64,
}

/// The faults of a run of this length, in order: each kind once before any comes again, and none in the last part, in which
/// the system comes to rest. `lease` is the nodes': pauses are longer than it.
pub fn plan(seed: u64, faults: &[Fault], length: Duration, lease: Duration) -> Vec<Planned> {
    let mut dice = Dice::of(seed, "plan");
    let kinds: Vec<Fault> = faults.iter().copied().filter(|fault| fault.place() == Place::Plan).collect();
    let (mut plan, mut round) = (Vec::new(), Vec::new());
    // Some faults overlap; but on average there is time to recover, or nothing would be seen to.
    let gap = 400 + u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).min(60_000) / 4;
    let mut at = Duration::from_millis(gap);
    while at < length && !kinds.is_empty() {
        if round.is_empty() {
            round.clone_from(&kinds);
        }
        let place = usize::try_from(dice.between(0, round.len() as u64)).unwrap_or_default();
        let fault = round.swap_remove(place);
        plan.push(Planned { at, fault, lasts: lasts(fault, lease, &mut dice), dice: dice.roll() });
        at += Duration::from_millis(dice.between(gap / 2, gap * 2));
    }
    plan
}

fn lasts(fault: Fault, lease: Duration, dice: &mut Dice) -> Duration {
    match fault {
        Fault::Pause => lease.mul_f64(1.0 + dice.between(1, 100) as f64 / 100.0),
        Fault::PostgresRestart | Fault::PostgresCut | Fault::PostgresSlow => {
            // From a blip to longer than a lease.
            lease.mul_f64(dice.between(10, 150) as f64 / 100.0)
        }
        Fault::KillHolder
        | Fault::KillSocket
        | Fault::Rolling
        | Fault::NatsRestart
        | Fault::NatsCut
        | Fault::NatsFrames
        | Fault::ClientCut
        | Fault::Twice
        | Fault::TwoMessages
        | Fault::Cancel
        | Fault::TwoApprovals
        | Fault::StopReading
        | Fault::Gateway
        | Fault::Tools => Duration::from_millis(dice.between(200, 3000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(9);

    #[test]
    fn a_seed_decides_the_plan() {
        let long = Duration::from_secs(300);
        assert_eq!(plan(1, Fault::ALL, long, LEASE), plan(1, Fault::ALL, long, LEASE));
        assert_ne!(plan(1, Fault::ALL, long, LEASE), plan(2, Fault::ALL, long, LEASE));
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let plan = plan(3, Fault::ALL, Duration::from_secs(300), LEASE);
        let kinds: Vec<Fault> = Fault::ALL.iter().copied().filter(|fault| fault.place() == Place::Plan).collect();
        assert!(plan.len() > 2 * kinds.len());
        let mut first: Vec<Fault> = plan.iter().take(kinds.len()).map(|planned| planned.fault).collect();
        first.sort();
        assert_eq!(first, kinds);
    }

    #[test]
    fn a_pause_is_longer_than_the_lease() {
        let plan = plan(4, &[Fault::Pause], Duration::from_secs(300), LEASE);
        assert!(plan.iter().all(|planned| planned.lasts > LEASE));
    }

    #[test]
    fn a_list_is_read_and_a_wrong_word_is_named() {
        assert_eq!(Fault::list("pause, twice"), Ok(vec![Fault::Pause, Fault::Twice]));
        assert_eq!(Fault::list("all").as_deref(), Ok(Fault::ALL));
        assert!(Fault::list("pause,fire").is_err_and(|error| error.contains("'fire'")));
    }
}
