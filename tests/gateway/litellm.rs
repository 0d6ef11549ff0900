//! LiteLLM's proxy: its installation into a private environment in the cache, and a running proxy of one case.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kubectl_dynamo_tests::{Outcome, ensure, processes};
use serde_json::Value;

use crate::Shared;
use kubectl_dynamo_tests::test_machine::TestMachine;

/// The tested version. `gateway` verbs do not depend on it.
const REQUIREMENT: &str = "litellm[proxy]==1.108.7";

/// The marker file, which is written last.
const MARKER: &str = "kubectl-dynamo-tests.installed";

/// The name of the variable with the key, and the key.
pub(crate) const KEY_VARIABLE: &str = "LITELLM_MASTER_KEY";
pub(crate) const KEY: &str = "sk-tests-0123456789";

/// The port of the proxy. Each case has its own network.
const PORT: u16 = 4000;
pub(crate) const URL: &str = "http://127.0.0.1:4000";

/// A start takes 13 s of CPU time, and minutes on a machine that compiles.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// Installs LiteLLM below the cache folder, unless it is installed, and returns its program.
pub(crate) fn install(cache: &Path) -> Outcome<PathBuf> {
    let folder = cache.join("litellm-environment");
    let program = folder.join("bin/litellm");
    let marker = folder.join(MARKER);
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == REQUIREMENT) {
        return Ok(program);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    run(Command::new(folder.join("bin/python3")).args(pip).arg(REQUIREMENT))?;
    std::fs::write(&marker, REQUIREMENT)?;
    Ok(program)
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

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
