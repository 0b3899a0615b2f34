//! `get_session`: what a session is; after a reconnect also the way back to the turn that runs.

use chrono::TimeDelta;

use crate::ids::SessionId;
use crate::protocol::{ResponseData, SessionSnapshot, SessionStatus};
use crate::store::Session;

use super::create::created;
use super::{Client, Done, Failure};

/// A session whose conversation has been silent for so long is `idle`.
const IDLE_AFTER: TimeDelta = TimeDelta::minutes(30);

impl Client {
    pub(super) async fn get_session(&mut self, id: SessionId) -> Result<Done, Failure> {
        let (_, reader) = self.enter(id).await?;
        let data = ResponseData::Session(snapshot(&self.look_up(id).await?));
        Ok(Done::Response { status: 200, message: "Session", data, reader })
    }
}

fn snapshot(session: &Session) -> SessionSnapshot {
    let idle = session.read_at - session.last_active_at >= IDLE_AFTER;
    SessionSnapshot::new(created(session), if idle { SessionStatus::Idle } else { SessionStatus::Active })
}
