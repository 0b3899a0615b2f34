//! Server-sent events out of a byte stream that may be cut anywhere, inside a character too.
//!
//! It never looks at text, only at line ends and field names, so that a split inside a UTF-8 sequence cannot matter. Only
//! the `data` of an event is kept; event names, ids and comments (which gateways send as keep-alive) are skipped.

/// An event, or a line, was longer than the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Remembers what it has seen of an event. Holds at most the cap in bytes.
#[derive(Debug)]
pub(super) struct Parser {
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The data of the current event; several `data` lines are joined by a line feed.
    data: Vec<u8>,
    /// The current event has a `data` line, if only an empty one.
    has_data: bool,
    /// `data` was handed out and is cleared before anything else.
    taken: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// No line was read yet: a byte order mark may stand here.
    at_start: bool,
    max_event_bytes: usize,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    pub(super) fn new(max_event_bytes: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            taken: false,
            after_return: false,
            at_start: true,
            max_event_bytes,
        }
    }

    /// Reads on in `input`, which it moves forward, up to the end of the next event, and returns the event's data.
    /// `None`: all of `input` was read.
    pub(super) fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, TooLarge> {
        self.forget_taken();
        loop {
            if self.after_return && !input.is_empty() {
                self.after_return = false;
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let Some(end) = input.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(input)?;
                *input = &[];
                return Ok(None);
            };
            let (head, tail) = input.split_at(end);
            self.after_return = tail[0] == b'\r';
            *input = &tail[1..];
            let complete = if self.line.is_empty() {
                self.read_line(head)?
            } else {
                self.keep(head)?;
                self.read_kept_line()?
            };
            if complete {
                self.taken = true;
                return Ok(Some(&self.data));
            }
        }
    }

    /// The stream has ended: returns an event whose closing blank line never came.
    pub(super) fn finish(&mut self) -> Option<&[u8]> {
        self.forget_taken();
        let within_cap = self.read_kept_line().is_ok();
        (within_cap && self.has_data).then_some(self.data.as_slice())
    }

    fn forget_taken(&mut self) {
        if self.taken {
            self.taken = false;
            self.has_data = false;
            self.data.clear();
        }
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        self.check(self.line.len() + part.len())?;
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn read_kept_line(&mut self) -> Result<bool, TooLarge> {
        let mut line = std::mem::take(&mut self.line);
        let complete = self.read_line(&line);
        line.clear();
        self.line = line;
        complete
    }

    /// Takes in one whole line, without its end. True: an event is complete.
    fn read_line(&mut self, mut line: &[u8]) -> Result<bool, TooLarge> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.has_data);
        }
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..]) => value,
            Some([b':', value @ ..]) => value,
            Some([]) => &[],
            Some(_) | None => return Ok(false),
        };
        self.check(self.data.len() + usize::from(self.has_data) + value.len())?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(false)
    }

    fn check(&self, bytes: usize) -> Result<(), TooLarge> {
        if bytes > self.max_event_bytes { Err(TooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(parts: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::new(1024);
        let mut events = Vec::new();
        for part in parts {
            let mut rest = *part;
            while let Some(data) = parser.next_event(&mut rest).unwrap() {
                events.push(String::from_utf8_lossy(data).into_owned());
            }
            assert!(rest.is_empty());
        }
        events.extend(parser.finish().map(|data| String::from_utf8_lossy(data).into_owned()));
        events
    }

    #[test]
    fn an_event_ends_at_a_blank_line_of_any_kind() {
        assert_eq!(events(&[b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n"]), ["a", "b", "c", "d"]);
    }

    #[test]
    fn several_data_lines_are_one_event() {
        assert_eq!(events(&[b"data: a\ndata:\ndata\ndata:  b\n\n"]), ["a\n\n\n b"]);
    }

    #[test]
    fn comments_other_fields_and_events_without_data_are_skipped() {
        assert_eq!(
            events(&[b": keep-alive\n\nevent: ping\nid: 7\nretry: 5\n\ndatabase: no\n\nevent: x\ndata: a\n\n"]),
            ["a"]
        );
    }

    #[test]
    fn an_event_without_its_blank_line_is_given_at_the_end() {
        assert_eq!(events(&[b"data: a\n\ndata: [DONE]"]), ["a", "[DONE]"]);
        assert_eq!(events(&[b"data: a\n\ndata: b\n"]), ["a", "b"]);
        assert_eq!(events(&[b"data: a\n\n"]), ["a"]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_even_when_split() {
        assert_eq!(events(&[b"\xef\xbb\xbfdata: a\n\n"]), ["a"]);
        assert_eq!(events(&[b"\xef", b"\xbb\xbfdata: a\n\n"]), ["a"]);
    }

    #[test]
    fn an_event_larger_than_the_cap_is_refused_however_it_arrives() {
        let long = vec![b'x'; 11];
        let mut one_line = b"data: ".to_vec();
        one_line.extend(&long);
        assert_eq!(Parser::new(16).next_event(&mut one_line.as_slice()), Err(TooLarge), "a line without an end");
        one_line.push(b'\n');
        assert_eq!(Parser::new(10).next_event(&mut one_line.as_slice()), Err(TooLarge), "one line");
        let many = b"data: 12345\n".repeat(4);
        assert_eq!(Parser::new(20).next_event(&mut many.as_slice()), Err(TooLarge), "many lines");
        let comments = b": 1234567890\n".repeat(100);
        assert_eq!(Parser::new(20).next_event(&mut comments.as_slice()), Ok(None), "comments are not kept");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            bytes in prop::collection::vec(
                prop_oneof![
                    3 => Just(b"data: x\xc3\xa9".to_vec()),
                    3 => Just(b"\n".to_vec()),
                    2 => Just(b"\r".to_vec()),
                    1 => Just(b": c".to_vec()),
                    1 => prop::collection::vec(any::<u8>(), 0..4),
                ],
                0..40,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let bytes = bytes.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let parts: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(&parts), events(&[&bytes]));
        }

        #[test]
        fn arbitrary_bytes_never_make_it_panic_or_keep_more_than_the_cap(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16),
        ) {
            let mut parser = Parser::new(32);
            for part in &parts {
                let mut rest = part.as_slice();
                while let Ok(Some(data)) = parser.next_event(&mut rest) {
                    prop_assert!(data.len() <= 32);
                }
                prop_assert!(parser.line.len() + parser.data.len() <= 64);
            }
            parser.finish();
        }
    }
}
