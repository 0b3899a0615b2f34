//! The model gateway, as a process of its own: says what the script in the person's last message wants.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::clock::now_ns;
use crate::script::{Script, Stamp};

/// The argument that makes this program the gateway.
pub const COMMAND: &str = "gateway";

/// Serves until whoever started it closes its standard input.
pub fn run() -> crate::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let abandoned = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        tokio::select! {
            _ = abandoned => Ok(()),
            served = serve(listener) => served,
        }
    })
}

async fn serve(listener: TcpListener) -> crate::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve_connection(stream));
    }
}

async fn serve_connection(stream: TcpStream) {
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    if let Err(error) = served {
        eprintln!("gateway: {error}");
    }
}

/// The part of a request that matters here.
#[derive(Deserialize)]
struct Prompt {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

async fn answer(
    request: Request<Incoming>,
) -> crate::Result<Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>>>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let asked_ns = now_ns();
    let prompt: Prompt = serde_json::from_slice(&body)?;
    let asked = prompt.messages.iter().rfind(|message| message.role == "user").ok_or("nobody said anything")?;
    let answer = Answer {
        script: serde_json::from_str(&asked.content)?,
        asked_ns,
        begun: Instant::now(),
        said: 0,
        ended: false,
    };
    let body = StreamBody::new(stream::unfold(answer, Answer::step));
    Ok(Response::builder().header(CONTENT_TYPE, "text/event-stream").body(body)?)
}

/// An answer under way.
struct Answer {
    script: Script,
    asked_ns: u64,
    begun: Instant,
    /// Tokens that were written.
    said: u32,
    ended: bool,
}

/// What follows the last token.
const END: &str = concat!(
    r#"data: {"id":"chatcmpl-load","object":"chat.completion.chunk","created":1700000000,"model":"load","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-load","object":"chat.completion.chunk","created":1700000000,"model":"load","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":200,"total_tokens":220}}"#,
    "\n\ndata: [DONE]\n\n"
);

impl Answer {
    /// The next write. Waits before it, so that the server writes what was said before.
    async fn step(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        if self.ended {
            return None;
        }
        if self.said == self.script.tokens {
            self.ended = true;
            if self.script.linger_us > 0 {
                tokio::time::sleep(Duration::from_micros(self.script.linger_us)).await;
            }
            return Some((Ok(Frame::data(Bytes::from_static(END.as_bytes()))), self));
        }
        let wait_us = self.script.think_us + u64::from(self.said / self.script.per_write) * self.script.interval_us;
        if wait_us == 0 || self.script.interval_us == 0 && self.said > 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep_until(self.begun + Duration::from_micros(wait_us)).await;
        }
        let until = self.script.tokens.min(self.said + self.script.per_write);
        let mut events = String::new();
        for place in self.said..until {
            let token = self.token(place);
            // Writing to a string cannot fail.
            let _ = write!(
                events,
                r#"data: {{"id":"chatcmpl-load","object":"chat.completion.chunk","created":1700000000,"model":"load","choices":[{{"index":0,"delta":{{"content":{}}},"logprobs":null,"finish_reason":null}}]}}{}"#,
                serde_json::Value::String(token),
                "\n\n"
            );
        }
        self.said = until;
        Some((Ok(Frame::data(events.into())), self))
    }

    fn token(&self, place: u32) -> String {
        if self.script.stamped {
            let asked_ns = (place == 0).then_some(self.asked_ns);
            return Stamp { written_ns: now_ns(), asked_ns }.encode();
        }
        self.script.token(place)
    }
}
