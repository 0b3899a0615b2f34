//! The `switchboard` program: a node and the few commands around it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use switchboard::chaos::{self, plan::Fault};
use switchboard::config::{AgentsCommand, ChaosOptions, Cli, Command, Options};
use switchboard::dev::DevCluster;
use switchboard::{agents, node, protocol, shutdown};
use tokio_util::sync::CancellationToken;

/// Measured with 3,000 idle sessions on NATS: 9 % less resident memory a session than the C library's allocator, and no more
/// time a token.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let done = runtime.block_on(async {
        match cli.command {
            None => serve(&cli.options).await,
            Some(Command::Serve(options)) => serve(&options).await,
            Some(Command::Migrate(options)) => migrate(&options).await,
            Some(Command::CheckConfig { connect, options }) => check_config(&options, connect).await,
            Some(Command::Dev { listen }) => dev(listen).await,
            Some(Command::Agents { command: AgentsCommand::Apply { file, options } }) => {
                apply_agents(&options, &file).await
            }
            Some(Command::Chaos(options)) => chaos(&options).await,
            Some(Command::Schema { check, folder }) => schema(&folder, check),
            Some(Command::Version) => {
                say(concat!("switchboard ", env!("CARGO_PKG_VERSION")));
                Ok(())
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

async fn serve(options: &Options) -> Done {
    let config = checked(options)?;
    let node = config.start().await?;
    say(&format!(
        "Switchboard is ready: open http://{}/ (metrics: http://{}/metrics )",
        node.address(),
        node.internal_address()
    ));
    shutdown::requested().await?;
    let hurry = CancellationToken::new();
    tokio::select! {
        () = node.stop(hurry.clone()) => Ok(()),
        failed = hurry_when_asked_again(&hurry) => failed.map_err(Into::into),
    }
}

/// A second request to end means: now. Turns are given back all the same.
async fn hurry_when_asked_again(hurry: &CancellationToken) -> std::io::Result<()> {
    shutdown::requested().await?;
    hurry.cancel();
    std::future::pending().await
}

async fn migrate(options: &Options) -> Done {
    let store = checked(options)?.store.open(&prometheus::Registry::new()).await?;
    store.migrate().await?;
    say("the schema is up to date");
    Ok(())
}

async fn check_config(options: &Options, connect: bool) -> Done {
    let config = checked(options)?;
    if connect {
        config.connect().await?;
    }
    say("the configuration is right");
    Ok(())
}

async fn apply_agents(options: &Options, file: &std::path::Path) -> Done {
    let config = checked(options)?;
    let text = tokio::fs::read_to_string(file).await.map_err(|error| format!("{}: {error}", file.display()))?;
    let agents = agents::read(&text).map_err(|mistakes| format!("{}: {mistakes}", file.display()))?;
    let store = config.store.open(&prometheus::Registry::new()).await?;
    if config.migrate {
        store.migrate().await?;
    }
    store.check().await?;
    let changed = store.put_agents(&agents).await?;
    say(&format!("{} agents declared, {changed} of them new or changed", agents.len()));
    Ok(())
}

fn schema(folder: &std::path::Path, check: bool) -> Done {
    if !check {
        return protocol::schema::write(folder).map_err(Into::into);
    }
    let drift = protocol::schema::drift(folder)?;
    drift.iter().for_each(|drift| say(&drift.to_string()));
    if drift.is_empty() {
        Ok(())
    } else {
        Err("the schemas are not those of this build; run `switchboard schema`".into())
    }
}

async fn dev(listen: std::net::SocketAddr) -> Done {
    let cluster = DevCluster::start(listen, say).await?;
    say(&cluster.description()?);
    tokio::select! {
        requested = shutdown::requested() => requested?,
        () = cluster.serve() => {}
    }
    cluster.stop().await;
    Ok(())
}

async fn chaos(options: &ChaosOptions) -> Done {
    let verdict = match &options.judge {
        Some(history) => chaos::judge(history).await?,
        None => {
            let config = chaos::Config {
                seed: options.seed,
                length: Duration::from_secs(options.seconds),
                clients: options.clients.into(),
                nodes: options.nodes.into(),
                nats: options.nats.into(),
                cut_bytes: options.cut_bytes,
                lease: Duration::try_from_secs_f64(options.lease_seconds)?,
                faults: Fault::list(&options.faults)?,
                folder: options.folder.clone(),
                program: std::env::current_exe()?,
            };
            chaos::run(&config, say).await?
        }
    };
    say(verdict.to_string().trim_end());
    if verdict.holds() { Ok(()) } else { Err("promises were broken".into()) }
}

/// The typed configuration; from here on the process logs.
fn checked(options: &Options) -> Result<node::Config, Box<dyn std::error::Error>> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let (config, telemetry) = options.check(names)?;
    telemetry.install()?;
    Ok(config)
}

/// For the person who started the program, on standard output; everything else is a log line.
#[expect(clippy::print_stdout, reason = "the one place that speaks to a person")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last word of a program that failed")]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("switchboard: {error}");
    ExitCode::FAILURE
}
