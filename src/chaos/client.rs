//! One client of the load: says something, reads the answer to its end, says the next thing, and now and then does so in a
//! way that a person with bad luck does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::answer;
use super::device::{Consent, Device};
use super::dice::Dice;
use super::plan::Fault;
use super::tool::Tool;
use super::world::World;

/// Messages of one conversation, before the next begins.
const MESSAGES: u64 = 8;

/// Words of a text that fills every buffer between a node and a client that stops to read.
const MUCH: u64 = 20_000;

/// What a client does with its next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    Twice,
    TwoMessages,
    Cancel,
    TwoApprovals,
    StopReading,
    Replay,
}

/// Talks until `until`, then waits for what is open, until `settled_by`.
pub(super) async fn run(world: Arc<World>, index: usize, until: Instant, settled_by: Instant) {
    let mut dice = Dice::of(world.seed, &format!("client {index}"));
    let mut device = Device::new(world.clone());
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        if number % MESSAGES == 0 {
            std::mem::replace(&mut device, Device::new(world.clone())).leave();
        }
        if !device.ready(until).await {
            break;
        }
        let tag = format!("c{index}-{number}");
        let exchange = Exchange { tag, settled_by, lease_ms: world.lease_ms };
        match manner(&world, &mut dice) {
            Manner::Plain => exchange.plain(&mut device, &mut dice).await,
            Manner::Twice => exchange.twice(&mut device, &mut dice).await,
            Manner::TwoMessages => exchange.two_messages(&mut device, &mut dice).await,
            Manner::Cancel => exchange.cancel(&mut device, &mut dice).await,
            Manner::TwoApprovals => exchange.two_approvals(&mut device, &mut dice).await,
            Manner::StopReading => exchange.stop_reading(&mut device, &mut dice).await,
            Manner::Replay => exchange.replay(&mut device, &mut dice).await,
        }
    }
    device.leave();
}

fn manner(world: &World, dice: &mut Dice) -> Manner {
    let wanted = match dice.between(0, 20) {
        0..3 => Manner::Twice,
        3..5 => Manner::TwoMessages,
        5..8 => Manner::Cancel,
        8 => Manner::StopReading,
        9..11 => Manner::Replay,
        11..13 => Manner::TwoApprovals,
        _ => Manner::Plain,
    };
    let fault = match wanted {
        Manner::Plain | Manner::Replay => return wanted,
        Manner::Twice => Fault::Twice,
        Manner::TwoMessages => Fault::TwoMessages,
        Manner::Cancel => Fault::Cancel,
        Manner::TwoApprovals => Fault::TwoApprovals,
        Manner::StopReading => Fault::StopReading,
    };
    if world.breaks(fault) { wanted } else { Manner::Plain }
}

/// One message, or two, and all that belongs to it.
struct Exchange {
    tag: String,
    settled_by: Instant,
    /// The nodes' lease, in milliseconds.
    lease_ms: u64,
}

impl Exchange {
    async fn plain(&self, device: &mut Device, dice: &mut Dice) {
        device.say(&self.tag, &self.message(dice), consent(dice)).await;
        device.settle(self.settled_by).await;
    }

    async fn twice(&self, device: &mut Device, dice: &mut Dice) {
        let mut second = device.second();
        if second.ready(self.settled_by).await {
            let (message, consent) = (self.message(dice), consent(dice));
            self.both(device, &mut second, &message, (consent, consent)).await;
        }
        second.leave();
    }

    async fn two_approvals(&self, device: &mut Device, dice: &mut Dice) {
        let mut second = device.second();
        if second.ready(self.settled_by).await {
            let tools: &[Tool] = if dice.one_in(2) { &[Tool::Pay] } else { &[Tool::Look, Tool::Pay] };
            let message = answer::message(&self.tag, dice.between(2, 10), 5, tools);
            self.both(device, &mut second, &message, (Consent::Yes, Consent::No)).await;
        }
        second.leave();
    }

    /// The same message from both at once.
    async fn both(&self, device: &mut Device, second: &mut Device, message: &str, consent: (Consent, Consent)) {
        tokio::join!(device.say(&self.tag, message, consent.0), second.say(&self.tag, message, consent.1));
        tokio::join!(device.settle(self.settled_by), second.settle(self.settled_by));
    }

    async fn two_messages(&self, device: &mut Device, dice: &mut Dice) {
        let mut second = device.second();
        if second.ready(self.settled_by).await {
            let (other, consent) = (format!("{}b", self.tag), consent(dice));
            let messages = (self.message(dice), answer::message(&other, dice.between(3, 20), 5, &[]));
            tokio::join!(device.say(&self.tag, &messages.0, consent), second.say(&other, &messages.1, Consent::Silent));
            tokio::join!(device.settle(self.settled_by), second.settle(self.settled_by));
        }
        second.leave();
    }

    async fn cancel(&self, device: &mut Device, dice: &mut Dice) {
        let (words, pace) = (dice.between(3, 30), dice.between(2, 20));
        // A tool that asks is left alone until then.
        let tools = tools(dice);
        device.say(&self.tag, &answer::message(&self.tag, words, pace, tools), Consent::Silent).await;
        // Most often close to the end.
        let whole = words * pace;
        let wait =
            if dice.one_in(3) { dice.between(0, whole) } else { dice.between(whole * 3 / 4, whole * 3 / 2 + 20) };
        let settled = timeout(Duration::from_millis(wait), device.settle(self.settled_by)).await;
        if settled.is_err() {
            device.cancel(&self.tag).await;
            // The cancel may be lost, or too late.
            device.consent(&self.tag, consent(dice));
            device.settle(self.settled_by).await;
        }
    }

    async fn stop_reading(&self, device: &mut Device, dice: &mut Dice) {
        device.say(&self.tag, &answer::message(&self.tag, MUCH, 0, &[]), Consent::Silent).await;
        // Runs out unless the answer was faster.
        let _ = timeout(Duration::from_millis(dice.between(1, 300)), device.settle(self.settled_by)).await;
        sleep(Duration::from_millis(dice.between(500, 5000))).await;
        device.settle(self.settled_by).await;
    }

    async fn replay(&self, device: &mut Device, dice: &mut Dice) {
        self.plain(device, dice).await;
        let mut second = device.second();
        second.replay(&self.tag);
        second.settle(self.settled_by).await;
        second.leave();
    }

    fn message(&self, dice: &mut Dice) -> String {
        let pace_ms = dice.between(5, 40);
        // One in a few is long enough to outlive a lease.
        let words = if dice.one_in(5) {
            dice.between(self.lease_ms / 2, self.lease_ms * 3 / 2) / pace_ms
        } else {
            dice.between(3, 60)
        };
        answer::message(&self.tag, words, pace_ms, tools(dice))
    }
}

/// What a message makes the model call; most often nothing.
fn tools(dice: &mut Dice) -> &'static [Tool] {
    match dice.between(0, 12) {
        0 => &[Tool::Note],
        1 => &[Tool::Look],
        2 => &[Tool::Pay],
        3 => &[Tool::Note, Tool::Pay],
        4 => &[Tool::Pay, Tool::Look],
        _ => &[],
    }
}

/// A person says yes more often than no.
fn consent(dice: &mut Dice) -> Consent {
    if dice.one_in(3) { Consent::No } else { Consent::Yes }
}
