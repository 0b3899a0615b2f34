//! What every text goes through on its way into a store, so that both stores keep the same.

use std::borrow::Cow;

use super::Owner;

/// How many characters of the first message stand in for a title.
const PREVIEW_CHARS: usize = 60;

/// Replaces U+0000, which Postgres cannot keep in a text, by U+FFFD.
///
/// Applied to what is searched for as well as to what is kept, so that a name with a U+0000 in it is found again.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// [`clean`] for what may be absent.
pub(super) fn clean_option(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(clean)
}

/// The owner that is kept is the one that was given.
pub(super) fn is_owner(kept: &Owner, given: &Owner) -> bool {
    kept.org == clean(&given.org) && kept.user == clean(&given.user)
}

/// The beginning of a message, which stands in for the title of its conversation.
pub(super) fn preview(text: &str) -> &str {
    match text.char_indices().nth(PREVIEW_CHARS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_counts_characters_and_not_bytes() {
        assert_eq!(preview("short"), "short");
        assert_eq!(preview(&"ä".repeat(60)), "ä".repeat(60));
        assert_eq!(preview(&"ä".repeat(61)), "ä".repeat(60));
    }

    #[test]
    fn only_a_text_with_a_nul_is_copied() {
        assert!(matches!(clean("plain"), Cow::Borrowed("plain")));
        assert_eq!(clean("a\0b"), "a\u{FFFD}b");
    }
}
