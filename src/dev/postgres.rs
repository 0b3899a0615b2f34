//! A real Postgres on loopback, tuned for tests: it forgets its data, so it waits for no disk.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::error::tail;
use super::supervisor::{Program, Supervisor};
use super::{DevError, Tools, wheel};

/// How long processes may take to end after SIGKILL.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often they are looked for: they belong to somebody else now, so nobody can wait for them.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How Postgres is set up.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `max_connections`. Default 300: the tests of one binary run side by side on one server, each with a pool or two.
    pub max_connections: u16,
    /// Whether a commit waits for the disk. Default false: the data never outlives this process.
    pub durable: bool,
    /// Further settings by name, which win over those above. Default none.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { max_connections: 300, durable: false, settings: Vec::new() }
    }
}

/// How Postgres is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends the sessions with an error, writes a checkpoint and ends.
    Fast,
    /// Ends at once, as in a crash: the next start recovers from the log.
    Immediate,
}

/// A running Postgres 18 with the `vector` extension at hand (not yet created in any database).
///
/// Ends, and is removed with its data, when this value is dropped or this process ends in whatever way. It listens on 127.0.0.1 alone; its one user is the superuser `postgres` with a random
/// password. It belongs to no runtime: tests that each have their own may share it.
pub struct Postgres {
    supervisor: Supervisor,
    password: String,
}

impl Postgres {
    /// Starts Postgres with fresh data on a free port and waits until it takes connections.
    pub async fn start(tools: &Tools, config: PostgresConfig) -> Result<Self, DevError> {
        let programs = tools.programs(&wheel::POSTGRES).await?;
        let folder = tools.folder("postgres")?;
        let password = Uuid::new_v4().simple().to_string();
        let prepared = initdb(tools, &programs, folder.path(), &password).await;
        if let Err(error) = prepared {
            folder.discard();
            return Err(error);
        }
        let program = Program {
            name: "Postgres",
            command: command(&programs, folder.path(), &config),
            last_signal: "QUIT",
            folder,
            ready: is_ready,
        };
        let supervisor = Supervisor::start(program, tools.account()).await?;
        tools.say(&format!("started Postgres 18 on 127.0.0.1:{}", supervisor.port()));
        Ok(Self { supervisor, password })
    }

    /// The address of the database `postgres`, as `postgres://user:password@host:port/database`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of a database on this server, which need not exist.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port())
    }

    /// The port on 127.0.0.1; the same after [`start_again`](Self::start_again).
    pub fn port(&self) -> u16 {
        self.supervisor.port()
    }

    /// The id of the first server process, `None` while it is stopped.
    pub async fn pid(&self) -> Option<u32> {
        self.supervisor.pid().await
    }

    /// The folder of data and log, gone when the server has ended for good.
    pub fn folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// Creates an empty database and returns its address. The name is made of lower-case letters, digits and underscores.
    pub async fn create_database(&self, name: &str) -> Result<String, DevError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(DevError::DatabaseName(name.to_owned()));
        }
        let refused = |source| DevError::Database { doing: "create a database", source };
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.map_err(refused)?;
        let driver = tokio::spawn(connection);
        let created = client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.map_err(refused);
        drop(client);
        // The statement has answered or failed; how the connection ends tells nothing more.
        let _ = driver.await;
        created.map(|()| self.url_of(name))
    }

    /// Stops the server and waits for its end. Data and port stay for [`start_again`](Self::start_again).
    pub async fn stop(&self, shutdown: Shutdown) -> Result<(), DevError> {
        self.supervisor
            .stop(match shutdown {
                Shutdown::Fast => "INT",
                Shutdown::Immediate => "QUIT",
            })
            .await
    }

    /// Sends SIGKILL to every process of the server and waits for their end: nothing is written, nobody is told. Linux only.
    pub async fn kill(&self) -> Result<(), DevError> {
        // Stopped first, so that it makes no process that would not be on the list.
        self.supervisor.signal("STOP", &[]).await?;
        let backends = self.backends().await?;
        self.supervisor.signal("KILL", &backends).await?;
        self.supervisor.stop("KILL").await?;
        let gone_by = Instant::now() + GONE_WITHIN;
        // The next start refuses to run while one of them still has the shared memory.
        for pid in backends {
            while is_alive(pid).await && Instant::now() < gone_by {
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Starts the stopped server on the same port and data and waits until it takes connections.
    pub async fn start_again(&self) -> Result<(), DevError> {
        self.supervisor.run().await
    }

    /// Freezes every process of the server: connections stay open and nothing answers. Linux only.
    pub async fn pause(&self) -> Result<(), DevError> {
        // First the one that makes the others, so that the list is complete.
        self.supervisor.signal("STOP", &[]).await?;
        self.supervisor.signal("STOP", &self.backends().await?).await
    }

    /// Lets a paused server go on.
    pub async fn resume(&self) -> Result<(), DevError> {
        self.supervisor.signal("CONT", &self.backends().await?).await
    }

    /// Each process of Postgres leads a session of its own, so no process group names them all.
    async fn backends(&self) -> Result<Vec<u32>, DevError> {
        let parent = self.pid().await.ok_or(DevError::NotRunning { server: "Postgres" })?;
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = tokio::fs::read_to_string(&path).await.map_err(DevError::io(format!("read {path}")))?;
        Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }
}

/// It is there, and no more than dead.
async fn is_alive(pid: u32) -> bool {
    // The state follows the name, which stands in parentheses and may contain anything.
    let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await.unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

async fn initdb(tools: &Tools, programs: &Path, folder: &Path, password: &str) -> Result<(), DevError> {
    let secret = folder.join("password");
    write_secret(&secret, password).map_err(DevError::io(format!("write {}", secret.display())))?;
    tools.account().own(&secret)?;
    let mut command = StdCommand::new(programs.join("initdb"));
    command
        .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync", "--no-instructions", "--encoding=UTF8"])
        .args(["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--wal-segsize=4"])
        // The password is random: many rounds would only make each connection slow in a build without optimisation.
        .args(["-c", "scram_iterations=1"])
        .arg("--pwfile")
        .arg(&secret)
        .arg("--pgdata")
        .arg(folder.join("data"))
        .current_dir(folder)
        .stdin(Stdio::null());
    tools.account().apply(&mut command);
    let output = Command::from(command).kill_on_drop(true).output().await.map_err(DevError::io("run initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(DevError::Program { program: "initdb", detail: tail(&String::from_utf8_lossy(&said)) })
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(secret.as_bytes())
}

fn command(programs: &Path, folder: &Path, config: &PostgresConfig) -> Vec<String> {
    let durable = if config.durable { "on" } else { "off" };
    let max_connections = config.max_connections.to_string();
    let settings = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", max_connections.as_str()),
        ("shared_buffers", "64MB"),
        // Kept in the data folder, so that a killed server leaves nothing in the system's shared memory.
        ("dynamic_shared_memory_type", "mmap"),
        ("timezone", "UTC"),
        ("jit", "off"),
        ("fsync", durable),
        ("synchronous_commit", durable),
        ("full_page_writes", durable),
    ];
    let further = config.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut command = vec![text(&programs.join("postgres")), "-D".to_owned(), text(&folder.join("data"))];
    for (name, value) in settings.into_iter().chain(further) {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    command
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Postgres writes its state on the eighth line of `postmaster.pid`, and its process id on the first.
fn is_ready(folder: &Path, pid: u32, _port: u16) -> bool {
    let Ok(file) = fs::read_to_string(folder.join("data/postmaster.pid")) else { return false };
    let mut lines = file.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|state| state.trim_end() == "ready")
}
