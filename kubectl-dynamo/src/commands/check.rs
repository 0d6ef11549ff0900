//! `check`: what `up` looks at before it begins, as a verb of its own: of the cluster alone, or for a plan.

mod junit;
mod screen;

use clap::Args;

use super::asked::{Wanted, wanted};
use super::deployment::{self, Deployment};
use super::serving_flags::ServingFlags;
use super::{Context, changes, configuration, print_data, words};
use crate::cluster::{Cluster, ClusterError, Look, Platform};
use crate::error::{Error, Exit, Result};
use crate::intent::Word;
use crate::preflight::{
    Category, ClusterFacts, Fact, Finding, HubModel, Outcome, Problem, Subject, Tally, check, demand,
};
use crate::report::{Report, Stage};

/// Check the cluster, and whether a model or a change of a deployment would run on it
///
/// Exits 0 when all is fine, 3 when something is still to come by itself, 1 when somebody has to act first.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Output format
    #[arg(short, long, value_parser = words::<CheckFormat>(), default_value = "table")]
    pub output: CheckFormat,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo check                                     the cluster alone
  kubectl dynamo check Qwen/Qwen3-32B --tp 4 --replicas 2  whether this could run
  kubectl dynamo check qwen32 --decode-replicas 3          whether this change could
  kubectl dynamo check -o junit > check.xml";

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckFormat {
    Table,
    Json,
    Junit,
}

impl Word for CheckFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Json, Self::Junit];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Junit => "junit",
        }
    }
}

/// Everything that is printed.
struct Checked {
    namespace: String,
    server: String,
    /// The deployment it was checked for.
    name: Option<String>,
    findings: Vec<Finding>,
}

impl Checked {
    fn exit(&self) -> Exit {
        match Tally::of(&self.findings) {
            Tally { failed: 1.., .. } => Exit::Failed,
            Tally { waits: 1.., .. } => Exit::NotReadyInTime,
            Tally { .. } => Exit::Ok,
        }
    }
}

pub(super) async fn run(args: CheckArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let wanted = wanted(&args.serving)?;
    let for_plan = match &wanted {
        Wanted::Request(asked) => {
            let own = asked.layers.iter().filter(|layer| layer.source.is_of_this_deployment());
            own.into_iter().any(|layer| !layer.leaves.is_empty())
        }
        Wanted::Objects(_) => true,
    };
    if let Wanted::Request(asked) = &wanted
        && for_plan
    {
        asked.check()?;
    }
    let cluster = context.cluster().await?;
    context.report.waiting(Stage::Preflight, format!("{} to answer", cluster.server));
    let checked = look(&cluster, Some(&wanted).filter(|_| for_plan), &context.report).await?;
    // Every check that is skipped says which right is missing.
    context.refusals.clear();
    // Takes the waiting line off a terminal.
    context.report.closing(Vec::new());
    print_data(&match args.output {
        CheckFormat::Table => screen::screen(&checked),
        CheckFormat::Json => format!("{:#}\n", screen::document(&checked)),
        CheckFormat::Junit => junit::document(&checked)?,
    })?;
    Ok(checked.exit())
}

async fn look(cluster: &Cluster, wanted: Option<&Wanted>, report: &Report) -> Result<Checked> {
    let platform = match cluster.platform().await {
        Ok(platform) => Some(platform),
        Err(ClusterError::NoPlatform { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let planned = match (wanted, &platform) {
        (Some(wanted), Some(platform)) => Some(planned(cluster, wanted, platform).await?),
        _ => None,
    };
    let (deployment, in_the_way) = match planned {
        Some(Planned::Deployment(deployment)) => (Some(*deployment), None),
        Some(Planned::Impossible(finding)) => (None, Some(finding)),
        None => (None, None),
    };
    let starts = match (&deployment, &platform) {
        (Some(deployment), Some(platform)) if deployment.exists => {
            Some(starts(cluster, deployment, platform).await)
        }
        _ => None,
    };
    let subject = Subject {
        plan: deployment.as_ref().and_then(|one| one.plan.as_ref()),
        resources: deployment.as_ref().map_or(&[], |one| &one.resources),
        claim: deployment.as_ref().and_then(|one| one.claim.as_ref()),
        starts: starts.as_deref(),
    };
    let look = everything(&subject);
    let (gathered, model) = tokio::join!(cluster.gather(&look), model(&subject, report));
    let facts = ClusterFacts { platform: Fact::Known(platform), model, ..gathered? };
    let mut findings = check(&facts, &subject);
    findings.extend(in_the_way);
    Ok(Checked {
        namespace: cluster.namespace.clone(),
        server: cluster.server.clone(),
        name: deployment.map(|one| one.name),
        findings,
    })
}

/// What the hub tells of the model that is meant.
async fn model(subject: &Subject<'_>, report: &Report) -> Fact<HubModel> {
    match subject.plan {
        Some(plan) => configuration::of_hub(&plan.intent, report).await,
        None => Fact::Unasked,
    }
}

/// A deployment that is meant, or why there cannot be one.
enum Planned {
    Deployment(Box<Deployment>),
    Impossible(Finding),
}

/// What is wrong with the words is an error; what is wrong with the cluster is a finding.
async fn planned(cluster: &Cluster, wanted: &Wanted, platform: &Platform) -> Result<Planned> {
    let planned = match wanted {
        Wanted::Request(asked) => deployment::on_cluster(asked, cluster, platform, false).await,
        Wanted::Objects(objects) => deployment::as_is(objects, cluster, platform).await,
    };
    match planned {
        Ok(deployment) => Ok(Planned::Deployment(Box::new(deployment))),
        Err(error) if error.exit() == Exit::Usage => Err(error),
        Err(error) => Ok(Planned::Impossible(in_the_way(error)?)),
    }
}

fn in_the_way(error: Error) -> Result<Finding> {
    let Some(code) = error.code() else { return Err(error) };
    let (category, name) = match code {
        "KD0103" | "KD0104" => return Err(error),
        "KD0411" => (Category::Storage, "claim"),
        "KD0412" => (Category::Cache, "token-secret"),
        _ if error.exit() == Exit::Access => (Category::Access, "plan"),
        _ => (Category::Platform, "plan"),
    };
    let hint = error.hint().unwrap_or_default();
    let outcome = Outcome::Failed(Problem { code, text: error.to_string(), hint, exit: error.exit() });
    Ok(Finding { category, name, outcome })
}

/// Pods that a change brings; none where a dry run of it is refused, which `up` and `diff` tell better.
async fn starts(cluster: &Cluster, deployment: &Deployment, platform: &Platform) -> Vec<(String, u64)> {
    let changes = cluster.compare(&deployment.resources, false).await;
    changes.map(|changes| changes::starts(&changes, platform)).unwrap_or_default()
}

fn everything(subject: &Subject<'_>) -> Look {
    let gpus = subject.resources.is_empty() || demand(subject).iter().any(|one| one.all_gpus() > 0);
    let secret = subject.plan.and_then(|plan| plan.intent.token_secret.as_ref());
    Look {
        kubernetes: true,
        namespace: true,
        rights: true,
        operators: true,
        webhooks: true,
        nodes: gpus,
        pods: gpus || subject.claim.is_some(),
        limits: true,
        storage: true,
        token_secret: secret.map(|secret| secret.name.clone()),
    }
}
