//! Takes apart what a NATS server sends, so that single messages can be dropped, doubled and put out of order.
//!
//! It must see a connection from its first byte, for nothing in the middle tells where a message begins.

use super::dice::Dice;

/// One message in so many is dropped, one doubled, and one sent after the next.
const TAMPERED_ONE_IN: u64 = 8;

/// The end of every line of the protocol.
const LINE_END: &[u8] = b"\r\n";

/// One connection's bytes, from the server to the client.
pub(super) struct NatsFrames {
    dice: Dice,
    /// The beginning of what has not arrived in full.
    partial: Vec<u8>,
    /// A message that waits for the next one.
    held: Vec<u8>,
}

impl NatsFrames {
    /// A connection that has just begun.
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice, partial: Vec::new(), held: Vec::new() }
    }

    /// Takes what the server sent and returns what the client gets. A message is passed on when it has arrived in full.
    pub(super) fn take(&mut self, bytes: &[u8], tamper: bool) -> Vec<u8> {
        self.partial.extend_from_slice(bytes);
        let (mut begin, mut out) = (0, Vec::with_capacity(self.partial.len()));
        let partial = std::mem::take(&mut self.partial);
        while let Some((length, is_message)) = unit(&partial[begin..]) {
            let unit = &partial[begin..begin + length];
            begin += length;
            if is_message && tamper {
                self.tamper(unit, &mut out);
            } else {
                out.extend_from_slice(unit);
                if !tamper {
                    out.append(&mut self.held);
                }
            }
        }
        self.partial = partial[begin..].to_vec();
        out
    }

    fn tamper(&mut self, message: &[u8], out: &mut Vec<u8>) {
        match self.dice.between(0, TAMPERED_ONE_IN) {
            0 => {}
            1 => [message, message].into_iter().for_each(|message| out.extend_from_slice(message)),
            2 if self.held.is_empty() => {
                self.held = message.to_vec();
                return;
            }
            _ => out.extend_from_slice(message),
        }
        out.append(&mut self.held);
    }
}

/// The length of the first line, or of the first message with its line, and whether it is a message; `None` while some of it
/// is missing.
fn unit(bytes: &[u8]) -> Option<(usize, bool)> {
    let line = bytes.windows(LINE_END.len()).position(|window| window == LINE_END)?;
    let after_line = line + LINE_END.len();
    let text = String::from_utf8_lossy(&bytes[..line]);
    let mut words = text.split_ascii_whitespace();
    if !matches!(words.next(), Some("MSG" | "HMSG")) {
        return Some((after_line, false));
    }
    let size: usize = words.next_back()?.parse().ok()?;
    let length = after_line + size + LINE_END.len();
    (length <= bytes.len()).then_some((length, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] =
        b"INFO {}\r\nMSG a 1 2\r\nhi\r\nPING\r\nHMSG b 2 reply 4 6\r\nMSG \r\n\r\nPONG\r\nMSG c 3 0\r\n\r\n";

    #[test]
    fn what_is_not_tampered_with_comes_out_as_it_came_in_however_it_was_cut() {
        for size in 1..WIRE.len() {
            let mut frames = NatsFrames::new(Dice::of(1, "test"));
            let out: Vec<u8> = WIRE.chunks(size).flat_map(|chunk| frames.take(chunk, false)).collect();
            assert_eq!(out, WIRE, "in pieces of {size}");
        }
    }

    #[test]
    fn messages_are_dropped_doubled_and_reordered_and_lines_are_not() {
        let wire: Vec<u8> =
            (0..1000).flat_map(|number| format!("MSG a 1 3\r\n{number:03}\r\nPING\r\n").into_bytes()).collect();
        let mut frames = NatsFrames::new(Dice::of(1, "test"));
        let out = String::from_utf8([frames.take(&wire, true), frames.take(b"PING\r\n", false)].concat()).unwrap();
        let numbers: Vec<u32> = out.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(out.matches("PING").count(), 1001);
        let count = |wanted| numbers.iter().filter(|number| **number == wanted).count();
        assert!((0..1000).any(|number| count(number) == 0) && (0..1000).any(|number| count(number) == 2));
        assert!(numbers.is_sorted_by(|a, b| *b + 2 > *a) && !numbers.is_sorted());
    }
}
