//! The preflight of `up`: what is asked of the cluster depends on what will start. A new deployment is looked at whole;
//! an unchanged one only for the rights and the operator that waiting needs, and a change also for the room of the pods
//! that it brings.

use crate::cluster::{Change, Cluster, Look, Platform};
use crate::commands::deployment::Deployment;
use crate::commands::up::screen::plan_lines;
use crate::commands::{changes, configuration, summary};
use crate::error::Result;
use crate::preflight::{
    ClusterFacts, Fact, Finding, HubModel, Outcome, Problem, Subject, Tally, check, demand,
};
use crate::report::Report;

/// What was found of a deployment so far.
pub(in crate::commands) struct Preflight<'a> {
    cluster: &'a Cluster,
    platform: &'a Platform,
    deployment: &'a Deployment,
    /// Codes that stop nothing.
    ignored: &'a [String],
    report: &'a Report,
    facts: ClusterFacts,
    findings: Vec<Finding>,
}

impl<'a> Preflight<'a> {
    pub(in crate::commands) fn new(
        cluster: &'a Cluster,
        platform: &'a Platform,
        deployment: &'a Deployment,
        ignored: &'a [String],
        report: &'a Report,
    ) -> Self {
        let facts = ClusterFacts { platform: Fact::Known(Some(*platform)), ..ClusterFacts::default() };
        Self { cluster, platform, deployment, ignored, report, facts, findings: Vec::new() }
    }

    /// Asks the cluster, and for a new deployment the hub.
    ///
    /// # Errors
    /// A server that cannot be reached, and what the model's configuration forbids.
    pub(super) async fn look(&mut self) -> Result<()> {
        let look = if self.deployment.exists {
            Look { rights: true, operators: true, ..Look::default() }
        } else {
            let room = self.room(None);
            let storage = self.deployment.claim.as_ref().is_none_or(|claim| !claim.bound);
            Look { rights: true, operators: true, webhooks: true, storage, ..room }
        };
        let (gathered, model) = tokio::join!(self.cluster.gather(&look), self.model());
        self.facts = ClusterFacts { platform: Fact::Known(Some(*self.platform)), model, ..gathered? };
        let config = self.facts.model().and_then(|model| model.config.as_ref());
        match &self.deployment.plan {
            Some(plan) => configuration::check(config, &plan.intent),
            None => Ok(()),
        }
    }

    /// What the hub tells of the model of a new deployment.
    async fn model(&self) -> Fact<HubModel> {
        match &self.deployment.plan {
            Some(plan) if !self.deployment.exists => configuration::of_hub(&plan.intent, self.report).await,
            _ => Fact::Unasked,
        }
    }

    /// What tells whether the pods that start find room.
    fn room(&self, starts: Option<&[(String, u64)]>) -> Look {
        let gpus = demand(&Subject { starts, ..self.subject() }).iter().any(|one| one.all_gpus() > 0);
        Look { nodes: gpus, pods: gpus, limits: true, ..Look::default() }
    }

    fn subject(&self) -> Subject<'a> {
        Subject {
            plan: self.deployment.plan.as_ref(),
            resources: &self.deployment.resources,
            claim: self.deployment.claim.as_ref(),
            starts: self.deployment.exists.then_some(&[]),
        }
    }

    /// The plan's screen.
    pub(super) fn plan_lines(&self) -> Vec<String> {
        let Cluster { namespace, context, .. } = self.cluster;
        plan_lines(self.deployment, namespace, context.as_deref(), &self.facts)
    }

    /// Says what stands in the way, by what was asked.
    ///
    /// # Errors
    /// The first problem that somebody has to mend; the others are told before.
    pub(super) fn judge(&mut self) -> Result<()> {
        let found = check(&self.facts, &self.subject());
        self.take(found)
    }

    /// The same of the pods that a change of a deployment brings.
    ///
    /// # Errors
    /// As for [`Self::judge`], and a server that cannot be reached.
    pub(in crate::commands) async fn judge_change(&mut self, changes: &[Change]) -> Result<()> {
        let starts = changes::starts(changes, self.platform);
        if !self.deployment.exists || starts.is_empty() {
            return Ok(());
        }
        let look = self.room(Some(&starts));
        let (gathered, model) = tokio::join!(self.cluster.gather(&look), self.model_of_change(changes));
        let facts = ClusterFacts { model, ..gathered? };
        let config = facts.model().and_then(|model| model.config.as_ref());
        if let Some(plan) = &self.deployment.plan {
            configuration::check(config, &plan.intent)?;
        }
        let subject = Subject { starts: Some(&starts), ..self.subject() };
        // What does not hang on the pods that start was judged before.
        let found = check(&facts, &subject).into_iter().filter(|finding| !self.has(finding)).collect();
        self.take(found)
    }

    /// What the hub tells of the model of a change: of another model all, and of one that is there already only what
    /// another shape has to fit.
    async fn model_of_change(&self, changes: &[Change]) -> Fact<HubModel> {
        let live = changes.iter().filter_map(|change| change.live.as_ref()).find_map(summary::intent);
        let (Some(plan), Some(live)) = (&self.deployment.plan, live) else { return Fact::Unasked };
        let asked = &plan.intent;
        let other_model = live.model != asked.model;
        let other_workers = live.topology != asked.topology || live.engine_args != asked.engine_args;
        if !other_model && !other_workers {
            return Fact::Unasked;
        }
        match configuration::of_hub(asked, self.report).await {
            described @ Fact::Known(HubModel::Known(_)) => described,
            refused if other_model => refused,
            _ => Fact::Unasked,
        }
    }

    fn has(&self, finding: &Finding) -> bool {
        self.findings.iter().any(|known| known.name == finding.name)
    }

    fn take(&mut self, found: Vec<Finding>) -> Result<()> {
        let mut refused: Option<Problem> = None;
        for finding in found {
            let Some(problem) = finding.outcome.problem() else {
                self.findings.push(finding);
                continue;
            };
            let Problem { code, text, hint, .. } = problem;
            let stops = matches!(finding.outcome, Outcome::Failed(_)) && !self.ignores(code);
            match (stops, &refused) {
                (true, None) => refused = Some(problem.clone()),
                (true, Some(_)) => self.report.detail(format!("✗ {code} {text}; {hint}")),
                (false, _) => self.report.warn(Some(code), text, Some(hint.clone())),
            }
            let outcome = if stops { finding.outcome } else { Outcome::Warning(problem.clone()) };
            self.findings.push(Finding { outcome, ..finding });
        }
        refused.map_or(Ok(()), |problem| Err(problem.into()))
    }

    fn ignores(&self, code: &str) -> bool {
        self.ignored.iter().any(|one| one == "all" || one.eq_ignore_ascii_case(code))
    }

    /// `22 passed, 1 warning`.
    pub(super) fn tally(&self) -> String {
        Tally::of(&self.findings).to_string()
    }
}
