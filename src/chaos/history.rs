//! What happened in a run, one JSON object a line: everything that the checker judges, and nothing else does.
//!
//! Records stand in the order in which they happened. What a node was asked is recorded before it is sent, what came back
//! after it was read, and a model call before its first token, so that no record can be explained only by a later one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::plan::Fault;
use super::tool::Tool;

/// How a connection ended that was broken at a random byte.
pub const CUT: &str = "cut";

/// The code that refuses an answer which nothing waits for.
pub const NOTHING_ASKS: &str = "NO_PENDING_CONFIRMATION";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, in microseconds since the run began.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. A reader is one device: it keeps its place in each turn over any number of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The run began, like this.
    Run {
        /// Of the plan and of every choice.
        seed: u64,
        /// Node processes.
        nodes: usize,
        /// Clients.
        clients: usize,
        /// The nodes' lease.
        lease_seconds: f64,
    },
    /// A fault began.
    FaultBegan {
        /// Names it until its end.
        id: u64,
        /// Its kind.
        fault: Fault,
        /// The node it strikes, when it is one.
        node: Option<usize>,
    },
    /// It is over, and what it broke is whole again.
    FaultEnded {
        /// Which.
        id: u64,
    },
    /// A node was sent SIGKILL.
    Killed {
        /// Which.
        node: usize,
    },
    /// A node that was sent SIGTERM has exited.
    Exited {
        /// Which.
        node: usize,
        /// Its exit code; `None`: a signal ended it.
        code: Option<i32>,
    },
    /// A node asked the model.
    ModelCall {
        /// Which node.
        node: usize,
        /// The person's last message.
        message: String,
        /// The number of calls for this message so far, this one included.
        attempt: u32,
        /// 0; 1 once the model has the results of the tools that it called.
        round: u32,
        /// The answer is not simply given in full.
        faulty: bool,
    },
    /// A tool was called, and took effect.
    ToolCall {
        /// Which tool.
        tool: Tool,
        /// The call's key: the turn and the call.
        key: String,
        /// The message for which the model called it.
        message: String,
    },
    /// A reader has a connection.
    Connected {
        /// Which reader.
        reader: u64,
        /// To this node.
        node: usize,
    },
    /// It has not any more.
    Disconnected {
        /// Which reader.
        reader: u64,
        /// How it ended.
        why: String,
    },
    /// A reader uses this session from now on.
    Session {
        /// Which reader.
        reader: u64,
        /// The session.
        session: String,
        /// Its conversation.
        conversation: String,
    },
    /// A reader asks for something about a turn.
    Asked {
        /// Which reader.
        reader: u64,
        /// The turn's request.
        request: String,
        /// What.
        ask: Ask,
    },
    /// A reader was told something.
    Saw {
        /// Which reader.
        reader: u64,
        /// The turn's request, when the frame named one.
        request: Option<String>,
        /// What.
        seen: Seen,
    },
    /// A reader gives up what it has asked for and is told nothing more.
    Left {
        /// Which reader.
        reader: u64,
    },
    /// What a conversation holds after everything has come to rest, oldest first.
    Stored {
        /// Which conversation.
        conversation: String,
        /// Its messages.
        messages: Vec<Stored>,
    },
    /// What is stored of every turn after everything has come to rest.
    Turns {
        /// All of them.
        turns: Vec<StoredTurn>,
    },
}

/// What a reader asks about a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// To accept this message.
    Send {
        /// Its text.
        message: String,
    },
    /// What follows this position.
    Attach {
        /// The newest number it has.
        after: u64,
    },
    /// To stop.
    Cancel,
    /// To let a tool run, or not.
    Confirm {
        /// The person's answer.
        approved: bool,
    },
}

/// What a reader was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Seen {
    /// 202.
    Accepted,
    /// An error that is no turn's end.
    Refused {
        /// Its code.
        code: String,
    },
    /// The answer to an attach.
    Attached {
        /// `delta`, `snapshot` or `gone`.
        verdict: String,
        /// The epoch of what follows.
        epoch: i64,
    },
    /// Text to append.
    Text {
        /// The frame's epoch.
        epoch: i64,
        /// The frame's number.
        seq: u64,
        /// The text.
        text: String,
    },
    /// A person must approve the next call.
    Asks {
        /// The frame's epoch.
        epoch: i64,
        /// The frame's number.
        seq: u64,
        /// The tool's name.
        tool: String,
    },
    /// The model called a tool.
    ToolCalled {
        /// The frame's epoch.
        epoch: i64,
        /// The frame's number.
        seq: u64,
        /// The tool's name.
        tool: String,
        /// The arguments, as JSON.
        arguments: String,
    },
    /// A call has ended.
    ToolEnded {
        /// The frame's epoch.
        epoch: i64,
        /// The frame's number.
        seq: u64,
        /// The tool's name.
        tool: String,
        /// It did not work.
        is_error: bool,
        /// What the model is shown.
        result: String,
    },
    /// A person's answer counts.
    Confirmed {
        /// Which answer.
        approved: bool,
    },
    /// Another node begins the answer again.
    Restarted {
        /// The new epoch.
        epoch: i64,
    },
    /// The turn's terminal event.
    Ended {
        /// The frame's epoch.
        epoch: i64,
        /// The frame's number.
        seq: u64,
        /// How.
        end: End,
    },
    /// Anything else.
    Other {
        /// Its type.
        kind: String,
    },
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// With this answer.
    Completed {
        /// The text.
        text: String,
    },
    /// It was stopped.
    Cancelled,
    /// It failed.
    Failed {
        /// The error's code.
        code: String,
    },
}

/// A message in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The person said it; else the agent did.
    pub inbound: bool,
    /// The text.
    pub text: String,
}

/// A turn in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredTurn {
    /// Its request.
    pub request: String,
    /// The word for its state.
    pub state: String,
    /// How many runs of it began that were not handed back, since it last waited for a person.
    pub attempt: i32,
}

/// The history being written. Cheap to clone.
#[derive(Clone)]
pub struct History(Arc<Writing>);

struct Writing {
    began: Instant,
    file: Mutex<(BufWriter<File>, Option<io::Error>)>,
}

impl History {
    /// Begins a history in this file, which is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self(Arc::new(Writing { began: Instant::now(), file: Mutex::new((file, None)) })))
    }

    /// Adds what has happened now.
    pub fn add(&self, what: What) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is read under the lock, so that it never goes back from one line to the next.
        let at_us = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let written = serde_json::to_vec(&Record { at_us, what }).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            file.0.write_all(&line)
        });
        if let Err(error) = written {
            file.1.get_or_insert(error);
        }
    }

    /// Writes out what is buffered, and tells of the first error since the beginning.
    pub fn flush(&self) -> io::Result<()> {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.1.take() {
            Some(error) => Err(error),
            None => file.0.flush(),
        }
    }
}

/// The records of a file, in order.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record>> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)))
}
