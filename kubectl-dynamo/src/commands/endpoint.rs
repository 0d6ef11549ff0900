//! `endpoint`: where a deployment answers, and under which model names.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::frontend::Found;
use super::summary::{intent, summary};
use super::{Context, frontend, print_data, words};
use crate::cluster::{Cluster, NO_RIGHT};
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::smoke_test;

/// How long the frontend may take to name its models.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show where a deployment answers, and its model names
#[derive(Args)]
pub(super) struct EndpointArgs {
    /// Name of the deployment
    pub name: String,
    /// Output format; `env` is for `eval`
    #[arg(short, long, value_parser = words::<EndpointFormat>(), default_value = "text")]
    pub output: EndpointFormat,
}

/// How an endpoint is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointFormat {
    Text,
    Url,
    Env,
    Json,
}

impl Word for EndpointFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Url, Self::Env, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Url => "url",
            Self::Env => "env",
            Self::Json => "json",
        }
    }
}

pub(super) async fn run(args: EndpointArgs, context: &Context) -> Result<Exit> {
    let found = frontend::find(&args.name, context).await?;
    let summary = summary(&found.graph);
    let url = summary.in_cluster_url();
    let models = match args.output {
        EndpointFormat::Url => Vec::new(),
        _ => served(&found).await?,
    };
    print_data(&match args.output {
        EndpointFormat::Url => format!("{url}\n"),
        EndpointFormat::Text => format!(
            "in-cluster  {url}\nmodels      {}\nfrom here   kubectl dynamo port-forward {} -n {}\n",
            models.join(", "),
            args.name,
            found.cluster.namespace
        ),
        EndpointFormat::Env => format!(
            "export OPENAI_BASE_URL={}\nexport OPENAI_MODEL={}\n",
            quoted(&url),
            quoted(models.first().map(String::as_str).unwrap_or_default())
        ),
        EndpointFormat::Json => {
            let document = json!({
                "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Endpoint", "name": args.name,
                "namespace": found.cluster.namespace, "url": url,
                "models": models,
            });
            format!("{document:#}\n")
        }
    })?;
    Ok(Exit::Ok)
}

/// The models that a deployment lists; without a right to ask it, the name it was asked to serve under.
async fn served(found: &Found) -> Result<Vec<String>> {
    match models(&found.cluster, summary(&found.graph).name.as_str()).await {
        Err(error) if error.code() == Some(NO_RIGHT) => {
            Ok(intent(&found.graph).map(|intent| intent.served_model_name).into_iter().collect())
        }
        listed => listed,
    }
}

/// The models that a deployment lists, asked through a tunnel.
pub(super) async fn models(cluster: &Cluster, name: &str) -> Result<Vec<String>> {
    let tunnel = cluster.tunnel(frontend::target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    Ok(smoke_test::models(&format!("http://{}/v1", tunnel.local), PATIENCE).await?)
}

/// A word that a shell takes as it is: the output is for `eval`, and a model may be served under any name.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_end_its_quotation() {
        assert_eq!(quoted("Qwen/Qwen3-0.6B"), "'Qwen/Qwen3-0.6B'");
        assert_eq!(quoted("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
    }
}
