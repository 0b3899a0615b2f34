//! The names of everything a store does: the label of its metrics and the head of its SQL.

macro_rules! operations {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Something a store does, each in one transaction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])+ $variant,)+
        }

        impl Operation {
            /// Every operation, in the order of its discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// `aggregate.method`, as in the `operation` label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

operations! {
    /// Brings the schema up.
    SchemaMigrate = "schema.migrate",
    /// Proves that the store answers.
    SchemaCheck = "schema.check",
    /// Reads an agent.
    AgentGet = "agent.get",
    /// Declares agents.
    AgentPut = "agent.put",
    /// Makes a session and its conversation.
    SessionCreate = "session.create",
    /// Makes a session in an existing conversation.
    SessionResume = "session.resume",
    /// Reads a session.
    SessionGet = "session.get",
    /// Lists an owner's conversations.
    ConversationList = "conversation.list",
    /// Titles a conversation.
    ConversationRename = "conversation.rename",
    /// Lists messages, newest first.
    MessageList = "message.list",
    /// Reads what a model is shown.
    MessageHistory = "message.history",
    /// Accepts a message and its turn.
    TurnAccept = "turn.accept",
    /// Reads the turn that a refused message met.
    TurnFind = "turn.find",
    /// Claims a turn.
    TurnClaim = "turn.claim",
    /// Extends leases.
    TurnRenew = "turn.renew",
    /// Gives turns back.
    TurnRelease = "turn.release",
    /// Asks for a turn to end.
    TurnCancel = "turn.cancel",
    /// Ends a turn.
    TurnFinish = "turn.finish",
    /// Parks a turn until a person has answered.
    TurnPark = "turn.park",
    /// Takes a person's answer to a parked turn.
    TurnConfirm = "turn.confirm",
    /// Ends parked turns that nobody answered.
    TurnExpire = "turn.expire",
    /// Writes a turn's journal.
    StepRecord = "step.record",
    /// Reads a turn's journal.
    StepList = "step.list",
    /// Reads a turn.
    TurnGet = "turn.get",
    /// Reads a conversation's active turn.
    TurnActive = "turn.active",
    /// Reads a conversation's newest turn.
    TurnNewest = "turn.newest",
    /// Counts the queue.
    TurnQueued = "turn.queued",
}
