//! A real Chromium, driven through ChromeDriver, that looks at a page as a person would.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::eventually::assert_eventually;

/// Browsers at once: more would wait for each other's processor time, and the tests for them.
static PLACES: Semaphore = Semaphore::const_new(2);

/// How long the page may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs ChromeDriver, and kills it with its browser as soon as the test is gone and the pipe closed.
const SUPERVISOR: &str = "chromedriver --port=0 & read -r _; kill -KILL 0";

/// A browser with one window. It ends when this is dropped, even when the test panics.
pub struct Browser {
    client: fantoccini::Client,
    _profile: TempDir,
    _pipe: ChildStdin,
    _supervisor: Child,
    _place: SemaphorePermit<'static>,
}

impl Browser {
    /// Opens a window of this size, in CSS pixels.
    pub async fn open(width: u32, height: u32) -> Self {
        let place = PLACES.acquire().await.expect("never closed");
        let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
        let binary = chromium.into_iter().find(|path| Path::new(path).exists());
        let binary = binary.expect("no Chromium is installed (Debian: apt-get install chromium chromium-driver)");
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let pipe = supervisor.stdin.take().expect("its pipe");
        let mut lines = BufReader::new(supervisor.stdout.take().expect("its output")).lines();
        let port = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.expect("readable");
                let line = line.expect("ChromeDriver is not installed (Debian: apt-get install chromium-driver)");
                let started = line.split("successfully on port ").nth(1);
                if let Some(port) = started.and_then(|rest| rest.trim_end_matches('.').parse::<u16>().ok()) {
                    return port;
                }
            }
        })
        .await
        .expect("ChromeDriver starts in time");
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({"binary": binary, "args": arguments}));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        Self { client, _profile: profile, _pipe: pipe, _supervisor: supervisor, _place: place }
    }

    /// Goes to an address.
    pub async fn go(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("the page loads");
    }

    /// The first element of this test id, once it is there.
    pub async fn element(&self, testid: &str) -> Element {
        let selector = format!("[data-testid={testid}]");
        self.client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(&selector))
            .await
            .unwrap_or_else(|error| panic!("no {testid}: {error}"))
    }

    /// Clicks on the first element of this test id.
    pub async fn click(&self, testid: &str) {
        self.element(testid).await.click().await.unwrap_or_else(|error| panic!("{testid} not clicked: {error}"));
    }

    /// Types into the composer and sends it.
    pub async fn say(&self, text: &str) {
        let composer = self.element("composer").await;
        composer.send_keys(&format!("{text}\u{e007}")).await.expect("typed");
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// The texts that are shown under this test id, in order.
    pub async fn texts(&self, testid: &str) -> Vec<String> {
        let script =
            format!("return [...document.querySelectorAll('[data-testid={testid}]')].map(e => e.innerText.trim())");
        serde_json::from_value(self.run(&script).await).expect("texts")
    }

    /// Waits until the last text under this test id contains this.
    pub async fn shows(&self, testid: &str, text: &str) {
        assert_eventually(&format!("{testid} shows {text:?}"), PATIENCE, async || {
            self.texts(testid).await.last().is_some_and(|last| last.contains(text))
        })
        .await;
    }

    /// Waits until nothing is shown under this test id.
    pub async fn shows_no(&self, testid: &str) {
        assert_eventually(&format!("no {testid}"), PATIENCE, async || self.texts(testid).await.is_empty()).await;
    }
}
