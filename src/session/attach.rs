//! `attach_session`: comes back to a turn's stream at a position, for sessions that declared `stream_resume`.

use crate::ids::SessionId;
use crate::protocol::{Attached, AttachedState, AttachedTurn, ErrorCode, ResponseData, Verdict};
use crate::store::TurnState;
use crate::turn::{ResumeError, Resumed};

use super::create::created;
use super::{Client, Done, Failure};

impl Client {
    pub(super) async fn attach_session(
        &mut self,
        session_id: SessionId,
        turn_request_id: Option<String>,
        after: u64,
    ) -> Result<Done, Failure> {
        let (session, view) = self.session(session_id).await?;
        if !view.numbered {
            return Err(Failure {
                code: ErrorCode::ValidationError,
                message: "'attach_session' needs a session whose 'supports' has 'stream_resume'".to_owned(),
            });
        }
        let resumed = self.sessions.turns.resume(&session, turn_request_id.as_deref(), after, &self.inbox, view).await;
        self.settle(session_id);
        let (turn, verdict, reader) = match resumed {
            Ok(resumed) => {
                let verdict = if resumed.exact { Verdict::Delta } else { Verdict::Snapshot };
                (Some(on_the_wire(&resumed)), verdict, Some(resumed.reader))
            }
            Err(ResumeError::NoTurn) => (None, Verdict::Gone, None),
            Err(ResumeError::Ahead { newest }) => {
                return Err(Failure {
                    code: ErrorCode::ValidationError,
                    message: format!("'afterSeq' is ahead of the turn: its newest frame is number {newest}"),
                });
            }
            Err(ResumeError::Store(error)) => return Err(error.into()),
        };
        let data = ResponseData::Attached(Box::new(Attached { session: created(&session), turn, verdict }));
        Ok(Done::Response { status: 200, message: "Attached", data, reader })
    }
}

fn on_the_wire(resumed: &Resumed) -> AttachedTurn {
    let (epoch, seq) = resumed.position;
    AttachedTurn {
        request_id: resumed.turn.request_id.clone(),
        state: match resumed.turn.state {
            TurnState::Queued => AttachedState::Queued,
            TurnState::Running => AttachedState::Running,
            TurnState::Parked => AttachedState::Parked,
            TurnState::Completed => AttachedState::Completed,
            TurnState::Failed => AttachedState::Failed,
            TurnState::Cancelled => AttachedState::Cancelled,
        },
        epoch,
        seq,
    }
}
