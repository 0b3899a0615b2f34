//! A real NATS server on loopback.

use std::path::Path;

use super::supervisor::{Program, Supervisor};
use super::{DevError, Tools, ports, wheel};

/// A running NATS server without JetStream.
///
/// Ends, and is removed with its log, when this value is dropped or this process ends in whatever way. It listens on 127.0.0.1 alone and asks nobody for a password unless told to:
/// whoever is on this machine can read what passes. It belongs to no runtime: tests that each have their own may share it.
pub struct Nats {
    supervisor: Supervisor,
}

impl Nats {
    /// Starts a server on a free port and waits until it takes connections.
    pub async fn start(tools: &Tools) -> Result<Self, DevError> {
        Self::start_with(tools, &[]).await
    }

    /// The same with more arguments for the server, to have it ask for a password or speak TLS.
    pub async fn start_with(tools: &Tools, arguments: &[&str]) -> Result<Self, DevError> {
        let programs = tools.programs(&wheel::NATS).await?;
        let folder = tools.folder("nats")?;
        let argument = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = vec![
            argument(&programs.join(wheel::NATS.program)),
            "--addr".to_owned(),
            "127.0.0.1".to_owned(),
            "--ports_file_dir".to_owned(),
            argument(folder.path()),
        ];
        command.extend(arguments.iter().map(|text| (*text).to_owned()));
        let program = Program { name: "NATS", command, last_signal: "KILL", folder, ready: is_ready };
        let supervisor = Supervisor::start(program, tools.account()).await?;
        tools.say(&format!("started NATS on 127.0.0.1:{}", supervisor.port()));
        Ok(Self { supervisor })
    }

    /// Starts so many servers that pass messages on to each other; one alone is no cluster. None tells its clients of the
    /// others: a client knows only the addresses that it was given.
    pub async fn start_cluster(tools: &Tools, count: usize) -> Result<Vec<Self>, DevError> {
        if count < 2 {
            return Ok(vec![Self::start(tools).await?]);
        }
        let mut routes = Vec::new();
        for _ in 0..count {
            routes.push(format!("nats://127.0.0.1:{}", ports::free_port()?));
        }
        let all = routes.join(",");
        let mut servers = Vec::new();
        for own in &routes {
            let arguments = ["--cluster_name", "dev", "--no_advertise", "--cluster", own, "--routes", &all];
            servers.push(Self::start_with(tools, &arguments).await?);
        }
        Ok(servers)
    }

    /// The address, as `nats://host:port`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// The port on 127.0.0.1; the same after [`start_again`](Self::start_again).
    pub fn port(&self) -> u16 {
        self.supervisor.port()
    }

    /// The id of the server process, `None` while it is stopped.
    pub async fn pid(&self) -> Option<u32> {
        self.supervisor.pid().await
    }

    /// The folder of its log, gone when the server has ended for good.
    pub fn folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// Kills the server at once and waits for its end. The port stays for [`start_again`](Self::start_again).
    pub async fn stop(&self) -> Result<(), DevError> {
        self.supervisor.stop("KILL").await
    }

    /// Starts the stopped server on the same port and waits until it takes connections.
    pub async fn start_again(&self) -> Result<(), DevError> {
        self.supervisor.run().await
    }

    /// Freezes the server: connections stay open and nothing answers.
    pub async fn pause(&self) -> Result<(), DevError> {
        self.supervisor.signal("STOP", &[]).await
    }

    /// Lets a paused server go on.
    pub async fn resume(&self) -> Result<(), DevError> {
        self.supervisor.signal("CONT", &[]).await
    }
}

/// NATS writes its addresses to a file named after its process once it listens.
fn is_ready(folder: &Path, pid: u32, port: u16) -> bool {
    std::fs::read_to_string(folder.join(format!("nats-server_{pid}.ports")))
        .is_ok_and(|addresses| addresses.contains(&format!(":{port}\"")))
}
