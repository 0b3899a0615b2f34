//! Listing and titling conversations.

use switchboard::ids::ConversationId;
use switchboard::store::{ConversationCursor, ConversationQuery, ConversationSummary, Owner};

use super::fixture::{Fixture, owner};

async fn list(fixture: &Fixture, owner: &Owner) -> Vec<ConversationSummary> {
    let query = ConversationQuery { limit: 200, ..ConversationQuery::default() };
    fixture.store.list_conversations(owner, &query).await.unwrap().items
}

async fn search(fixture: &Fixture, owner: &Owner, text: &str) -> Vec<ConversationId> {
    let query = ConversationQuery { limit: 200, text: Some(text.into()), ..ConversationQuery::default() };
    fixture.store.list_conversations(owner, &query).await.unwrap().items.iter().map(|row| row.id).collect()
}

pub async fn only_the_owners_conversations_with_messages_are_listed_most_recent_first(fixture: Fixture) {
    let ada = owner("ada");
    let (one, two, _silent) = (fixture.session(&ada).await, fixture.session(&ada).await, fixture.session(&ada).await);
    let foreign = fixture.session(&owner("eve")).await;
    let other_org = fixture.session(&Owner { org: "globex".into(), user: "ada".into() }).await;
    for session in [&one, &two, &foreign, &other_org] {
        fixture.talk(session, "hello", "good day").await;
    }
    let order = |rows: Vec<ConversationSummary>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(order(list(&fixture, &ada).await), [two.conversation, one.conversation]);
    fixture.queue(&one, "r1").await;
    let rows = list(&fixture, &ada).await;
    assert_eq!(rows[0].message_count, 3);
    assert_eq!(rows[1].message_count, 2);
    assert!(rows[0].updated_at > rows[1].updated_at);
    assert_eq!(order(rows), [one.conversation, two.conversation]);
}

pub async fn pages_of_conversations_with_equal_times_neither_repeat_nor_skip(fixture: Fixture) {
    let ada = owner("ada");
    let mut made = Vec::new();
    for _ in 0..7 {
        let session = fixture.session(&ada).await;
        fixture.queue(&session, "r1").await;
        made.push(session.conversation);
    }
    // Two groups of equal times, the border between them inside a page.
    let (early, late) = (made[2], made[3]);
    let level = |id: ConversationId, condition: String| {
        format!(
            "update conversations set updated_at = (select updated_at from conversations where id = '{id}') where {condition}"
        )
    };
    fixture.sql(&level(early, format!("id < '{late}'"))).await.unwrap();
    fixture.sql(&level(late, format!("id >= '{late}'"))).await.unwrap();

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let query = ConversationQuery { limit: 2, after, text: None };
        let page = fixture.store.list_conversations(&ada, &query).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|row| row.id));
        let last = page.items.last().unwrap();
        after = Some(ConversationCursor { updated_at: last.updated_at, id: last.id });
        if !page.has_more {
            break;
        }
        assert!(seen.len() <= made.len(), "the pages go round in circles");
    }
    made.reverse();
    assert_eq!(seen, made);
}

pub async fn the_title_is_the_given_one_or_the_first_sixty_characters(fixture: Fixture) {
    let ada = owner("ada");
    let session = fixture.session(&ada).await;
    let question = "äöü".repeat(40);
    fixture.talk(&session, &question, "yes").await;
    fixture.talk(&session, "a second message changes no title", "no").await;
    assert_eq!(list(&fixture, &ada).await[0].title, "äöü".repeat(20));
    let before = list(&fixture, &ada).await[0].updated_at;
    assert!(fixture.other.rename_conversation(&ada, session.conversation, "Umlauts").await.unwrap());
    let renamed = list(&fixture, &ada).await.remove(0);
    assert_eq!((renamed.title.as_str(), renamed.updated_at), ("Umlauts", before));
}

pub async fn the_text_filter_takes_percent_and_underscore_as_they_are(fixture: Fixture) {
    let ada = owner("ada");
    let (percent, plain, underscore) =
        (fixture.session(&ada).await, fixture.session(&ada).await, fixture.session(&ada).await);
    fixture.talk(&percent, "100% of it", "yes").await;
    fixture.talk(&plain, "100 of it, snakeXcase", "yes").await;
    fixture.talk(&underscore, "snake_case \\ backslash", "yes").await;
    assert_eq!(search(&fixture, &ada, "100%").await, [percent.conversation]);
    assert_eq!(search(&fixture, &ada, "%").await, [percent.conversation]);
    assert_eq!(search(&fixture, &ada, "snake_case").await, [underscore.conversation]);
    assert_eq!(search(&fixture, &ada, "\\").await, [underscore.conversation]);
    assert_eq!(search(&fixture, &ada, "of it").await, [plain.conversation, percent.conversation]);
    assert_eq!(search(&fixture, &ada, "nothing like this").await, []);
}

pub async fn the_text_filter_ignores_case_and_looks_at_the_whole_first_message(fixture: Fixture) {
    let ada = owner("ada");
    let session = fixture.session(&ada).await;
    fixture.talk(&session, &format!("{} Needle", "hay ".repeat(100)), "an answer nobody searches").await;
    fixture.talk(&session, "a later message", "yes").await;
    fixture.talk(&fixture.session(&owner("eve")).await, "needle too", "yes").await;
    assert_eq!(search(&fixture, &ada, "nEEDLE").await, [session.conversation]);
    assert_eq!(search(&fixture, &ada, "nobody searches").await, []);
    assert_eq!(search(&fixture, &ada, "later").await, []);
    fixture.store.rename_conversation(&ada, session.conversation, "Haystack").await.unwrap();
    assert_eq!(search(&fixture, &ada, "hayST").await, [session.conversation]);
    assert_eq!(search(&fixture, &ada, "needle").await, [session.conversation]);
}

pub async fn renaming_a_foreign_conversation_says_false_and_changes_nothing(fixture: Fixture) {
    let session = fixture.session(&owner("ada")).await;
    fixture.talk(&session, "mine", "yes").await;
    assert!(!fixture.store.rename_conversation(&owner("eve"), session.conversation, "stolen").await.unwrap());
    let other_org = Owner { org: "globex".into(), user: "ada".into() };
    assert!(!fixture.store.rename_conversation(&other_org, session.conversation, "stolen").await.unwrap());
    assert!(!fixture.store.rename_conversation(&session.owner, ConversationId::new(), "lost").await.unwrap());
    assert_eq!(list(&fixture, &session.owner).await[0].title, "mine");
}
