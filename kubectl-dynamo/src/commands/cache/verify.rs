//! `cache verify`: every file of a model hashed again by a Job on its claim.

use std::time::Duration;

use clap::Args;
use model_fetcher::contract::exit;

use super::error::CacheError;
use super::known::Sight;
use super::target::{ModelArgs, find_model};
use crate::commands::model_volumes::{self, JobOfModel};
use crate::commands::{Context, kube_flags, print_data};
use crate::error::{Exit, Result};
use crate::readiness::{Fetched, LastWords};

/// Hash every file of a model on its claim again; exits 7 where one is not what was fetched
#[derive(Args)]
pub(in crate::commands) struct VerifyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = kube_flags::duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: VerifyArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let cluster = context.cluster().await?;
    let target = find_model(args.model, &cluster, Sight::AsAllowed).await?;
    let (model, claim) = (target.model(), target.claim().to_owned());
    let work = model_volumes::run(&cluster, &target.intent, JobOfModel::Verify, &context.report);
    let said = match tokio::time::timeout(args.timeout, work).await {
        Ok(said) => said?,
        Err(_) => {
            context.report.closing(vec!["it goes on; the same command follows it again".into()]);
            return Ok(Exit::NotReadyInTime);
        }
    };
    let wanting = |said: &&LastWords| said.exit_code == u64::from(exit::NOT_COMPLETE);
    if let Some(said) = said.as_ref().filter(wanting) {
        let (namespace, said) = (cluster.namespace.clone(), said.message.clone());
        return Err(CacheError::NotAsFetched { model, claim, namespace, said }.into());
    }
    let complete = said.as_ref().and_then(|said| Fetched::read(&said.message));
    model_volumes::refuse_failure(said, &target.intent)?;
    let what = complete.map(|one| format!(": commit {}, {} files, {}", one.commit, one.files, one.size));
    print_data(&format!("{model} on pvc/{claim} is what was fetched{}\n", what.unwrap_or_default()))?;
    Ok(Exit::Ok)
}
