//! A running LiteLLM proxy of one case.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kubectl_dynamo_tests::litellm::{KEY, KEY_VARIABLE};
use kubectl_dynamo_tests::{Outcome, processes};
use serde_json::Value;

use crate::Shared;
use kubectl_dynamo_tests::test_machine::TestMachine;

/// The port of the proxy. Each case has its own network.
const PORT: u16 = 4000;
pub(crate) const URL: &str = "http://127.0.0.1:4000";

/// A start takes 13 s of CPU time, and minutes on a machine that compiles.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// A running proxy. Dropping it ends its process.
pub(crate) struct Proxy {
    child: Child,
    _lines: Receiver<String>,
}

impl Proxy {
    /// Starts a proxy with this configuration, to which the key is added, and waits until it listens.
    pub(crate) fn start(machine: &TestMachine, shared: &Shared, config: &str) -> Outcome<Self> {
        let path = machine.home().join("litellm.yaml");
        let key = format!("  master_key: os.environ/{KEY_VARIABLE}\n");
        let config = match config.contains("general_settings:\n") {
            true => config.replacen("general_settings:\n", &format!("general_settings:\n{key}"), 1),
            false => format!("{config}general_settings:\n{key}"),
        };
        std::fs::write(&path, config)?;
        let mut command = machine.program_command(&shared.litellm);
        command.arg("--config").arg(&path).args(["--host", "127.0.0.1", "--port", &PORT.to_string()]);
        // Without a network, the list of prices cannot be downloaded.
        command.env(KEY_VARIABLE, KEY).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or("stderr is piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // The pipe is read to its end, so that the proxy is not blocked.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut read_lines = Vec::new();
        loop {
            let line = lines
                .recv_timeout(START_TIMEOUT)
                .map_err(|_| format!("LiteLLM does not listen: {read_lines:#?}"))?;
            if line.contains("Uvicorn running on") {
                return Ok(Self { child, _lines: lines });
            }
            read_lines.push(line);
        }
    }

    /// Ends the process and waits until its port is free.
    pub(crate) fn stop(self) -> Outcome {
        processes::kill_all(&[self.child.id()])?;
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // `nsenter` executes the program, so the child is the proxy.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client of the proxy got for one request: the status, and the address that answered.
pub(crate) type ClientAnswer = (u16, Option<String>);

/// Sends chat completions of a model through the proxy, a few at the same time.
pub(crate) fn ask(machine: &TestMachine, model: &str, count: usize) -> Outcome<Vec<ClientAnswer>> {
    use futures::StreamExt;
    let body = serde_json::json!({
        "model": model, "max_tokens": 4, "messages": [{ "role": "user", "content": "hello" }],
    });
    machine.run_inside(async move {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build()?;
        let request = || ask_once(&client, &body);
        let answers: Vec<Outcome<ClientAnswer>> =
            futures::stream::iter((0..count).map(|_| request())).buffered(4).collect().await;
        answers.into_iter().collect()
    })
}

async fn ask_once(client: &reqwest::Client, body: &Value) -> Outcome<ClientAnswer> {
    let post = client.post(format!("{URL}/v1/chat/completions")).bearer_auth(KEY).json(body);
    let answer = post.send().await?;
    let base = answer.headers().get("x-litellm-model-api-base").and_then(|base| base.to_str().ok());
    let (status, base) = (answer.status().as_u16(), base.map(str::to_owned));
    answer.bytes().await?;
    Ok((status, base))
}
