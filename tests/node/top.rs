//! `top` reads the metrics of a deployment's pods through the API server.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;
use crate::plugin::{forwarded_url, up_args, with_pod_details};

const REQUESTS: u32 = 10;

pub(crate) async fn rates_of_every_pod_are_read_through_the_api_server(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("top").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let args = up_args(&shared, &["--name=tiny", "--replicas=2"]);
    with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    let mut forward = plugin.command(&["port-forward", "tiny"]).spawn()?;
    let url = forwarded_url(&mut forward).await?;
    let frontend = url.trim_end_matches("/v1").to_owned();

    // The requests are sent while it reads the metrics again and again.
    let mut top = plugin.command(&["top", "tiny", "--interval=500ms", "-w", "-o=json"]).spawn()?;
    let mut lines = BufReader::new(top.stdout.take().ok_or("stdout is piped")?).lines();
    lines.next_line().await?;
    let mut load = std::pin::pin!(async {
        for _ in 0..REQUESTS {
            dynamo::chat(&frontend, crate::MODEL, "hello").await?;
        }
        Outcome::Ok(())
    });
    loop {
        tokio::select! {
            result = &mut load => break result?,
            line = lines.next_line() => ensure!(line?.is_some(), "top has exited"),
        }
    }
    // The second line was surely read after the last answer.
    lines.next_line().await?;
    let json = lines.next_line().await?.ok_or("top has exited")?;
    top.kill().await?;
    let document: Value = serde_json::from_str(&json)?;
    let deployment = &document["items"][0];
    let seconds = deployment["seconds"].as_f64().ok_or("the report has its period")?;
    let count = |rate: &Value| rate.as_f64().unwrap_or(f64::NAN) * seconds;
    let (answers, tokens) =
        (count(&deployment["requestsPerSecond"]["success"]), count(&deployment["outputTokensPerSecond"]));
    ensure!((answers - f64::from(REQUESTS)).abs() < 1.0, "{answers} answers: {document}");
    ensure!((tokens - f64::from(REQUESTS * 8)).abs() < 8.0, "{tokens} tokens: {document}");
    let workers = deployment["workers"].as_array().ok_or("the workers are listed")?;
    let received: f64 = workers.iter().map(|worker| count(&worker["requestsPerSecond"])).sum();
    ensure!(workers.len() == 2 && (received - f64::from(REQUESTS)).abs() < 1.0, "{document}");
    ensure!(workers.iter().all(|worker| worker["node"].is_string()), "{document}");

    // `status` shows the same frontend since its start, with the completions of `up`.
    let status = plugin.run(&["status", "tiny", "-o=json"]).await?.expect(0)?;
    let status: Value = serde_json::from_str(&status.out)?;
    let requests = &status["requests"];
    let is_counted = requests["finished"].as_u64().is_some_and(|finished| finished > u64::from(REQUESTS));
    ensure!(is_counted && requests["failed"] == 0 && requests["inFlight"] == 0, "{status}");
    let all = plugin.run(&["top", "--once", "--interval=200ms"]).await?.expect(0)?;
    ensure!(all.out.contains("namespace top") && all.out.contains("2/2 workers answer"), "{}", all.out);
    forward.kill().await?;
    namespace.delete().await
}
