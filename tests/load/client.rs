//! A client of the wire protocol that costs little, because the machine is shared with what is measured.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::Result;
use crate::clock::now_ns;
use crate::script::Script;

/// How long the node may be silent before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Any agent: one that nobody declared is a plain assistant.
const AGENT: &str = "00000000-0000-4000-8000-000000000001";

/// A receive buffer that does not grow, in bytes, before the kernel doubles it: a few of loopback's packets.
const FIXED_BYTES: u32 = 256 * 1024;

/// One client connection.
pub struct Client {
    stream: WebSocketStream<TcpStream>,
}

/// A session's id.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    session_id: String,
}

/// A turn that ended with the answer that was scripted.
pub struct Turn {
    /// When the client sent its message.
    pub sent_ns: u64,
    /// When the 202 was there.
    pub accepted: Instant,
    /// When the answer was there.
    pub ended: Instant,
}

/// What is wrong with a turn.
#[derive(Debug)]
pub enum Fault {
    /// It was refused, or ended without an answer.
    Failed(String),
    /// It ended with an answer that is not the scripted one, or more than once.
    Broken(String),
}

/// An event, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// `data` of an `eventual_response`.
#[derive(Deserialize)]
struct Eventual {
    data: EventualData,
}

#[derive(Deserialize)]
struct EventualData {
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    response_parts: Vec<String>,
}

impl Client {
    /// Connects to a node.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    /// The same, but the kernel keeps no more of what was not read than [`FIXED_BYTES`].
    pub async fn connect_fixed(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(FIXED_BYTES)?;
        Self::over(socket.connect(address).await?, address).await
    }

    async fn over(tcp: TcpStream, address: SocketAddr) -> Result<Self> {
        tcp.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (stream, _) = client_async_with_config(format!("ws://{address}/ws"), tcp, Some(config)).await?;
        Ok(Self { stream })
    }

    /// Starts a session in a new conversation.
    pub async fn session(&mut self) -> Result<Session> {
        self.send(json!({"action": "create_conversation_session", "requestId": "new", "agentId": AGENT})).await?;
        let text = self.receive().await?;
        match read(&text)? {
            Event { status: Some(200), data: Some(data), .. } => Ok(serde_json::from_str(data.get())?),
            _ => Err(format!("no session: {text}").into()),
        }
    }

    /// Starts this many sessions.
    pub async fn sessions(&mut self, count: usize) -> Result<Vec<Session>> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            sessions.push(self.session().await?);
        }
        Ok(sessions)
    }

    /// Proves that nothing more has come, and that the node has done all it was asked: a pong is the very next event.
    pub async fn expect_silence(&mut self) -> Result<()> {
        self.send(json!({"action": "ping", "requestId": "silence"})).await?;
        let text = self.receive().await?;
        if read(&text)?.r#type == "pong" { Ok(()) } else { Err(format!("instead of a pong: {text}").into()) }
    }

    /// Lets a turn run and holds its answer against the script. `on_text` gets each piece of it and when it was there.
    pub async fn turn(
        &mut self,
        session: &Session,
        script: &Script,
        mut on_text: impl FnMut(&str, u64),
    ) -> std::result::Result<Turn, Fault> {
        let sent_ns = now_ns();
        self.begin(session, script).await?;
        let accepted = Instant::now();
        let mut streamed = String::new();
        loop {
            let text = self.receive().await?;
            let received_ns = now_ns();
            let event = read(&text)?;
            match (event.r#type, event.token, event.data) {
                ("stream_token", Some(token), _) => {
                    on_text(&token, received_ns);
                    streamed.push_str(&token);
                }
                ("eventual_response", _, Some(data)) => {
                    let ended = Instant::now();
                    compare(script, &streamed, &serde_json::from_str(data.get())?)?;
                    return Ok(Turn { sent_ns, accepted, ended });
                }
                _ => return Err(Fault::Failed(text.to_string())),
            }
        }
    }

    /// Sends the message of a turn and reads until it is accepted.
    pub async fn begin(&mut self, session: &Session, script: &Script) -> std::result::Result<(), Fault> {
        let action = json!({
            "action": "send_message",
            "requestId": format!("turn-{}", script.seed),
            "sessionId": session.session_id,
            "message": serde_json::to_string(script)?,
        });
        self.send(action).await?;
        let answer = self.receive().await?;
        if read(&answer)?.status == Some(202) { Ok(()) } else { Err(Fault::Failed(answer.to_string())) }
    }

    /// Reads tokens and adds them to `text`, until that is enough.
    pub async fn read_text(
        &mut self,
        text: &mut String,
        enough: impl Fn(&str) -> bool,
    ) -> std::result::Result<(), Fault> {
        loop {
            let frame = self.receive().await?;
            match read(&frame)? {
                Event { r#type: "stream_token", token: Some(token), .. } => {
                    text.push_str(&token);
                    if enough(text) {
                        return Ok(());
                    }
                }
                _ => return Err(Fault::Failed(frame.to_string())),
            }
        }
    }

    async fn send(&mut self, action: serde_json::Value) -> Result<()> {
        Ok(self.stream.send(Message::text(action.to_string())).await?)
    }

    async fn receive(&mut self) -> Result<Utf8Bytes> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await? {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => return Err(format!("the node closed the socket: {frame:?}").into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err("the socket is gone".into()),
            }
        }
    }
}

fn read(text: &Utf8Bytes) -> serde_json::Result<Event<'_>> {
    serde_json::from_str(text)
}

fn compare(script: &Script, streamed: &str, answer: &Eventual) -> std::result::Result<(), Fault> {
    let answered = answer.data.response.response_parts.concat();
    if answered != streamed {
        return Err(Fault::Broken(format!("streamed {streamed:?}, answered {answered:?}")));
    }
    match script.text() {
        Some(scripted) if scripted != streamed => {
            Err(Fault::Broken(format!("scripted {scripted:?}, got {streamed:?}")))
        }
        Some(_) | None => Ok(()),
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(what) => write!(f, "a turn failed: {what}"),
            Self::Broken(what) => write!(f, "a turn is broken: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Fault {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Failed(error.to_string())
    }
}
