//! What a model says stays text, the page speaks to its own node only, and it fits a phone.

use serde_json::{Value, json};
use switchboard::model::{Script, Scripted};

use super::stage;
use crate::support::browser::{Browser, Window};
use crate::support::node::TestNode;

const HOSTILE: &str = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script> \
    [press](javascript:window.pwned=1) [me](data:text/html,<script>window.pwned=1</script>) **<b>bold</b>**\n\n\
    `<i>code</i>` [fine](https://example.org/a) and https://example.org/b.\n\n\
    ```html\n<svg onload=\"window.pwned=1\">\n```\n\n| <u>a</u> | b |\n|---|---|\n| <img src=x> | [x](vbscript:x) |";

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_shown_as_text() {
    let (node, browser) = stage([Script::saying([HOSTILE]).reasoning("<img src=x onerror=\"window.pwned=1\">")]).await;
    browser.say("<img src=x onerror=\"window.pwned=1\">").await;
    browser.expect("document.querySelector('[data-testid=message-assistant]')?.dataset.state", json!("done")).await;
    let made = "[...document.querySelectorAll('[data-testid=message-user] *, [data-testid=message-text] *')]\
        .map((one) => one.localName).filter((name) => ['img', 'script', 'b', 'i', 'u', 'iframe'].includes(name))";
    browser.expect(made, json!([])).await;
    let links = "[...document.querySelectorAll('[data-testid=message-text] a')].map((link) => [link.href, link.rel, link.target])";
    let (rel, target) = ("noopener noreferrer nofollow", "_blank");
    browser
        .expect(links, json!([["https://example.org/a", rel, target], ["https://example.org/b", rel, target]]))
        .await;
    let text =
        browser.run("return document.querySelector('[data-testid=message-assistant]').innerText", Value::Null).await;
    for shown in [
        "<script>window.pwned=1</script>",
        "[press](javascript:window.pwned=1)",
        "<svg onload=\"window.pwned=1\">",
        "<b>bold</b>",
    ] {
        assert!(text.as_str().unwrap().contains(shown), "{shown} is not in {text}");
    }
    browser
        .expect("[window.pwned ?? null, document.querySelectorAll('[data-testid=copy-code]').length]", json!([null, 1]))
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_made_to_be_slow_does_not_hang_the_page() {
    let (node, browser) = stage([]).await;
    let took = "const { markdown } = await import('/render.js'); const n = 20000; const began = performance.now(); \
        for (const text of ['*a '.repeat(n), '['.repeat(n), '`'.repeat(n) + ' ' + '``a'.repeat(n), '> '.repeat(n), \
        '- '.repeat(n), '_a*b~~'.repeat(n), '```' + ' '.repeat(n) + '`', '# a' + ' '.repeat(n) + 'b', '![](('.repeat(n), \
        'https://'.repeat(n), ' '.repeat(n) + '|', '|'.repeat(n), '***a'.repeat(n), '\\\\'.repeat(n)]) markdown(text); \
        return performance.now() - began";
    let script = format!("return (async () => {{ {took} }})()");
    let milliseconds = browser.run(&script, Value::Null).await.as_f64().unwrap();
    assert!(milliseconds < 5_000.0, "{milliseconds} ms for a few hundred kilobytes");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_to_no_other_host() {
    let (node, browser) = stage([Script::saying([HOSTILE])]).await;
    browser.say("Hello").await;
    browser.expect("document.querySelector('[data-testid=message-assistant]')?.dataset.state", json!("done")).await;
    let asked: Vec<String> = browser
        .log("performance")
        .await
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line["message"].as_str()?).ok())
        .filter_map(|line| {
            let parameters = &line["message"]["params"];
            let url = parameters["request"]["url"].as_str().or(parameters["url"].as_str());
            matches!(line["message"]["method"].as_str()?, "Network.requestWillBeSent" | "Network.webSocketCreated")
                .then(|| url.unwrap_or_default().to_owned())
        })
        .collect();
    assert!(asked.iter().any(|url| url.starts_with("ws://")) && asked.len() > 5, "{asked:?}");
    let (own, socket) = (format!("http://{}/", node.address()), format!("ws://{}/ws", node.address()));
    for url in asked {
        assert!(url.starts_with(&own) || url == socket || url.starts_with("data:"), "{url}");
    }
    // A violation of the policy, a failed file or an exception would stand here.
    assert_eq!(browser.log("browser").await, Vec::<Value>::new());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_address_is_used_and_taken_out_of_it() {
    let (node, browser) = stage([]).await;
    browser.goto(&format!("http://{}/?y#token=a.b.c", node.address())).await;
    browser.expect_connection("open").await;
    assert!(!browser.url().await.contains("token"), "{}", browser.url().await);
    let handshakes: Vec<Value> = browser.log("performance").await;
    let offered = handshakes.iter().any(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("Network.webSocketWillSendHandshakeRequest") && text.contains("bearer, a.b.c")
    });
    assert!(offered, "the token was not offered");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_off_at_the_width_of_a_phone() {
    let wide = format!(
        "{}\n\n```\n{}\n```\n\n| {} |\n|{}|\n",
        "w".repeat(300),
        "c".repeat(300),
        "col | ".repeat(20),
        "---|".repeat(21)
    );
    let node = TestNode::alone(&Scripted::new([Script::saying([wide.as_str()])])).await;
    let browser = Browser::open_as(Window::Phone, &format!("http://{}/", node.address())).await;
    browser.see("suggestion").await;
    browser.say(&"a long question ".repeat(12)).await;
    browser.expect("document.querySelector('[data-testid=message-assistant]')?.dataset.state", json!("done")).await;
    // What scrolls by itself, in a box that fits, is not cut off.
    let outside = "[document.documentElement.scrollWidth > innerWidth, \
        ...[...document.querySelectorAll('header *, main, .dock *, article *')].filter((one) => \
        !one.closest('pre, .table, .sr-only, svg') && one.checkVisibility() && \
        (one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1)).map((one) => one.outerHTML)]";
    browser.expect(outside, json!([false])).await;
    browser.click("menu").await;
    browser.see("new-chat").await;
    browser.click("new-chat").await;
    browser.see("empty").await;
    node.stop().await;
}
