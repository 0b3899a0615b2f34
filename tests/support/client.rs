//! A client of the wire protocol, as strict as the strictest that is shipped: it validates every event against its schema.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long an event may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The agent of every test.
pub const AGENT: &str = "00000000-0000-4000-8000-000000000001";

/// One client connection.
pub struct Client {
    stream: WebSocketStream<TcpStream>,
    /// Events that were skipped while another was looked for.
    skipped: VecDeque<Value>,
}

/// How a turn went, as its client saw it.
#[derive(Debug)]
pub struct Turn {
    /// The concatenation of its tokens.
    pub text: String,
    /// Every event of it after the 202, in order.
    pub events: Vec<Value>,
    /// Its terminal event.
    pub end: Value,
}

impl Client {
    /// Connects to a node.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("a WebSocket")
    }

    /// Connects, if the node lets it.
    pub async fn try_connect(address: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    /// Connects over a socket that takes little when nobody reads.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Self::over(socket.connect(address).await.expect("a connection"), address).await.expect("a WebSocket")
    }

    async fn over(tcp: TcpStream, address: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        tcp.set_nodelay(true)?;
        let (stream, _) = client_async(format!("ws://{address}/ws"), tcp).await?;
        Ok(Self { stream, skipped: VecDeque::new() })
    }

    /// Sends an action.
    pub async fn send(&mut self, action: Value) {
        self.send_text(&action.to_string()).await;
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("sent");
    }

    /// Sends any message.
    pub async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.expect("sent");
    }

    /// The next event.
    pub async fn next(&mut self) -> Value {
        if let Some(event) = self.skipped.pop_front() {
            return event;
        }
        self.receive().await.unwrap_or_else(|close| panic!("closed instead of an event: {close:?}"))
    }

    /// The next event, which is of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["type"], kind, "{event}");
        event
    }

    /// The first event for which this holds; those before it stay for later.
    pub async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.skipped.iter().position(&wanted) {
            return self.skipped.remove(place).expect("it is there");
        }
        loop {
            let event = self.receive().await.unwrap_or_else(|close| panic!("closed while waiting: {close:?}"));
            if wanted(&event) {
                return event;
            }
            self.skipped.push_back(event);
        }
    }

    /// Sends an action and returns the answer that carries its request id.
    pub async fn ask(&mut self, action: Value) -> Value {
        let id = action["requestId"].clone();
        self.send(action).await;
        self.find(|event| event["requestId"] == id).await
    }

    /// The code of the error that an action is answered with.
    pub async fn refusal(&mut self, action: Value) -> String {
        let answer = self.ask(action).await;
        assert_eq!(answer["type"], "error", "{answer}");
        answer["error"]["code"].as_str().expect("a code").to_owned()
    }

    /// Starts a session in a new conversation.
    pub async fn session(&mut self) -> Value {
        self.session_with(json!({})).await
    }

    /// Starts a session with more fields.
    pub async fn session_with(&mut self, more: Value) -> Value {
        let mut action = json!({"action": "create_conversation_session", "requestId": "create", "agentId": AGENT});
        for (key, value) in more.as_object().expect("an object") {
            action[key] = value.clone();
        }
        let answer = self.ask(action).await;
        assert_eq!(answer["status"], 200, "{answer}");
        answer["data"].clone()
    }

    /// Sends a message and waits for its 202.
    pub async fn say(&mut self, session: &Value, request_id: &str, message: &str) {
        let accepted = self.ask(send_message(session, request_id, message)).await;
        assert_eq!(accepted["status"], 202, "{accepted}");
    }

    /// Reads a turn to its end.
    pub async fn turn(&mut self, request_id: &str) -> Turn {
        let (mut text, mut events) = (String::new(), Vec::new());
        loop {
            let event = self.find(|event| event["requestId"] == request_id).await;
            events.push(event.clone());
            match event["type"].as_str().expect("a type") {
                "stream_token" => text.push_str(event["token"].as_str().expect("a token")),
                "eventual_response" | "cancelled" | "error" => return Turn { text, events, end: event },
                _ => {}
            }
        }
    }

    /// Says something and returns how its turn went.
    pub async fn converse(&mut self, session: &Value, request_id: &str, message: &str) -> Turn {
        self.say(session, request_id, message).await;
        self.turn(request_id).await
    }

    /// Proves that nothing more has come: a pong is the very next event.
    pub async fn expect_silence(&mut self) {
        assert!(self.skipped.is_empty(), "events were left: {:?}", self.skipped);
        self.send(json!({"action": "ping", "requestId": "silence"})).await;
        let event = self.next().await;
        assert_eq!((&event["type"], &event["requestId"]), (&json!("pong"), &json!("silence")), "{event}");
    }

    /// Waits for the node to close; the code.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(close) = self.receive().await {
                return close.map(|frame| frame.code.into());
            }
        }
    }

    /// Hangs up without a word.
    pub fn cut(self) {
        drop(self);
    }

    async fn receive(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = timeout(PATIENCE, self.stream.next()).await.expect("an event in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    super::schema::assert_event(&event);
                    return Ok(event);
                }
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}

/// The action that sends a message.
pub fn send_message(session: &Value, request_id: &str, message: &str) -> Value {
    json!({
        "action": "send_message",
        "requestId": request_id,
        "sessionId": session["sessionId"],
        "message": message,
    })
}
