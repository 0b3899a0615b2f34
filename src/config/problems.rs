//! Reads settings, and collects what is wrong with them instead of stopping at the first.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::CommandFactory;

use super::Cli;

/// First part of every variable.
const PREFIX: &str = "SWITCHBOARD_";

/// Everything that is wrong with a configuration, a line each, naming the setting.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Looks for variables that nobody reads: a misspelt one would silently have no effect.
    pub(super) fn of_environment(names: impl Iterator<Item = String>) -> Self {
        let command = Cli::command();
        let subcommands = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let known: Vec<String> = command
            .get_arguments()
            .chain(subcommands)
            .filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()))
            .collect();
        let mut problems = Self::default();
        for name in names.filter(|name| name.starts_with(PREFIX) && !known.contains(name)) {
            problems.0.push(format!("{name} is not a setting; see `switchboard serve --help`"));
        }
        problems
    }

    /// Notes something that is wrong.
    pub(super) fn add(&mut self, name: &str, what: impl Display) {
        self.0.push(format!("{PREFIX}{name}: {what}"));
    }

    /// A value, or the fallback and a note.
    pub(super) fn parse<T>(&mut self, name: &str, text: &str, expected: &str, fallback: T) -> T
    where
        T: FromStr,
    {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(name, format_args!("'{}' is not {expected}", shortened(text)));
            fallback
        })
    }

    /// A number within bounds.
    pub(super) fn number<T>(&mut self, name: &str, text: &str, allowed: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Copy + Display,
    {
        let (low, high) = (*allowed.start(), *allowed.end());
        match text.trim().parse() {
            Ok(number) if allowed.contains(&number) => number,
            Ok(_) | Err(_) => {
                self.add(name, format_args!("'{}' is not a number from {low} to {high}", shortened(text)));
                low
            }
        }
    }

    /// A duration in seconds; fractions are taken.
    pub(super) fn seconds(&mut self, name: &str, text: &str, allowed: RangeInclusive<f64>) -> Duration {
        Duration::from_secs_f64(self.number(name, text, allowed))
    }

    /// One word of several.
    pub(super) fn word<T: Copy>(&mut self, name: &str, text: &str, words: &[(&str, T)]) -> T {
        let text = text.trim();
        if let Some((_, value)) = words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)) {
            return *value;
        }
        let listed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.add(name, format_args!("'{}' is none of: {}", shortened(text), listed.join(", ")));
        words[0].1
    }

    /// The value, if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used:")?;
        for problem in &self.0 {
            write!(f, "\n  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value as it may be printed.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
