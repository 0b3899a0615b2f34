//! What a client can declare that it understands, beyond what every client does.

/// A name in `supports`. A session that did not declare it is never sent what it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Frames of a turn carry `seq` and `epoch`, the client may attach, and is told of a restart.
    StreamResume,
    /// The client is told before a planned close.
    GoingAway,
    /// The client also gets turns that another device of the conversation started.
    Follow,
}

impl Capability {
    /// Every capability.
    pub const ALL: &[Self] = &[Self::StreamResume, Self::GoingAway, Self::Follow];

    /// As it stands in `supports`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamResume => "stream_resume",
            Self::GoingAway => "going_away",
            Self::Follow => "follow",
        }
    }

    /// Reads one entry of `supports`; `None` for one that this build does not know, which is no error.
    pub fn parse(declared: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|capability| capability.as_str() == declared)
    }

    /// Whether a client that sent this `supports` declared it.
    pub fn is_in<S: AsRef<str>>(self, supports: &[S]) -> bool {
        supports.iter().any(|declared| declared.as_ref() == self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_back_from_supports_and_the_unknown_is_ignored() {
        for &capability in Capability::ALL {
            assert_eq!(Capability::parse(capability.as_str()), Some(capability));
            assert!(capability.is_in(&["telepathy", capability.as_str()]));
            assert!(!capability.is_in(&["telepathy"]));
        }
        assert_eq!(Capability::parse("telepathy"), None);
        assert!(!Capability::Follow.is_in::<String>(&[]));
    }
}
