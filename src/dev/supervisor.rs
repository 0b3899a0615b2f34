//! A server under a shell that outlives this process just long enough to end the server and remove its data.
//!
//! Nothing here belongs to a runtime, because the tests of one binary share servers and each has a runtime of its own: the
//! shell's answers are read by a thread, and waited for on a channel.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval, timeout};

use super::account::Account;
use super::error::tail;
use super::folder::ServerFolder;
use super::{DevError, ports};

/// How long a server may take to become ready; Postgres may have to recover first, on a machine that is busy building.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often readiness is looked at.
const READY_EVERY: Duration = Duration::from_millis(10);
/// How long the shell may take to answer; stopping Postgres is the slowest thing it does.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How many ports are tried when other processes take them first.
const PORT_TRIES: usize = 5;
/// What is waiting to be read from the shell: it writes one line per command, and one command is sent at a time.
const ANSWERS: usize = 16;

/// What is to be run.
pub(super) struct Program {
    /// Its name for people.
    pub(super) name: &'static str,
    /// The program and the arguments it gets at every start; the port follows as `-p <port>`.
    pub(super) command: Vec<String>,
    /// The signal that ends it when this process has ended.
    pub(super) last_signal: &'static str,
    /// The folder it may fill; removed at the end.
    pub(super) folder: ServerFolder,
    /// Tells from the folder's files whether the process with this id is ready on this port. A connection would not do: on a
    /// port that was lost to another process it would reach that one's server.
    pub(super) ready: fn(folder: &Path, pid: u32, port: u16) -> bool,
}

/// A program that runs, or is stopped and can run again; it ends for good with this value or with this process.
pub(super) struct Supervisor {
    program: Program,
    port: u16,
    shell: Mutex<Shell>,
}

struct Shell {
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
    asked: u64,
    pid: Option<u32>,
}

impl Supervisor {
    /// Starts `program` as `account` on a free port of loopback and waits until it is ready.
    pub(super) async fn start(program: Program, account: Account) -> Result<Self, DevError> {
        let shell = Shell::spawn(&program, account)?;
        let mut supervisor = Self { program, port: 0, shell: Mutex::new(shell) };
        let mut tries = 1;
        loop {
            supervisor.port = ports::free_port()?;
            match supervisor.run().await {
                Err(DevError::Ended { log, .. }) if tries < PORT_TRIES && log.contains("ddress already in use") => {
                    tries += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(supervisor),
            }
        }
    }

    /// The port on 127.0.0.1, the same after every start.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The folder the program fills.
    pub(super) fn folder(&self) -> &Path {
        self.program.folder.path()
    }

    /// The process id, unless it is stopped.
    pub(super) async fn pid(&self) -> Option<u32> {
        self.shell.lock().await.pid
    }

    /// Starts the program, which must be stopped, and waits until it is ready.
    pub(super) async fn run(&self) -> Result<(), DevError> {
        let name = self.program.name;
        let mut shell = self.shell.lock().await;
        let answer = shell.ask(name, &format!("start -p {}", self.port)).await?;
        let pid = answer
            .strip_prefix("started ")
            .and_then(|pid| pid.parse().ok())
            .ok_or(DevError::Supervisor { server: name })?;
        shell.pid = Some(pid);
        let deadline = Instant::now() + READY_WITHIN;
        let mut tick = interval(READY_EVERY);
        loop {
            tick.tick().await;
            if (self.program.ready)(self.program.folder.path(), pid, self.port) {
                return Ok(());
            }
            if shell.ask(name, "status").await? == "ended" {
                shell.pid = None;
                return Err(DevError::Ended { server: name, log: self.log() });
            }
            if Instant::now() > deadline {
                return Err(DevError::NotReady { server: name, log: self.log() });
            }
        }
    }

    /// Sends `signal` (a name as `kill -s` takes it) and waits for the program's end; its files stay.
    pub(super) async fn stop(&self, signal: &str) -> Result<(), DevError> {
        let server = self.program.name;
        let mut shell = self.shell.lock().await;
        shell.pid.take().ok_or(DevError::NotRunning { server })?;
        shell.ask(server, &format!("stop {signal}")).await?;
        Ok(())
    }

    /// Sends `signal` to the program and to `others`, in this order.
    pub(super) async fn signal(&self, signal: &str, others: &[u32]) -> Result<(), DevError> {
        let server = self.program.name;
        let mut shell = self.shell.lock().await;
        let pid = shell.pid.ok_or(DevError::NotRunning { server })?;
        let pids: String = others.iter().map(|pid| format!(" {pid}")).collect();
        shell.ask(server, &format!("signal {signal} {pid}{pids}")).await?;
        Ok(())
    }

    fn log(&self) -> String {
        let path = self.program.folder.path().join("log");
        std::fs::read(&path).map(|log| tail(&String::from_utf8_lossy(&log))).unwrap_or_default()
    }
}

impl Shell {
    fn spawn(program: &Program, account: Account) -> Result<Self, DevError> {
        let doing = || format!("start a shell for {}", program.name);
        let script = program.folder.path().join("supervisor.sh");
        std::fs::write(&script, include_str!("supervisor.sh")).map_err(DevError::io(doing()))?;
        account.own(&script)?;
        let mut command = Command::new("sh");
        command
            .arg(&script)
            .arg(program.folder.path())
            .arg(program.last_signal)
            .args(&program.command)
            .current_dir(program.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A ctrl-C in a terminal goes to the whole foreground group; the shell must live to see the pipe close.
            .process_group(0);
        account.apply(&mut command);
        let mut child = command.spawn().map_err(DevError::io(doing()))?;
        let commands = child.stdin.take().ok_or(DevError::Supervisor { server: program.name })?;
        let (send, answers) = mpsc::channel(ANSWERS);
        std::thread::Builder::new()
            .name(format!("dev-{}", program.name.to_lowercase()))
            .spawn(move || read_answers(child, &send))
            .map_err(DevError::io(doing()))?;
        Ok(Self { commands, answers, asked: 0, pid: None })
    }

    async fn ask(&mut self, server: &'static str, command: &str) -> Result<String, DevError> {
        self.asked += 1;
        let number = self.asked;
        writeln!(self.commands, "{number} {command}").map_err(|_| DevError::Supervisor { server })?;
        let answer = async {
            loop {
                let line = self.answers.recv().await?;
                // An answer to another number is one that nobody waited for to the end.
                if let Some((of, answer)) = line.split_once(' ')
                    && of.parse() == Ok(number)
                {
                    return Some(answer.to_owned());
                }
            }
        };
        timeout(ANSWER_WITHIN, answer).await.ok().flatten().ok_or(DevError::Supervisor { server })
    }
}

/// Passes on what the shell writes and collects it when it has ended.
fn read_answers(mut child: Child, send: &mpsc::Sender<String>) {
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    }
    if let Err(error) = child.wait() {
        tracing::warn!(%error, "cannot wait for the supervisor of a development server");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that it is ready the second time it is started; the first time it says that its port is taken.
    const TAKES_THE_SECOND_PORT: &str = r#"
        if [ -e tried ]; then echo "$2" >"ready-$$"; exec sleep 1000; fi
        echo "$2" >tried
        echo 'bind: Address already in use'
    "#;

    fn program(script: &str) -> Program {
        let folder = ServerFolder::make(&std::env::temp_dir(), "supervisor-test", Account::Own).expect("a folder");
        let command = ["sh", "-c", script, "fake"].map(str::to_owned).into();
        let ready = |folder: &Path, pid: u32, _port: u16| folder.join(format!("ready-{pid}")).exists();
        Program { name: "a fake", command, last_signal: "KILL", folder, ready }
    }

    #[tokio::test]
    async fn a_port_that_another_process_took_first_is_given_up_for_the_next() {
        let supervisor = Supervisor::start(program(TAKES_THE_SECOND_PORT), Account::Own).await.expect("it starts");
        let first = std::fs::read_to_string(supervisor.folder().join("tried")).expect("it was tried");
        assert_ne!(first.trim(), supervisor.port().to_string());
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_gives_an_error_with_its_log() {
        let started = Supervisor::start(program("echo no such option >&2; exit 2"), Account::Own).await;
        let Err(DevError::Ended { log, .. }) = started else { panic!("it started") };
        assert_eq!(log, "no such option");
    }

    #[tokio::test]
    async fn starting_what_runs_changes_nothing() {
        let script = r#"echo >"ready-$$"; exec sleep 1000"#;
        let supervisor = Supervisor::start(program(script), Account::Own).await.expect("it starts");
        let pid = supervisor.pid().await;
        supervisor.run().await.expect("it runs");
        assert_eq!(supervisor.pid().await, pid);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one() {
        let script = r#"echo >"ready-$$"; exec sleep 1000"#;
        let supervisor = Supervisor::start(program(script), Account::Own).await.expect("it starts");
        let mut shell = supervisor.shell.lock().await;
        writeln!(shell.commands, "0 start").expect("the shell reads");
        assert_eq!(shell.ask("a fake", "status").await.expect("an answer"), "running");
    }
}
