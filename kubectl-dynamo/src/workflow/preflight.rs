//! The preflight checks of `up` and of the other commands that change a deployment. A new deployment gets all checks.
//! An existing one gets only the checks of permissions and operator and, if pods will start, the capacity checks for
//! those pods.

use std::collections::BTreeMap;

use crate::render::deployment::plan_lines;
use crate::report::Report;
use crate::typed_command::typed;
use crate::workflow::local::environment;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::{confirm_change, image_lookup, lookup, model_config, summary};
use kubectl_dynamo_cluster::{Change, Cluster, FactsRequest, Platform};
use kubectl_dynamo_core::change::GraphChange;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::ServingIntent;
use kubectl_dynamo_core::preflight::{
    CheckProblem, CheckResult, ClusterFacts, Fact, Finding, FindingCounts, ModelLookup, PreflightInput,
    component_requests, run_checks,
};
use kubectl_dynamo_core::registry::ImageLookup;

/// The facts and findings about a deployment so far.
pub(crate) struct Preflight<'a> {
    cluster: &'a Cluster,
    platform: &'a Platform,
    deployment: &'a ResolvedDeployment,
    /// Codes of `--ignore-preflight`: their failures become warnings.
    ignored_codes: &'a [String],
    report: &'a Report,
    facts: ClusterFacts,
    findings: Vec<Finding>,
}

impl<'a> Preflight<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        platform: &'a Platform,
        deployment: &'a ResolvedDeployment,
        ignored_codes: &'a [String],
        report: &'a Report,
    ) -> Self {
        let facts = ClusterFacts { platform: Fact::Known(Some(*platform)), ..ClusterFacts::default() };
        Self { cluster, platform, deployment, ignored_codes, report, facts, findings: Vec::new() }
    }

    /// Collects facts from the cluster and, for a new deployment, from the hub.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached or the model's configuration rules out the plan.
    pub(crate) async fn collect(&mut self) -> Result<()> {
        let operators = self.deployment.operators == Fact::NotQueried;
        let request = if self.deployment.exists {
            FactsRequest { permissions: true, operators, ..FactsRequest::default() }
        } else {
            let capacity = self.capacity_request(None);
            let storage = self.deployment.pvc.as_ref().is_none_or(|pvc| !pvc.bound);
            FactsRequest { permissions: true, operators, webhooks: true, storage, ..capacity }
        };
        let (collected, model, images, model_fetched_by) = tokio::join!(
            self.cluster.collect_facts(&request),
            self.model_lookup(),
            self.image_lookups(),
            self.complete_fetch_job()
        );
        let local_hub_endpoint = environment::local_hub_endpoint().filter(|_| !self.deployment.exists);
        let platform = Fact::Known(Some(*self.platform));
        self.facts =
            ClusterFacts { platform, model, images, model_fetched_by, local_hub_endpoint, ..collected? };
        if !operators {
            self.facts.operators = self.deployment.operators.clone();
        }
        let config = self.facts.model().and_then(|model| model.config.as_ref());
        match &self.deployment.plan {
            Some(plan) => model_config::check_config(config, &plan.intent),
            None => Ok(()),
        }
    }

    /// Looks up the model of a new deployment on the hub.
    async fn model_lookup(&self) -> Fact<ModelLookup> {
        match &self.deployment.plan {
            Some(_) if !self.deployment.exists && self.deployment.model != Fact::NotQueried => {
                self.deployment.model.clone()
            }
            Some(plan) if !self.deployment.exists => model_config::from_hub(&plan.intent, self.report).await,
            _ => Fact::NotQueried,
        }
    }

    /// Looks up the images of a new deployment in their registries.
    async fn image_lookups(&self) -> BTreeMap<String, ImageLookup> {
        match &self.deployment.plan {
            Some(plan) if !self.deployment.exists => {
                Box::pin(image_lookup::look_up_images(self.cluster, plan)).await
            }
            _ => BTreeMap::new(),
        }
    }

    /// Returns the complete Job that fetched the model of a new deployment to its existing PVC.
    async fn complete_fetch_job(&self) -> Option<String> {
        let cache = self.deployment.plan.as_ref()?.cache.as_ref()?;
        if self.deployment.exists || self.deployment.pvc.is_none() {
            return None;
        }
        lookup::complete_fetch_job(self.cluster, &cache.fetch, cache.cache.pvc()).await
    }

    /// Returns which facts are needed to check the capacity for starting pods.
    fn capacity_request(&self, starts: Option<&[(String, u64)]>) -> FactsRequest {
        let gpus = component_requests(&PreflightInput { starting_pods: starts, ..self.subject() })
            .iter()
            .any(|one| one.total_gpus() > 0);
        FactsRequest { nodes: gpus, pods: gpus, limits: true, ..FactsRequest::default() }
    }

    fn subject(&self) -> PreflightInput<'a> {
        PreflightInput {
            plan: self.deployment.plan.as_ref(),
            resources: &self.deployment.resources,
            pvc: self.deployment.pvc.as_ref(),
            starting_pods: self.deployment.exists.then_some(&[]),
            command: Some(self.cluster.verb),
        }
    }

    /// Returns the lines of the plan screen.
    pub(crate) fn plan_lines(&self) -> Vec<String> {
        let Cluster { namespace, context, .. } = self.cluster;
        plan_lines(self.deployment, namespace, context.as_deref(), &self.facts)
    }

    /// Runs the checks on the collected facts and reports warnings.
    ///
    /// # Errors
    /// Returns the first failed check; the other failures are reported before.
    pub(crate) fn evaluate(&mut self) -> Result<()> {
        let findings = run_checks(&self.facts, &self.subject());
        self.record(findings)
    }

    /// Runs the checks for the pods that a change of a deployment starts.
    ///
    /// # Errors
    /// As for [`Self::evaluate`], or an error if the server cannot be reached.
    pub(crate) async fn evaluate_change(&mut self, changes: &[Change]) -> Result<()> {
        let starts = confirm_change::added_pods(changes, self.platform);
        if !self.deployment.exists || starts.is_empty() {
            return Ok(());
        }
        let request = self.capacity_request(Some(&starts));
        let (collected, model, images) = tokio::join!(
            self.cluster.collect_facts(&request),
            self.changed_model_lookup(changes),
            self.changed_image_lookups(changes)
        );
        let facts = ClusterFacts { model, images, ..collected? };
        let config = facts.model().and_then(|model| model.config.as_ref());
        if let Some(plan) = &self.deployment.plan {
            model_config::check_config(config, &plan.intent)?;
        }
        let subject = PreflightInput { starting_pods: Some(&starts), ..self.subject() };
        // Checks that do not depend on the starting pods have already run.
        let findings =
            run_checks(&facts, &subject).into_iter().filter(|finding| !self.has_finding(finding)).collect();
        self.record(findings)
    }

    /// Runs the checks for a restart, which starts the new pods of one component after another.
    ///
    /// # Errors
    /// As for [`Self::evaluate`], or an error if the server cannot be reached.
    pub(crate) async fn evaluate_restart(&mut self, effect: &GraphChange) -> Result<()> {
        let starts = confirm_change::starting_pods(effect);
        let facts = self.cluster.collect_facts(&self.capacity_request(Some(&starts))).await?;
        let mut worst: Vec<Finding> = Vec::new();
        for component in &starts {
            let starting_pods = Some(std::slice::from_ref(component));
            for finding in run_checks(&facts, &PreflightInput { starting_pods, ..self.subject() }) {
                match worst.iter_mut().find(|other| other.name == finding.name) {
                    Some(other) if finding.outcome.severity() > other.outcome.severity() => *other = finding,
                    Some(_) => {}
                    None if self.has_finding(&finding) => {}
                    None => worst.push(finding),
                }
            }
        }
        self.record(worst)
    }

    /// Looks up the model of a change on the hub, if the model, the topology, or the engine flags change. A
    /// failed lookup counts only for another model.
    async fn changed_model_lookup(&self, changes: &[Change]) -> Fact<ModelLookup> {
        let live = changes.iter().filter_map(|change| change.live.as_ref()).find_map(summary::stored_intent);
        let (Some(plan), Some(live)) = (&self.deployment.plan, live) else { return Fact::NotQueried };
        let desired = &plan.intent;
        let model_changed = live.model != desired.model;
        let workers_changed = live.topology != desired.topology || live.engine_args != desired.engine_args;
        if !model_changed && !workers_changed {
            return Fact::NotQueried;
        }
        match model_config::from_hub(desired, self.report).await {
            described @ Fact::Known(ModelLookup::Found(_)) => described,
            lookup if model_changed => lookup,
            _ => Fact::NotQueried,
        }
    }

    /// Looks up the images of a change in their registries, if the change is about an image.
    async fn changed_image_lookups(&self, changes: &[Change]) -> BTreeMap<String, ImageLookup> {
        let live = changes.iter().filter_map(|change| change.live.as_ref()).find_map(summary::stored_intent);
        let images_of = |intent: &ServingIntent| {
            let placement = &intent.placement;
            (placement.image.clone(), placement.fetcher_image.clone())
        };
        match (&self.deployment.plan, live) {
            (Some(plan), Some(live)) if images_of(&plan.intent) != images_of(&live) => {
                Box::pin(image_lookup::look_up_images(self.cluster, plan)).await
            }
            _ => BTreeMap::new(),
        }
    }

    fn has_finding(&self, finding: &Finding) -> bool {
        self.findings.iter().any(|known| known.name == finding.name)
    }

    fn record(&mut self, findings: Vec<Finding>) -> Result<()> {
        let mut first_failure: Option<CheckProblem> = None;
        for finding in findings {
            let Some(problem) = finding.outcome.problem() else {
                self.findings.push(finding);
                continue;
            };
            let CheckProblem { code, text, hint, .. } = problem;
            let is_blocking = matches!(finding.outcome, CheckResult::Failed(_)) && !self.is_ignored(*code);
            match (is_blocking, &first_failure) {
                (true, None) => first_failure = Some(problem.clone()),
                (true, Some(_)) => self.report.info(format!("✗ {code} {text}; {}", typed(hint.clone()))),
                (false, _) => self.report.warn(Some(*code), text, Some(hint.clone())),
            }
            let outcome = if is_blocking { finding.outcome } else { CheckResult::Warning(problem.clone()) };
            self.findings.push(Finding { outcome, ..finding });
        }
        first_failure.map_or(Ok(()), |problem| Err(problem.into()))
    }

    fn is_ignored(&self, code: MessageCode) -> bool {
        self.ignored_codes.iter().any(|one| one == "all" || one.eq_ignore_ascii_case(code.as_str()))
    }

    /// Returns the counts, such as `22 passed, 1 warning`.
    pub(crate) fn tally(&self) -> String {
        FindingCounts::from_findings(&self.findings).to_string()
    }
}
