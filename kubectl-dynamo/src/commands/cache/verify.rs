//! `cache verify`: runs a Job on the model's PVC that hashes every file again and compares the hashes with
//! the receipt. It must not change the files.

use std::time::Duration;

use clap::Args;
use model_fetcher_contract::exit;

use super::error::CacheError;
use super::inventory::PermissionPolicy;
use super::selection::{CacheModelArgs, find_model};
use crate::context::Context;
use crate::kube_flags;
use crate::output::print_data;
use crate::workflow::cache_jobs::{self, ModelJobAction};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::readiness::{FetchSummary, FetchTermination};

/// Verify the hash of every file of a model on its PVC; exits 7 on a mismatch
#[derive(Args)]
pub(in crate::commands) struct CacheVerifyArgs {
    #[command(flatten)]
    pub model: CacheModelArgs,
    /// Maximum time to wait
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: CacheVerifyArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let cluster = context.cluster().await?;
    let target = find_model(args.model, &cluster, PermissionPolicy::BestEffort).await?;
    let (model, pvc) = (target.model(), target.pvc().to_owned());
    let verification =
        cache_jobs::run_cache_job(&cluster, &target.intent, ModelJobAction::Verify, &context.report);
    let termination = match tokio::time::timeout(args.timeout, verification).await {
        Ok(termination) => termination?,
        Err(_) => {
            context
                .report
                .summary(vec!["the verification continues; rerun the same command to follow it".into()]);
            return Ok(Exit::NotReadyInTime);
        }
    };
    let is_incomplete =
        |termination: &&FetchTermination| termination.exit_code == u64::from(exit::NOT_COMPLETE);
    if let Some(termination) = termination.as_ref().filter(is_incomplete) {
        let (namespace, termination) = (cluster.namespace.clone(), termination.message.clone());
        return Err(CacheError::VerificationFailed { model, pvc, namespace, message: termination }.into());
    }
    let fetch_summary =
        termination.as_ref().and_then(|termination| FetchSummary::parse(&termination.message));
    cache_jobs::check_fetcher_result(termination, &target.intent)?;
    let details =
        fetch_summary.map(|one| format!(": commit {}, {} files, {}", one.commit, one.files, one.size));
    print_data(&format!("{model} on pvc/{pvc} is verified{}\n", details.unwrap_or_default()))?;
    Ok(Exit::Ok)
}
