//! Why the server closes a socket.

/// A WebSocket close code with the reason that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Both sides are done.
    Normal,
    /// The client showed no sign of life for too long.
    Idle,
    /// The client may not be here: its token does not hold, or it broke a rule.
    Policy,
    /// The client sent a message larger than this server takes.
    MessageTooBig,
    /// The node stops; another one takes the client after the hint it was given.
    Restart,
    /// The node has as many sockets as it takes; try another.
    OverCapacity,
    /// The client reads more slowly than its turn writes; it may resume on any node.
    SlowReader,
}

impl CloseCode {
    /// Every code.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::Idle,
        Self::Policy,
        Self::MessageTooBig,
        Self::Restart,
        Self::OverCapacity,
        Self::SlowReader,
    ];

    /// The number in the close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Idle => 1001,
            Self::Policy => 1008,
            Self::MessageTooBig => 1009,
            Self::Restart => 1012,
            Self::OverCapacity => 1013,
            Self::SlowReader => 4008,
        }
    }

    /// The text in the close frame: at most 123 bytes, which is all that such a frame can hold.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Idle => "idle too long",
            Self::Policy => "not allowed",
            Self::MessageTooBig => "message too big",
            Self::Restart => "restart, come back after the hint",
            Self::OverCapacity => "over capacity, try another node",
            Self::SlowReader => "slow reader, resume",
        }
    }

    /// The value of the `reason` label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Idle => "idle",
            Self::Policy => "policy",
            Self::MessageTooBig => "message_too_big",
            Self::Restart => "restart",
            Self::OverCapacity => "over_capacity",
            Self::SlowReader => "slow_reader",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_protocol() {
        let numbers: Vec<_> = CloseCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(numbers, [1000, 1001, 1008, 1009, 1012, 1013, 4008]);
    }

    #[test]
    fn every_reason_fits_into_a_close_frame() {
        for code in CloseCode::ALL {
            assert!(code.reason().len() <= 123, "{code:?}");
        }
    }
}
