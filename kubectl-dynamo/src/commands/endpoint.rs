//! `endpoint`: prints the URL of a deployment and the model names that it serves.
//! It must not keep a port-forward open; `port-forward` does that.

use clap::Args;
use serde_json::json;

use super::output_flag::output_parser;
use crate::commands::local::LocalEndpoint;
use crate::context::Context;
use crate::output::{EndpointFormat, PrintFormat, print_data};
use crate::typed_command::{deployment_command, typed};
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::status::list_models;
use crate::workflow::summary::{stored_intent, summarize};
use kubectl_dynamo_cluster::FORBIDDEN_CODE;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct EndpointArgs {
    /// Name of the deployment
    #[arg(required_unless_present = "local")]
    pub name: Option<String>,
    /// Print the endpoint of a local deployment (default: the only one)
    #[arg(long)]
    pub local: bool,
    /// Output format (`env` is for `eval`)
    #[arg(short, long, value_parser = output_parser::<EndpointFormat>(), default_value = "text")]
    pub output: PrintFormat<EndpointFormat>,
}

/// The endpoint of a deployment, on a cluster or on this machine.
struct Endpoint {
    name: String,
    /// `None` on this machine.
    namespace: Option<String>,
    url: String,
    models: Vec<String>,
}

pub(super) async fn run(args: EndpointArgs, context: &Context) -> Result<Exit> {
    let endpoint = match args.name {
        name if args.local => {
            let LocalEndpoint { name, url, models } = super::local::endpoint(name.as_deref()).await?;
            Endpoint { name, namespace: None, url, models }
        }
        name => cluster_endpoint(&name.unwrap_or_default(), &args.output, context).await?,
    };
    let Endpoint { name, namespace, url, models } = endpoint;
    let document = || {
        json!({
            "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Endpoint", "name": name, "namespace": namespace,
            "url": url, "models": models,
        })
    };
    let own_text = |own| match own {
        EndpointFormat::Url => format!("{url}\n"),
        EndpointFormat::Text => text(&name, namespace.as_deref(), &url, &models),
        EndpointFormat::Env => format!(
            "export OPENAI_BASE_URL={}\nexport OPENAI_MODEL={}\n",
            shell_quote(&url),
            shell_quote(models.first().map(String::as_str).unwrap_or_default())
        ),
    };
    print_data(&args.output.text(document, own_text)?)?;
    Ok(Exit::Ok)
}

async fn cluster_endpoint(
    name: &str,
    output: &PrintFormat<EndpointFormat>,
    context: &Context,
) -> Result<Endpoint> {
    let deployment = lookup::get_deployment(name, context).await?;
    let url = summarize(&deployment.graph).in_cluster_url();
    let models = match output {
        PrintFormat::Own(EndpointFormat::Url) => Vec::new(),
        _ => served_models(&deployment).await?,
    };
    Ok(Endpoint { name: name.into(), namespace: Some(deployment.cluster.namespace), url, models })
}

fn text(name: &str, namespace: Option<&str>, url: &str, models: &[String]) -> String {
    let models = models.join(", ");
    match namespace {
        Some(namespace) => format!(
            "in-cluster  {url}\nmodels      {models}\nfrom here   {}\n",
            typed(deployment_command("port-forward", name, namespace))
        ),
        None => format!("endpoint    {url}\nmodels      {models}\n"),
    }
}

/// Returns the models that a deployment lists, or its configured model name if the permission to connect is
/// missing.
async fn served_models(deployment: &ClusterDeployment) -> Result<Vec<String>> {
    match list_models(&deployment.cluster, summarize(&deployment.graph).name.as_str()).await {
        Err(error) if error.code() == Some(FORBIDDEN_CODE) => {
            Ok(stored_intent(&deployment.graph).map(|intent| intent.served_model_name).into_iter().collect())
        }
        listed => listed,
    }
}

/// Quotes a value for a shell, because the output is for `eval` and a model name may contain any character.
fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_quote_escapes_single_quotes() {
        assert_eq!(shell_quote("Qwen/Qwen3-0.6B"), "'Qwen/Qwen3-0.6B'");
        assert_eq!(shell_quote("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
    }
}
