//! One call over HTTP: what is sent, and what every way of failing looks like to model and client.

use serde_json::json;
use switchboard::agent::Environment;
use switchboard::model::Script;
use switchboard::node::Role;
use switchboard::secret::Secret;

use crate::support::gateway::Answer;
use crate::support::node::TestNode;
use crate::support::tools::{ToolServer, call, result};

use super::{calls_once, chunks, last_result, shared_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_tool_is_posted_its_arguments_and_its_answer_is_the_result() {
    let server = ToolServer::start().await;
    let model = calls_once("look", "{\"n\": 2}");
    let headers = json!({"headers": {"X-Key": {"env": "LOOK_KEY"}}});
    let (shared, _) = shared_with(&model, [server.tool("look", headers)]).await;
    let mut config = shared.config(Role::All);
    config.agent.environment = Environment::new(|name| (name == "LOOK_KEY").then(|| Secret::new("very-secret")));
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    assert_eq!(session["agentName"], "Ann");
    server.script([result("{\"seen\": true}")]);
    let turn = client.converse(&session, "r1", "look twice").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["hm so"]));
    assert_eq!(
        chunks(&turn),
        [
            json!({"toolCall": {"name": "look", "arguments": "{\"n\": 2}"}}),
            json!({"toolResult": {"name": "look", "isError": false, "result": "{\"seen\": true}"}}),
        ]
    );
    assert_eq!(last_result(&model), "{\"seen\": true}");
    assert_eq!(model.prompts()[0].tools[0].name, "look");

    let request = server.calls().remove(0);
    assert_eq!((request.path.as_str(), &request.body), ("/v1/look", &json!({"n": 2})));
    assert_eq!(request.header("x-key"), Some("very-secret"));
    let key = request.header("idempotency-key").unwrap();
    let (turn, call) = key.split_once(':').unwrap();
    assert!(turn.parse::<uuid::Uuid>().is_ok() && call == "c1", "{key}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_a_result_for_the_model_that_tells_a_client_nothing_of_the_inside() {
    let server = ToolServer::start().await;
    let model = calls_once("look", "{}");
    let tool = server.tool("look", json!({"timeoutSeconds": 0.2}));
    let (shared, _) = shared_with(&model, [tool]).await;
    let node = shared.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    let address = server.url("");
    let redirect = Answer::status(302).header("location", server.url("elsewhere"));
    let cases = [
        ("status", Answer::status(503).body("stack trace at db-7.internal"), "the tool answered with status 503"),
        ("redirect", redirect, "the tool answered with status 302"),
        ("hang up", Answer::hang_up(), "the tool could not be reached, or its answer broke off"),
    ];
    for (index, (name, answer, told)) in cases.into_iter().enumerate() {
        if index > 0 {
            model.push(Script::default().calls([call("c1", "look", "{}")]));
            model.push(Script::saying(["so"]));
        }
        server.script([answer]);
        let turn = client.converse(&session, name, "look").await;
        assert_eq!(chunks(&turn)[1]["toolResult"], json!({"name": "look", "isError": true, "result": told}), "{name}");
        assert_eq!(turn.end["type"], "eventual_response");
        let text = format!("{:?}", turn.events);
        assert!(!text.contains("internal") && !text.contains(&address), "{text}");
    }
    // The last one is never answered.
    model.push(Script::default().calls([call("c1", "look", "{}")]));
    model.push(Script::saying(["so"]));
    let turn = client.converse(&session, "slow", "look").await;
    assert_eq!(chunks(&turn)[1]["toolResult"]["result"], "the tool gave no answer within 200ms");
    assert!(server.calls().iter().all(|call| call.path == "/v1/look"), "no redirect was followed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_the_schema_never_reach_the_tool() {
    let server = ToolServer::start().await;
    let model = calls_once("look", "{\"n\": 0}");
    let (shared, _) = shared_with(&model, [server.tool("look", json!({}))]).await;
    let node = shared.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    let turn = client.converse(&session, "r1", "look").await;
    let result = chunks(&turn)[1]["toolResult"].clone();
    assert_eq!(result["isError"], true);
    assert!(result["result"].as_str().unwrap().contains("/n: 0 is less than the minimum of 1"), "{result}");
    assert!(server.calls().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_cut_off_and_a_missing_variable_is_not_named_to_anybody() {
    let server = ToolServer::start().await;
    let model = calls_once("look", "");
    let tool = server.tool("look", json!({}));
    let keyed = server.tool("keyed", json!({"headers": {"X-Key": {"env": "KEY_NAME"}}}));
    let (shared, _) = shared_with(&model, [tool, keyed]).await;
    let mut config = shared.config(Role::All);
    config.agent.max_tool_result_bytes = 100;
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    server.script([result(&"x".repeat(100_000))]);
    let turn = client.converse(&session, "r1", "look").await;
    let told = chunks(&turn)[1]["toolResult"]["result"].as_str().unwrap().to_owned();
    assert!(told.len() <= 100 && told.contains("too long"), "{told}");
    assert_eq!(server.calls()[0].body, json!({}), "no arguments are an empty object");
    model.push(Script::default().calls([call("c1", "keyed", "{}")]));
    model.push(Script::saying(["so"]));
    let turn = client.converse(&session, "r2", "keyed").await;
    let told = chunks(&turn)[1]["toolResult"]["result"].clone();
    assert_eq!(told, "the tool is not set up correctly on this server");
    assert_eq!(server.calls().len(), 1);
    node.stop().await;
}
