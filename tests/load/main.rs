//! The load benchmark: what a node must reach, measured on real parts. README.md beside this file says how to read it.
//!
//! Nothing here is estimated: memory and CPU are what the kernel accounts to the node's process, and every text that comes
//! back is compared with the one that was scripted.

mod client;
mod clock;
mod concurrency;
mod cpu;
mod gateway;
mod idle;
mod latency;
mod process;
mod report;
mod rig;
mod script;
mod stalled;

use std::process::ExitCode;

use report::Report;
use rig::Rig;

/// What any part of the benchmark fails with; it is shown and ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The scenarios, in the order in which they run.
const SCENARIOS: [&str; 5] = ["idle", "stalled", "latency", "cpu", "concurrency"];

fn main() -> ExitCode {
    // Cargo adds flags of its own harness.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(gateway::COMMAND) => gateway::run().map(|()| true),
        _ => run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios of these names, all when there are none. Says whether every target was met.
fn run(names: &[String]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| !SCENARIOS.contains(&name.as_str())) {
        return Err(format!("there is no scenario '{unknown}'; there are: {}", SCENARIOS.join(", ")).into());
    }
    let chosen = SCENARIOS.iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == *name));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let rig = Rig::start().await?;
        report::show_machine()?;
        let mut all_met = true;
        for name in chosen {
            let mut report = Report::new(name);
            match *name {
                "idle" => idle::run(&rig, &mut report).await?,
                "stalled" => stalled::run(&rig, &mut report).await?,
                "latency" => latency::run(&rig, &mut report).await?,
                "cpu" => cpu::run(&rig, &mut report).await?,
                _ => concurrency::run(&rig, &mut report).await?,
            }
            report.show();
            all_met &= report.all_met();
        }
        Ok(all_met)
    })
}
