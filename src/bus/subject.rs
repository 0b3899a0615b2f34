//! What messages are about.
//!
//! Organisations and users come from tokens that others issue: any string. Their names are encoded, never pasted, so that
//! no tenant can name, or listen to, another's subject.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, SocketId, TurnId};

/// The longest encoded name that is kept readable; a longer one is hashed. A NATS server closes the connection of a node
/// that names a subject beyond its line limit of 4096 bytes.
const READABLE: usize = 128;

/// A subject of the bus. [`Subject::name`] is its text below the configured prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Frames of the conversation's turns.
    Conversation(ConversationId),
    /// Events published to a session.
    Session(SessionId),
    /// Events published to everyone who talks to an agent.
    Agent(AgentId),
    /// Events published to a user.
    User {
        /// The user's organisation.
        org: String,
        /// The user.
        user: String,
    },
    /// Events published to an organisation.
    Org(String),
    /// Events published to one socket.
    Connection(SocketId),
    /// Requests to the holder of a turn: attach, cancel, answer.
    Turn(TurnId),
    /// Wake-ups for nodes with a free slot; a queue group.
    Runners,
    /// Requests to one node.
    Node(NodeId),
}

impl Subject {
    /// Returns the subject's name on the broker: tokens of `A-Z a-z 0-9 _ - =`, separated by dots, below `prefix`.
    /// Distinct subjects have distinct names, and no name holds a wildcard.
    pub fn name(&self, prefix: &str) -> String {
        match self {
            Self::Conversation(id) => format!("{prefix}.conversation.{id}"),
            Self::Session(id) => format!("{prefix}.session.{id}"),
            Self::Agent(id) => format!("{prefix}.agent.{id}"),
            Self::User { org, user } => format!("{prefix}.user.{}.{}", token(org), token(user)),
            Self::Org(org) => format!("{prefix}.org.{}", token(org)),
            Self::Connection(id) => format!("{prefix}.connection.{id}"),
            Self::Turn(id) => format!("{prefix}.turn.{id}"),
            Self::Runners => format!("{prefix}.runners"),
            Self::Node(id) => format!("{prefix}.node.{id}"),
        }
    }
}

/// Encodes any string as one token, distinct strings as distinct tokens: letters, digits, `_` and `-` stand for themselves,
/// every other byte is `=` and two hexadecimal digits. The empty string is `=`; what would be too long is `=h` and its SHA-256.
fn token(text: &str) -> String {
    if text.is_empty() {
        return "=".into();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            token.push(char::from(byte));
        } else {
            push_hex(&mut token, "=", byte);
        }
        if token.len() > READABLE {
            let mut hashed = String::from("=h");
            Sha256::digest(text).iter().for_each(|byte| push_hex(&mut hashed, "", *byte));
            return hashed;
        }
    }
    token
}

fn push_hex(text: &mut String, mark: &str, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{mark}{byte:02X}");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Strings that try to break out of a token, with short ones often enough to meet their neighbours.
    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof!["[.*> =a\r\n\t\\PC]{0,4}", "[=h0-9A-F]{0,6}", ".{0,300}", "a{120,140}"]
    }

    fn user(org: &str, user: &str) -> Subject {
        Subject::User { org: org.into(), user: user.into() }
    }

    proptest! {
        #[test]
        fn distinct_users_have_distinct_names(
            one in (hostile(), hostile()),
            other in (hostile(), hostile()),
        ) {
            let (a, b) = (user(&one.0, &one.1).name("p"), user(&other.0, &other.1).name("p"));
            prop_assert_eq!(one == other, a == b, "{} {}", a, b);
        }

        #[test]
        fn a_name_has_its_own_dots_only_and_no_wildcard_or_space(org in hostile(), user in hostile()) {
            for (subject, tokens) in [(Subject::User { org: org.clone(), user }, 4), (Subject::Org(org), 3)] {
                let name = subject.name("p");
                prop_assert!(name.len() <= 300);
                prop_assert_eq!(name.split('.').filter(|token| !token.is_empty()).count(), tokens);
                prop_assert_eq!(name.split('.').count(), tokens);
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-=".contains(c);
                prop_assert!(name.chars().all(plain), "{}", name);
            }
        }
    }

    #[test]
    fn a_tenant_cannot_name_anothers_user_by_moving_the_dot() {
        let names: HashSet<_> =
            [("a.b", "c"), ("a", "b.c"), ("a", "b"), ("", "a.b"), ("a.b", ""), ("A", "b"), ("a=2Eb", "c"), ("", "=")]
                .map(|(org, name)| user(org, name).name("p"))
                .into();
        assert_eq!(names.len(), 8);
    }

    #[test]
    fn names_are_readable_where_they_can_be() {
        assert_eq!(user("acme", "jo@x.org").name("switchboard.v1"), "switchboard.v1.user.acme.jo=40x=2Eorg");
        assert_eq!(Subject::Runners.name("switchboard.v1"), "switchboard.v1.runners");
        let id = ConversationId::new();
        assert_eq!(Subject::Conversation(id).name("p"), format!("p.conversation.{id}"));
    }
}
