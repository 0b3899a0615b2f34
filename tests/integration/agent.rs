//! The agent: on real HTTP against the scripted gateway where the wire matters, on the scripted model where the exact
//! moment matters.

mod tools;

use std::sync::Arc;

use futures_util::FutureExt;
use prometheus::Registry;
use switchboard::agent::{Agent, AgentError, Config, Reply, Step, Task};
use switchboard::clock::Clock;
use switchboard::ids::TurnId;
use switchboard::model::gateway::Config as GatewayConfig;
use switchboard::model::{ChatMessage, Gateway, Metrics, ModelError, Script, Scripted, SharedModel, Usage};
use tokio::sync::mpsc;

use crate::support::gateway::{PROMPT_TOKENS, ScriptedGateway};

fn client(gateway: &ScriptedGateway) -> SharedModel {
    let config = GatewayConfig { url: gateway.url(), model: "m".to_owned(), retries: 0, ..GatewayConfig::default() };
    let metrics = Metrics::register(&Registry::new()).expect("a registry of its own");
    Arc::new(Gateway::new(config, Clock::system(), metrics).expect("a good configuration"))
}

fn agent(model: SharedModel) -> Agent {
    Agent::new(model, Vec::new(), Config::default())
}

fn task(text: &str) -> Task {
    Task {
        instructions: "Be kind.".to_owned(),
        history: vec![ChatMessage::User(text.to_owned())],
        model: None,
        traceparent: None,
        turn: TurnId::new(),
        tools: Vec::new(),
        max_rounds: None,
        past: Vec::new(),
    }
}

/// Runs a task to its end and returns what happened on the way too.
async fn run(agent: &Agent, task: Task) -> (Vec<Step>, Result<Reply, AgentError>) {
    let mut steps = Vec::new();
    let reply = agent.run(task, &mut |step| steps.push(step)).await;
    (steps, reply)
}

fn text(text: &str) -> Step {
    Step::Text(text.to_owned())
}

/// Every text that was emitted, put together.
fn text_of(steps: &[Step]) -> String {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Text(text) => Some(text.as_str()),
            Step::Reasoning(_) | Step::ToolStarted { .. } | Step::ToolEnded { .. } => None,
        })
        .collect()
}

#[tokio::test]
async fn the_model_is_asked_with_instructions_and_history_and_its_answer_is_the_reply() {
    let gateway = ScriptedGateway::start().await;
    gateway.auto("Hello to you, too");
    let agent = agent(client(&gateway));
    let history = vec![
        ChatMessage::User("a".to_owned()),
        ChatMessage::Assistant { text: "b".to_owned(), calls: vec![] },
        ChatMessage::User("c".to_owned()),
    ];
    let task = Task { history, model: Some("chosen".to_owned()), traceparent: Some("00-trace".to_owned()), ..task("") };
    let (steps, reply) = run(&agent, task).await;
    let reply = reply.unwrap();
    assert_eq!(reply.text, "Hello to you, too");
    assert_eq!(text_of(&steps), reply.text);
    let usage = Usage { prompt_tokens: PROMPT_TOKENS, completion_tokens: 4, cost_usd: 0.0 };
    assert_eq!(reply.usage, usage);

    let request = gateway.requests().remove(0);
    assert_eq!(request.body["model"], "chosen");
    assert_eq!(request.header("traceparent"), Some("00-trace"));
    let said: Vec<_> = request.body["messages"].as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(said, ["Be kind.", "a", "b", "c"]);
}

#[tokio::test]
async fn without_instructions_no_system_message_is_sent() {
    let model = Scripted::new([Script::saying(["ok"])]);
    let task = Task { instructions: String::new(), ..task("hi") };
    run(&agent(Arc::new(model.clone())), task).await.1.unwrap();
    assert_eq!(model.prompts()[0].messages, [ChatMessage::User("hi".to_owned())]);
}

#[tokio::test]
async fn the_first_token_is_not_held_back_for_a_second() {
    let gateway = ScriptedGateway::start().await;
    let agent = agent(client(&gateway));
    let (sender, mut steps) = mpsc::unbounded_channel();
    let mut emit = |step| sender.send(step).unwrap();
    let running = agent.run(task("hi"), &mut emit);
    let watching = async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        assert_eq!(steps.recv().await, Some(text("Hel")));
        call.send_reasoning("hm");
        assert_eq!(steps.recv().await, Some(Step::Reasoning("hm".to_owned())));
        call.send_text("lo");
        assert_eq!(steps.recv().await, Some(text("lo")));
        call.finish();
    };
    let (reply, ()) = tokio::join!(running, watching);
    assert_eq!(reply.unwrap().text, "Hello");
}

#[tokio::test]
async fn text_that_has_arrived_together_is_one_step() {
    let script = Script::saying(["a", "b"]).reasoning("c").reasoning("d").text("e").text("f");
    let (steps, reply) = run(&agent(Arc::new(Scripted::new([script]))), task("hi")).await;
    assert_eq!(steps, [text("ab"), Step::Reasoning("cd".to_owned()), text("ef")]);
    assert_eq!(reply.unwrap().text, "abef");
}

#[tokio::test]
async fn a_step_stays_small_however_much_has_arrived() {
    let piece = "0123456789abcdef".repeat(64);
    let script = Script::saying(std::iter::repeat_n(piece.as_str(), 100));
    let (steps, reply) = run(&agent(Arc::new(Scripted::new([script]))), task("hi")).await;
    assert_eq!(reply.unwrap().text, piece.repeat(100));
    assert!(steps.len() >= 6, "{} steps", steps.len());
    assert!(steps.iter().all(|step| matches!(step, Step::Text(text) if text.len() <= 17 * 1024)));
}

#[tokio::test]
async fn what_was_emitted_before_an_error_stays() {
    let gateway = ScriptedGateway::start().await;
    let agent = agent(client(&gateway));
    let ((steps, reply), ()) = tokio::join!(run(&agent, task("hi")), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        call.cut();
    });
    assert_eq!(steps, [text("Hel")]);
    assert!(matches!(reply, Err(AgentError::Model(ModelError::Interrupted))), "{reply:?}");
}

#[tokio::test]
async fn a_model_that_cannot_be_asked_is_an_error_without_steps() {
    let model = Scripted::new([Script::refusing(ModelError::Refused { status: 401 })]);
    let (steps, reply) = run(&agent(Arc::new(model)), task("hi")).await;
    assert!(steps.is_empty());
    assert!(matches!(reply, Err(AgentError::Model(ModelError::Refused { status: 401 }))), "{reply:?}");
}

#[tokio::test]
async fn stopping_hangs_up_on_the_gateway_and_keeps_what_was_emitted() {
    let gateway = ScriptedGateway::start().await;
    let agent = agent(client(&gateway));
    let (sender, mut steps) = mpsc::unbounded_channel();
    let mut emit = |step| sender.send(step).unwrap();
    let call = {
        let running = agent.run(task("hi"), &mut emit);
        let watching = async {
            let mut call = gateway.expect_request().await;
            call.send_text("Hel");
            assert_eq!(steps.recv().await, Some(text("Hel")));
            call
        };
        tokio::select! {
            _ = running => panic!("there is no end yet"),
            call = watching => call,
        }
    };
    call.closed().await;
}

#[tokio::test]
async fn a_text_beyond_the_limit_ends_the_run_and_is_not_emitted() {
    let (script, gate) = Script::saying(["1234", "5678", "90"]).gated();
    let config = Config { max_text_bytes: 9, ..Config::default() };
    let agent = Agent::new(Arc::new(Scripted::new([script])), Vec::new(), config);
    gate.open();
    let mut steps = Vec::new();
    let reply = {
        let mut emit = |step| steps.push(step);
        let mut running = Box::pin(agent.run(task("hi"), &mut emit));
        assert!((&mut running).now_or_never().is_none());
        gate.open();
        assert!((&mut running).now_or_never().is_none());
        gate.open();
        running.await
    };
    assert!(matches!(reply, Err(AgentError::TooLong)), "{reply:?}");
    assert_eq!(steps, [text("1234"), text("5678")]);
    gate.closed().await;
}
