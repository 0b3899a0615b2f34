//! The tools of an agent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use switchboard::agent::{Agent, Config, Step, Task, Tool, ToolOutcome};
use switchboard::ids::TurnId;
use switchboard::model::{ChatMessage, Script, Scripted, ToolCall, ToolSpec, Usage};

use super::{client, run, task, text, text_of};
use crate::support::gateway::{Answer, PROMPT_TOKENS, ScriptedGateway};

/// What a test's tool does.
enum Behaviour {
    /// Gives its arguments back.
    Echo,
    /// Says that it failed.
    Fail,
    /// Never answers.
    Hang,
}

struct TestTool {
    spec: ToolSpec,
    behaviour: Behaviour,
    calls: Mutex<Vec<(String, TurnId)>>,
}

impl TestTool {
    fn new(name: &str, behaviour: Behaviour) -> Arc<Self> {
        let spec = ToolSpec {
            name: name.to_owned(),
            description: format!("The tool {name}"),
            parameters: json!({"type": "object"}),
        };
        Arc::new(Self { spec, behaviour, calls: Mutex::default() })
    }
}

#[async_trait]
impl Tool for TestTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, call: &ToolCall, turn: TurnId) -> ToolOutcome {
        self.calls.lock().expect("no poison").push((call.id.clone(), turn));
        match self.behaviour {
            Behaviour::Echo => ToolOutcome::ok(format!("{} of {}", call.arguments, self.spec.name)),
            Behaviour::Fail => ToolOutcome::error("the disk is full".to_owned()),
            Behaviour::Hang => std::future::pending().await,
        }
    }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

fn started(call: &ToolCall) -> Step {
    Step::ToolStarted { call: call.clone() }
}

fn ended(call: &ToolCall, is_error: bool, result: &str) -> Step {
    Step::ToolEnded { call: call.clone(), is_error, result: result.to_owned() }
}

/// Runs an agent on a model that calls `call` and then says "so".
async fn run_one_call(config: Config, tool: Arc<TestTool>, call: &ToolCall) -> (Vec<Step>, Vec<ChatMessage>) {
    let model = Scripted::new([Script::default().calls([call.clone()]), Script::saying(["so"])]);
    let agent = Agent::new(Arc::new(model.clone()), vec![tool], config);
    let (steps, reply) = run(&agent, task("hi")).await;
    assert_eq!(reply.expect("an answer").text, "so", "whatever becomes of a tool");
    (steps, model.prompts().remove(1).messages)
}

#[tokio::test]
async fn tools_run_in_the_order_given_and_the_model_is_shown_their_results() {
    let gateway = ScriptedGateway::start().await;
    let (look, listen) = (TestTool::new("look", Behaviour::Echo), TestTool::new("listen", Behaviour::Echo));
    let agent = Agent::new(client(&gateway), vec![look.clone(), listen.clone()], Config::default());
    let task = task("hi");
    let turn = task.turn;
    let ((steps, reply), ()) = tokio::join!(run(&agent, task), async {
        let mut first = gateway.expect_request().await;
        first.send_text("Let me see. ");
        first.send_tool_call("c1", "listen", "{\"to\": \"é\"}");
        first.send_tool_call("c2", "look", "");
        first.finish();
        let mut second = gateway.expect_request().await;
        second.send_text("It rains.");
        second.finish();
    });
    let (c1, c2) = (call("c1", "listen", "{\"to\": \"é\"}"), call("c2", "look", ""));
    assert_eq!(
        steps,
        [
            text("Let me see. "),
            started(&c1),
            ended(&c1, false, "{\"to\": \"é\"} of listen"),
            started(&c2),
            ended(&c2, false, " of look"),
            text("It rains."),
        ]
    );
    let reply = reply.unwrap();
    assert_eq!(reply.text, text_of(&steps), "the reply is what was emitted, byte for byte");
    assert_eq!(reply.usage, Usage { prompt_tokens: 2 * PROMPT_TOKENS, completion_tokens: 2, cost_usd: 0.0 });
    assert_eq!(*listen.calls.lock().unwrap(), [("c1".to_owned(), turn)]);
    assert_eq!(*look.calls.lock().unwrap(), [("c2".to_owned(), turn)]);

    let requests = gateway.requests();
    assert_eq!(requests[0].body["tools"][1]["function"]["name"], "listen");
    assert_eq!(requests[0].body["tools"], requests[1].body["tools"]);
    let function = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
    assert_eq!(
        requests[1].body["messages"],
        json!([
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Let me see. ", "tool_calls": [
                {"id": "c1", "type": "function", "function": function("listen", "{\"to\": \"é\"}")},
                {"id": "c2", "type": "function", "function": function("look", "")},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "{\"to\": \"é\"} of listen"},
            {"role": "tool", "tool_call_id": "c2", "content": " of look"},
        ])
    );
}

#[tokio::test]
async fn a_tool_that_fails_is_an_error_that_the_model_is_shown() {
    let call = call("c1", "save", "{}");
    let (steps, shown) = run_one_call(Config::default(), TestTool::new("save", Behaviour::Fail), &call).await;
    assert_eq!(steps[..2], [started(&call), ended(&call, true, "the disk is full")]);
    let content = "the disk is full".to_owned();
    assert_eq!(shown.last(), Some(&ChatMessage::Tool { call_id: "c1".to_owned(), content }));
}

#[tokio::test]
async fn a_tool_that_does_not_exist_is_an_error_that_the_model_is_shown() {
    let call = call("c1", "fly", "{}");
    let (steps, _) = run_one_call(Config::default(), TestTool::new("look", Behaviour::Echo), &call).await;
    assert_eq!(steps[..2], [started(&call), ended(&call, true, "there is no tool named 'fly'")]);
}

#[tokio::test]
async fn arguments_that_are_no_json_object_never_reach_the_tool() {
    for arguments in ["{\"at\":", "[]", "nonsense"] {
        let call = call("c1", "look", arguments);
        let tool = TestTool::new("look", Behaviour::Echo);
        let (steps, _) = run_one_call(Config::default(), tool.clone(), &call).await;
        assert_eq!(steps[..2], [started(&call), ended(&call, true, "the arguments are not a JSON object")]);
        assert!(tool.calls.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_is_given_up_and_the_model_is_told() {
    let call = call("c1", "wait", "{}");
    let config = Config { tool_timeout: Duration::from_secs(3600), ..Config::default() };
    let (steps, _) = run_one_call(config, TestTool::new("wait", Behaviour::Hang), &call).await;
    let Step::ToolEnded { is_error: true, result, .. } = &steps[1] else { panic!("{steps:?}") };
    assert!(result.contains("3600s"), "{result}");
}

#[tokio::test]
async fn a_long_result_is_cut_off_for_the_model_and_for_the_client() {
    let call = call("c1", "look", &json!({"text": "x".repeat(1000)}).to_string());
    let config = Config { max_tool_result_bytes: 100, ..Config::default() };
    let (steps, shown) = run_one_call(config, TestTool::new("look", Behaviour::Echo), &call).await;
    let Step::ToolEnded { is_error: false, result, .. } = &steps[1] else { panic!("{steps:?}") };
    assert!(result.len() <= 100 && result.contains("too long"), "{result}");
    let content = result.clone();
    assert_eq!(shown.last(), Some(&ChatMessage::Tool { call_id: "c1".to_owned(), content }));
}

#[tokio::test]
async fn a_model_that_only_calls_tools_is_asked_once_more_without_them() {
    let gateway = ScriptedGateway::start().await;
    let tool = TestTool::new("look", Behaviour::Echo);
    let config = Config { max_rounds: 3, ..Config::default() };
    let agent = Agent::new(client(&gateway), vec![tool.clone()], config);
    gateway.script((0..3).map(|_| Answer::tool_calls([("c", "look", "{}")])).chain([Answer::text("enough")]));
    let (_, reply) = run(&agent, task("hi")).await;
    assert_eq!(reply.unwrap().text, "enough");
    assert_eq!(tool.calls.lock().unwrap().len(), 3);
    let offered: Vec<bool> = gateway.requests().iter().map(|request| request.body["tools"].is_array()).collect();
    assert_eq!(offered, [true, true, true, false]);
}

#[tokio::test]
async fn a_model_that_calls_tools_it_was_not_offered_cannot_go_on_for_ever() {
    let scripts = (0..10).map(|_| Script::saying(["x"]).calls([call("c", "look", "{}")]));
    let model = Scripted::new(scripts);
    let tool = TestTool::new("look", Behaviour::Echo);
    let config = Config { max_rounds: 2, ..Config::default() };
    let agent = Agent::new(Arc::new(model.clone()), vec![tool.clone()], config);
    let (_, reply) = run(&agent, task("hi")).await;
    assert_eq!(reply.unwrap().text, "xxx");
    assert_eq!(tool.calls.lock().unwrap().len(), 2);
    assert_eq!(model.prompts().len(), 3);
}

#[tokio::test]
async fn stopping_ends_a_tool_that_runs() {
    let tool = TestTool::new("wait", Behaviour::Hang);
    let model = Scripted::new([Script::default().calls([call("c1", "wait", "{}")])]);
    let agent = Agent::new(Arc::new(model.clone()), vec![tool.clone()], Config::default());
    let mut steps = Vec::new();
    {
        let mut emit = |step| steps.push(step);
        let task: Task = task("hi");
        let stopped = tokio::time::timeout(Duration::ZERO, agent.run(task, &mut emit)).await;
        assert!(stopped.is_err());
    }
    assert_eq!(steps, [started(&call("c1", "wait", "{}"))]);
    assert_eq!(tool.calls.lock().unwrap().len(), 1);
    assert_eq!(model.prompts().len(), 1);
}
