//! The processes that are measured, and what the kernel says of them.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::Result;
use crate::gateway;

/// Clock ticks of `/proc` in a second: what Linux shows to programs, whatever it counts in itself.
const TICKS_PER_SECOND: u32 = 100;

/// First part of every variable that sets a node up; the benchmark's own surroundings must not.
const PREFIX: &str = "SWITCHBOARD_";

/// A node of the release build; killed when dropped.
pub struct Node {
    process: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    metrics: String,
    log: PathBuf,
}

/// The scripted gateway; ends when dropped, or with this process.
pub struct Gateway {
    _process: Child,
    address: SocketAddr,
}

impl Node {
    /// Starts a node with these settings (without their prefix) and other variables, and waits until it is ready.
    pub async fn start(name: &str, settings: &[(&str, String)], environment: &[(&str, &str)]) -> Result<Self> {
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("load-{name}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX)) {
            command.env_remove(variable);
        }
        for (setting, value) in settings {
            command.env(format!("{PREFIX}{setting}"), value);
        }
        command
            .envs(environment.iter().copied())
            .env(format!("{PREFIX}LISTEN"), "127.0.0.1:0")
            .env(format!("{PREFIX}INTERNAL_LISTEN"), "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(File::create(&log)?);
        let (process, mut said) = spawn(command)?;
        let ready = said.next_line().await?.unwrap_or_default();
        let mut urls = ready.split_whitespace().filter_map(|word| word.strip_prefix("http://"));
        let (Some(public), Some(metrics)) = (urls.next(), urls.next()) else {
            return Err(format!("the node did not start; see {}", log.display()).into());
        };
        let address = public.trim_end_matches('/').parse()?;
        Ok(Self { process, address, metrics: format!("http://{metrics}"), log })
    }

    /// The CPU time that the kernel has accounted to the node so far, in user and kernel mode. It counts in steps of 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The name of the program, in parentheses, may contain anything; utime and stime are the 12th and 13th after it.
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11);
        let mut ticks =
            || Ok::<u32, Box<dyn std::error::Error + Send + Sync>>(fields.next().ok_or("no such field")?.parse()?);
        Ok(Duration::from_secs((ticks()? + ticks()?).into()) / TICKS_PER_SECOND)
    }

    /// The node's resident memory, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// The sum of a metric over all labels; `name` may end in one of them, as in `name{kind="token"`.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = reqwest::get(&self.metrics).await?.text().await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ', ',', '}']));
        let values = text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next());
        Ok(values.map(str::parse::<f64>).sum::<std::result::Result<f64, _>>()?)
    }

    /// Where its log lines go.
    pub fn log(&self) -> String {
        self.log.display().to_string()
    }

    fn pid(&self) -> Result<u32> {
        self.process.id().ok_or_else(|| format!("the node has ended; see {}", self.log.display()).into())
    }
}

impl Gateway {
    /// Starts this program once more, as the gateway.
    pub async fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(gateway::COMMAND).stdin(Stdio::piped());
        let (process, mut said) = spawn(command)?;
        let address = said.next_line().await?.ok_or("the gateway did not start")?.parse()?;
        Ok(Self { _process: process, address })
    }

    /// The base address, to be used as `GATEWAY_URL`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

/// Starts a process that ends with its [`Child`]; also returns what it writes.
fn spawn(mut command: Command) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = process.stdout.take().ok_or("its output is not piped")?;
    Ok((process, BufReader::new(output).lines()))
}
