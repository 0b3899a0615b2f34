//! One connection of a client, which may break at any byte.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::history::{CUT, End, Seen};
use crate::protocol::Action;

/// How long a node may take for the handshake; one that is paused takes for ever.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How many bytes a connection lives, in each direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) read: u64,
    pub(super) written: u64,
}

impl Lifetime {
    /// As long as both sides want.
    pub(super) const LONG: Self = Self { read: u64::MAX, written: u64::MAX };
}

/// The connection.
pub(super) struct Link {
    stream: WebSocketStream<Mortal>,
}

/// What a node said.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frame {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) request_id: Option<String>,
    #[serde(default)]
    pub(super) data: Value,
    status: Option<u16>,
    seq: Option<u64>,
    epoch: Option<i64>,
    token: Option<String>,
    #[serde(default)]
    error: Value,
}

impl Link {
    /// Connects. The handshake counts towards the lifetime.
    pub(super) async fn connect(address: SocketAddr, lifetime: Lifetime) -> io::Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = Mortal { stream, left: lifetime };
            let (stream, _) = client_async(format!("ws://{address}/ws"), stream).await.map_err(io::Error::other)?;
            Ok(Self { stream })
        };
        timeout(CONNECT_WITHIN, connect).await?
    }

    /// Sends an action. An error shows with the next read, too.
    pub(super) async fn send(&mut self, request_id: &str, action: &Action) -> io::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Request<'a> {
            request_id: &'a str,
            #[serde(flatten)]
            action: &'a Action,
        }
        let text = serde_json::to_string(&Request { request_id, action })?;
        self.stream.send(Message::text(text)).await.map_err(io::Error::other)
    }

    /// The next frame, or how the connection ended.
    pub(super) async fn next(&mut self) -> Result<Frame, String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|error| format!("a frame that is no event: {error}"));
                }
                Some(Ok(Message::Close(close))) => {
                    let code = close.map_or(0, |close| u16::from(close.code));
                    return Err(format!("closed with {code}"));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None if self.stream.get_ref().is_dead() => return Err(CUT.to_owned()),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("closed".to_owned()),
            }
        }
    }
}

impl Frame {
    /// What it says about a turn.
    pub(super) fn seen(&self) -> Seen {
        let (epoch, seq) = (self.epoch.unwrap_or_default(), self.seq.unwrap_or_default());
        let text_at = |pointer: &str| self.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = || self.error.get("code").and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.kind.as_str() {
            "immediate_response" if self.status == Some(202) => Seen::Accepted,
            "immediate_response" if self.data.get("verdict").is_some() => Seen::Attached {
                verdict: text_at("/verdict"),
                epoch: self.data.pointer("/turn/epoch").and_then(Value::as_i64).unwrap_or_default(),
            },
            "immediate_response" if self.data.get("approved").is_some() => {
                Seen::Confirmed { approved: self.data.get("approved").and_then(Value::as_bool).unwrap_or_default() }
            }
            "write_confirmation_required" => Seen::Asks { epoch, seq, tool: text_at("/data/toolId") },
            "stream_chunk" if self.data.pointer("/state/rawResponse/toolCall").is_some() => Seen::ToolCalled {
                epoch,
                seq,
                tool: text_at("/state/rawResponse/toolCall/name"),
                arguments: text_at("/state/rawResponse/toolCall/arguments"),
            },
            "stream_chunk" => Seen::ToolEnded {
                epoch,
                seq,
                tool: text_at("/state/rawResponse/toolResult/name"),
                is_error: self.data.pointer("/state/rawResponse/toolResult/isError").and_then(Value::as_bool)
                    == Some(true),
                result: text_at("/state/rawResponse/toolResult/result"),
            },
            "stream_token" => Seen::Text { epoch, seq, text: self.token.clone().unwrap_or_default() },
            "turn_restarted" => Seen::Restarted { epoch },
            "eventual_response" => {
                let text = text_at("/data/response/responseParts/0");
                Seen::Ended { epoch, seq, end: End::Completed { text } }
            }
            "cancelled" => Seen::Ended { epoch, seq, end: End::Cancelled },
            // Only a turn's own frames are numbered.
            "error" if self.seq.is_some() => Seen::Ended { epoch, seq, end: End::Failed { code: code() } },
            "error" => Seen::Refused { code: code() },
            kind => Seen::Other { kind: kind.to_owned() },
        }
    }
}

/// A TCP connection that breaks after so many bytes.
struct Mortal {
    stream: TcpStream,
    left: Lifetime,
}

/// How much is read at once, in bytes.
const CHUNK: usize = 4096;

impl Mortal {
    fn is_dead(&self) -> bool {
        self.left.read == 0 || self.left.written == 0
    }

    fn dead() -> io::Error {
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// The smaller of a size and what is left.
fn at_most(size: usize, left: u64) -> usize {
    size.min(usize::try_from(left).unwrap_or(usize::MAX))
}

impl AsyncRead for Mortal {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_dead() {
            return Poll::Ready(Err(Self::dead()));
        }
        let mut chunk = [0; CHUNK];
        let mut read = ReadBuf::new(&mut chunk[..at_most(CHUNK.min(into.remaining()), self.left.read)]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.left.read -= read.filled().len() as u64;
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_dead() {
            return Poll::Ready(Err(Self::dead()));
        }
        let count = at_most(bytes.len(), self.left.written);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..count]))?;
        self.left.written -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
