//! Every error code a client can be told, with all that follows from it.

use schemars::JsonSchema;
use serde::Serialize;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal, $label:literal, $status:literal, $retry:ident;)+) => {
        /// A stable name for what went wrong. Clients branch on it; the message beside it is for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $wire)] $name,)+
        }

        impl ErrorCode {
            /// Every code, in the order of the protocol's own list.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire),+ }
            }

            /// The value of the `code` label of metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// The HTTP status where the error answers an HTTP request.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// What it means, in one sentence.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }

            fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry),+ }
            }
        }
    };
}

/// Whether the same request, sent again, can fare better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    Later,
}

error_codes! {
    /// The frame, or a field of it, is not what the protocol asks for.
    ValidationError = "VALIDATION_ERROR", "validation_error", 400, Never;
    /// The action's name is not known to this server.
    UnsupportedAction = "UNSUPPORTED_ACTION", "unsupported_action", 400, Never;
    /// The agent takes no sessions from this caller.
    AgentNotAuthorized = "AGENT_NOT_AUTHORIZED", "agent_not_authorized", 403, Never;
    /// The page's origin is not among those that the agent allows.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", "origin_not_allowed", 403, Never;
    /// The signature over who the caller is does not hold, is too old, or was used before.
    AuthContextInvalid = "AUTH_CONTEXT_INVALID", "auth_context_invalid", 401, Never;
    /// No session of the caller's goes by that id.
    SessionNotFound = "SESSION_NOT_FOUND", "session_not_found", 404, Never;
    /// No conversation of the caller's goes by that id.
    ConversationNotFound = "CONVERSATION_NOT_FOUND", "conversation_not_found", 404, Never;
    /// There is no model to answer with; nothing was stored.
    LlmUnavailable = "LLM_UNAVAILABLE", "llm_unavailable", 503, Later;
    /// The turn failed after it had been accepted; it is over, and a new message starts a new one.
    AgentError = "AGENT_ERROR", "agent_error", 502, Never;
    /// A defect of this server.
    InternalError = "INTERNAL_ERROR", "internal_error", 500, Never;
    /// The store is out of reach; trying again may help.
    StorageError = "STORAGE_ERROR", "storage_error", 503, Later;
    /// Another turn of the conversation has not ended yet; nothing was stored.
    TurnInProgress = "TURN_IN_PROGRESS", "turn_in_progress", 409, Later;
    /// No tool waits for a person's approval, or somebody has answered already.
    NoPendingConfirmation = "NO_PENDING_CONFIRMATION", "no_pending_confirmation", 409, Never;
    /// Nothing waits for a person's input, or somebody has answered already.
    NoPendingInteraction = "NO_PENDING_INTERACTION", "no_pending_interaction", 409, Never;
    /// The answer belongs to another interaction than the one that waits.
    InteractionMismatch = "INTERACTION_MISMATCH", "interaction_mismatch", 409, Never;
    /// The one-time password could not be sent.
    OtpSendFailed = "OTP_SEND_FAILED", "otp_send_failed", 502, Later;
    /// More than the caller's share in the time that has passed.
    RateLimited = "RATE_LIMITED", "rate_limited", 429, Later;
    /// The frame or the message is larger than this server takes.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", "payload_too_large", 413, Never;
    /// No token was shown where one is needed.
    Unauthenticated = "UNAUTHENTICATED", "unauthenticated", 401, Never;
    /// The token that was shown does not hold.
    InvalidToken = "INVALID_TOKEN", "invalid_token", 401, Never;
    /// The caller's role does not reach that far.
    Forbidden = "FORBIDDEN", "forbidden", 403, Never;
    /// Nothing of the caller's organisation goes by that id.
    NotFound = "NOT_FOUND", "not_found", 404, Never;
}

impl ErrorCode {
    /// Reads what [`ErrorCode::as_str`] wrote; `None` for anything else.
    pub fn parse(wire: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == wire)
    }

    /// The same request, sent again later and unchanged, may succeed.
    pub fn is_retryable(self) -> bool {
        self.retry() == Retry::Later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_wire_form() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
        assert_eq!(ErrorCode::parse("validation_error"), None);
        assert_eq!(ErrorCode::parse(""), None);
    }

    #[test]
    fn a_label_is_the_wire_form_in_lower_case_so_no_two_codes_share_one() {
        for code in ErrorCode::ALL {
            assert_eq!(code.label(), code.as_str().to_lowercase());
        }
    }

    #[test]
    fn statuses_follow_the_admin_interface() {
        let expected = [
            ("UNAUTHENTICATED", 401),
            ("INVALID_TOKEN", 401),
            ("FORBIDDEN", 403),
            ("NOT_FOUND", 404),
            ("VALIDATION_ERROR", 400),
            ("RATE_LIMITED", 429),
            ("STORAGE_ERROR", 503),
            ("INTERNAL_ERROR", 500),
        ];
        for (wire, status) in expected {
            assert_eq!(ErrorCode::parse(wire).map(ErrorCode::http_status), Some(status), "{wire}");
        }
    }

    #[test]
    fn a_refusal_that_left_nothing_behind_and_may_pass_is_retryable() {
        let retryable: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.is_retryable()).map(|c| c.as_str()).collect();
        let expected = ["LLM_UNAVAILABLE", "STORAGE_ERROR", "TURN_IN_PROGRESS", "OTP_SEND_FAILED", "RATE_LIMITED"];
        assert_eq!(retryable, expected);
    }
}
