//! The parser and the assembler together, on bytes of every kind.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::Config;
use super::assemble::{Assembler, Fault};
use super::sse::Parser;
use crate::model::Delta;

/// What comes of these reads: deltas, and whether they ended with a fault.
fn read(parts: &[&[u8]]) -> (Vec<Delta>, bool) {
    let config = Config { max_event_bytes: 4096, ..Config::default() };
    let mut parser = Parser::new(config.max_event_bytes);
    let mut assembler = Assembler::new(&config);
    let mut deltas = VecDeque::new();
    for part in parts {
        let mut rest = *part;
        loop {
            let outcome = match parser.next_event(&mut rest) {
                Ok(Some(data)) => assembler.event(data, &mut deltas),
                Ok(None) => break,
                Err(_) => Err(Fault::Malformed("too large")),
            };
            if outcome.is_err() {
                return (deltas.into(), true);
            }
        }
    }
    let failed = parser.finish().is_some_and(|data| assembler.event(data, &mut deltas).is_err());
    assembler.finish(&mut deltas);
    (deltas.into(), failed)
}

fn event() -> impl Strategy<Value = String> {
    let text =
        any::<String>().prop_map(|text| serde_json::json!({"choices": [{"delta": {"content": text}}]}).to_string());
    let reasoning =
        "[a-zé😀]{0,5}".prop_map(|text| serde_json::json!({"choices": [{"delta": {"reasoning": text}}]}).to_string());
    let call = (0..3_u32, "[a-z{}\":😀]{0,6}").prop_map(|(index, piece)| {
        let function = serde_json::json!({"name": "f", "arguments": piece});
        let call = serde_json::json!({"index": index, "id": format!("c{index}"), "function": function});
        serde_json::json!({"choices": [{"delta": {"tool_calls": [call]}}]}).to_string()
    });
    let usage = (0..9_u64).prop_map(|tokens| serde_json::json!({"usage": {"completion_tokens": tokens}}).to_string());
    prop_oneof![4 => text, 2 => reasoning, 2 => call, 1 => usage, 1 => Just("[DONE]".to_owned())]
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_deltas(
        events in prop::collection::vec((event(), prop::sample::select(vec!["\n", "\r\n", "\r"])), 0..12),
        unfinished in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let mut bytes = Vec::new();
        for (data, end) in &events {
            bytes.extend_from_slice(format!(": ping{end}data: {data}{end}{end}").as_bytes());
        }
        if unfinished {
            bytes.truncate(bytes.len().saturating_sub(2));
        }
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let parts: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let each_byte: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = read(&[&bytes]);
        prop_assert_eq!(read(&parts), whole.clone());
        prop_assert_eq!(read(&each_byte), whole);
    }

    #[test]
    fn arbitrary_bytes_are_deltas_or_a_fault_but_no_panic(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                event().prop_map(|data| format!("data: {data}\n\n").into_bytes()),
                event().prop_map(|data| data.as_bytes()[..data.floor_char_boundary(data.len() / 2)].to_vec()),
            ],
            0..12,
        ),
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        read(&parts);
    }
}
