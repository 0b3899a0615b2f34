//! A real Chromium, driven through chromedriver, that looks at a page as a person would.
//!
//! Each has a driver and a profile of its own. A shell reads a pipe from this process: when that closes, by a drop, a panic or
//! the end of the process, the shell kills the driver with its browser and removes the profile.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, interval, timeout};

use super::eventually::assert_eventually;

/// How long something on the page may take; the machine may be busy building.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often the page is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Keys, as WebDriver writes them.
pub const ENTER: char = '\u{E007}';
/// The Escape key.
pub const ESCAPE: char = '\u{E00C}';

/// What a person without it has to do.
const MISSING: &str = "the tests of the chat page drive a real Chromium: apt-get install chromium chromium-driver";

/// How often the driver is started before it counts as missing.
const STARTS: usize = 5;

/// Browsers at once: each takes a processor and 200 MB for itself.
static PLACES: Semaphore = Semaphore::const_new(2);

/// What keeps Chromium to itself and lets it run as root in a container.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=1280,820",
];

/// A browser window of its own, with a profile of its own.
pub struct Browser {
    client: Client,
    _driver: Driver,
    _place: SemaphorePermit<'static>,
}

/// The window of a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 1280 by 820.
    Desk,
    /// 390 by 780, touched.
    Phone,
}

impl Browser {
    /// Opens a window on `url`.
    pub async fn open(url: &str) -> Self {
        Self::open_as(Window::Desk, url).await
    }

    /// Opens a window of this kind on `url`.
    pub async fn open_as(window: Window, url: &str) -> Self {
        let place = PLACES.acquire().await.expect("never closed");
        let driver = timeout(PATIENCE, Driver::start()).await.expect("chromedriver starts in time");
        let driver = driver.unwrap_or_else(|error| panic!("{MISSING} ({error})"));
        let mut options = json!({"args": ARGUMENTS});
        if window == Window::Phone {
            let metrics = json!({"width": 390, "height": 780, "pixelRatio": 2.0, "mobile": true, "touch": true});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let capabilities =
            json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}});
        let Value::Object(capabilities) = capabilities else { unreachable!("written as an object above") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap_or_else(|error| panic!("{MISSING} ({error})"));
        let browser = Self { client, _driver: driver, _place: place };
        browser.goto(url).await;
        browser
    }

    /// Goes to `url`.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("the page loads");
    }

    /// Goes back in the history.
    pub async fn back(&self) {
        self.client.back().await.expect("it goes back");
    }

    /// The address.
    pub async fn url(&self) -> String {
        self.client.current_url().await.expect("an address").to_string()
    }

    /// The elements of this `data-testid`, in the order of the page.
    pub async fn all(&self, testid: &str) -> Vec<Element> {
        self.client.find_all(Locator::Css(&css(testid))).await.expect("the driver answers")
    }

    /// The only or first visible element of this `data-testid`; waits for it.
    pub async fn see(&self, testid: &str) -> Element {
        let look = async || {
            for element in self.all(testid).await {
                if element.is_displayed().await.unwrap_or(false) {
                    return Some(element);
                }
            }
            None
        };
        assert_eventually(&format!("{testid:?} is on the page"), PATIENCE, look).await
    }

    /// Clicks the element of this `data-testid`; waits until that can be done.
    pub async fn click(&self, testid: &str) {
        let what = format!("{testid:?} can be clicked");
        assert_eventually(&what, PATIENCE, async || self.see(testid).await.click().await.is_ok()).await;
    }

    /// Clicks the element of this `data-testid` at this place, from 0; waits until that can be done. The page may draw a list
    /// anew between the look and the click, so an element is looked for again each time.
    pub async fn click_at(&self, testid: &str, place: usize) {
        let what = format!("{testid:?} number {place} can be clicked");
        let click = async || match self.all(testid).await.get(place) {
            Some(element) => element.click().await.is_ok(),
            None => false,
        };
        assert_eventually(&what, PATIENCE, click).await;
    }

    /// The text of the element of this `data-testid`, once it is there.
    pub async fn text(&self, testid: &str) -> String {
        let what = format!("{testid:?} can be read");
        assert_eventually(&what, PATIENCE, async || self.see(testid).await.text().await.ok()).await
    }

    /// Types a message and sends it with Enter.
    pub async fn say(&self, message: &str) {
        let composer = self.see("composer").await;
        composer.send_keys(&format!("{message}{ENTER}")).await.expect("the field takes keys");
    }

    /// Presses a key.
    pub async fn press(&self, key: char) {
        let composer = self.see("composer").await;
        composer.send_keys(&key.to_string()).await.expect("the field takes keys");
    }

    /// Waits until these are the person's messages.
    pub async fn expect_questions(&self, questions: &[&str]) {
        self.expect(&texts("[data-testid=message-user] [data-testid=message-text]"), json!(questions)).await;
    }

    /// Waits until these are the texts of the answers, and this the state of the last one.
    pub async fn expect_answers(&self, answers: &[&str], state: &str) {
        let expression = format!(
            "[{}, document.querySelector('[data-testid=message-assistant]:last-child')?.dataset.state]",
            texts("[data-testid=message-assistant] [data-testid=message-text]")
        );
        self.expect(&expression, json!([answers, state])).await;
    }

    /// Waits until this element says this.
    pub async fn expect_text(&self, testid: &str, text: &str) {
        self.expect(&texts(&css(testid)), json!([text])).await;
    }

    /// Waits until the connection's lamp shows this state.
    pub async fn expect_connection(&self, state: &str) {
        self.expect("document.querySelector('[data-testid=connection]').dataset.state", json!(state)).await;
    }

    /// Waits until a JavaScript expression has this value.
    pub async fn expect(&self, expression: &str, expected: Value) {
        let script = format!("return {expression}");
        let deadline = Instant::now() + PATIENCE;
        let mut tick = interval(EVERY);
        loop {
            tick.tick().await;
            let seen = self.run(&script, Value::Null).await;
            if seen == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{expression}\nexpected: {expected}\n  actual: {seen}");
        }
    }

    /// Runs a script with one argument.
    pub async fn run(&self, script: &str, argument: Value) -> Value {
        self.client.execute(script, vec![argument]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The new lines of one of the browser's logs: `performance` (every request) or `browser` (the console).
    pub async fn log(&self, kind: &'static str) -> Vec<Value> {
        let lines = self.client.issue_cmd(Log(kind)).await.expect("the driver has the log");
        lines.as_array().cloned().unwrap_or_default()
    }
}

fn css(testid: &str) -> String {
    format!("[data-testid={testid:?}]")
}

/// An expression for the visible texts of the elements that match.
fn texts(selector: &str) -> String {
    format!("[...document.querySelectorAll({selector:?})].map((element) => element.innerText.trim())")
}

/// chromedriver's way to a log, which WebDriver does not have.
#[derive(Debug)]
struct Log(&'static str);

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.0}).to_string()))
    }
}

/// A running chromedriver.
struct Driver {
    port: u16,
    /// Open as long as this lives; see `browser.sh`.
    _end: ChildStdin,
    /// A driver that cannot write ends.
    _output: Lines<BufReader<ChildStdout>>,
    _processes: [Child; 2],
}

impl Driver {
    /// Starts it. It takes a free port of IPv4 and then the same of IPv6, which may be another test's by then: it ends, and
    /// is started again.
    async fn start() -> io::Result<Self> {
        for _ in 1..STARTS {
            if let Ok(driver) = Self::try_start().await {
                return Ok(driver);
            }
        }
        Self::try_start().await
    }

    async fn try_start() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("switchboard-browser-").tempdir()?.keep();
        let mut shell = Command::new("sh")
            .args(["-c", include_str!("browser.sh"), "browser.sh"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .env("TMPDIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut end = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        end.write_all(format!("{}\n", driver.id().ok_or(io::ErrorKind::BrokenPipe)?).as_bytes()).await?;
        let mut output = BufReader::new(driver.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
        while let Some(line) = output.next_line().await? {
            // "ChromeDriver was started successfully on port 34567."
            let port =
                line.split("successfully on port ").nth(1).and_then(|port| port.trim_end_matches('.').parse().ok());
            if let Some(port) = port {
                return Ok(Self { port, _end: end, _output: output, _processes: [shell, driver] });
            }
        }
        Err(io::Error::other("chromedriver ended before it was ready"))
    }
}
