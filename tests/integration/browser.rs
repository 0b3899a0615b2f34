//! The chat page, in a real Chromium, against a real node: what a person types, sees and presses.

mod history;
mod outage;
mod safety;
mod talk;

use switchboard::model::{Script, Scripted};

use crate::support::browser::Browser;
use crate::support::node::TestNode;

/// A node whose model gives these answers, and a browser on its page.
async fn stage(scripts: impl IntoIterator<Item = Script>) -> (TestNode, Browser) {
    let node = TestNode::alone(&Scripted::new(scripts)).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    (node, browser)
}
