//! What stands in the way before anything is applied: facts of a cluster, and the checks that compare them with what
//! is to run there. A check is a pure function and one line of [`CHECKS`]; it asks nobody, and what could not be
//! looked at it skips and says why.

mod access;
mod cache;
mod capacity;
mod demand;
mod facts;
mod limits;
mod memory;
mod placement;
mod platform;
mod storage;

use crate::error::{Exit, Explain};
use crate::plan::ServingPlan;
use crate::resources::Resource;
pub use capacity::gpu_line;
pub use demand::{ComponentDemand, demand};
pub use facts::{
    Authorizer, ClaimFacts, ClusterFacts, Fact, HubModel, LimitRange, ModelFacts, Node, Operator, Platform,
    PodUse, Quota, Refusal, Rule, StorageClass, Taint, Volume, Webhook,
};
pub use memory::{Memory, memory_of};

/// What a check is about, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Access,
    Cluster,
    Platform,
    Gpu,
    Storage,
    Cache,
    Network,
}

impl Category {
    /// All of them, in the order they are shown.
    pub const ALL: &'static [Self] =
        &[Self::Access, Self::Cluster, Self::Platform, Self::Gpu, Self::Storage, Self::Cache, Self::Network];

    /// Its name on screens and in files.
    pub fn title(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Cluster => "cluster",
            Self::Platform => "platform",
            Self::Gpu => "gpu",
            Self::Storage => "storage",
            Self::Cache => "cache",
            Self::Network => "network",
        }
    }
}

/// Something that a person should know or change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    pub code: &'static str,
    pub text: String,
    pub hint: String,
    /// With what `up` ends where this keeps it from beginning.
    pub exit: Exit,
}

impl Explain for Problem {
    fn code(&self) -> Option<&'static str> {
        Some(self.code)
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }

    fn exit(&self) -> Exit {
        self.exit
    }

    fn is_preflight(&self) -> bool {
        true
    }
}

impl Problem {
    fn new(code: &'static str, exit: Exit, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, text: text.into(), hint: hint.into(), exit }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is fine; the text says what was found.
    Passed(String),
    /// It was not looked at, and why.
    Skipped(String),
    /// It works, and not as well as it could.
    Warning(Problem),
    /// It does not work yet, and may come to by itself: `up` begins and waits for it.
    Waits(Problem),
    /// Somebody has to change something first.
    Failed(Problem),
}

impl Outcome {
    /// What is to be known or changed, if anything is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Warning(problem) | Self::Waits(problem) | Self::Failed(problem) => Some(problem),
            Self::Passed(_) | Self::Skipped(_) => None,
        }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub category: Category,
    /// The check's permanent name.
    pub name: &'static str,
    pub outcome: Outcome,
}

/// What is to run on the cluster. Without any of it the cluster alone is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// Absent for objects that a file brings.
    pub plan: Option<&'a ServingPlan>,
    /// What will be applied; empty where nothing is to be.
    pub resources: &'a [Resource],
    /// The claim for models that is there already.
    pub claim: Option<&'a ClaimFacts>,
    /// Pods that will start, where it is not all of them: a component's name, and how many.
    pub starts: Option<&'a [(String, u64)]>,
}

/// One check.
#[derive(Debug)]
pub struct Check {
    pub category: Category,
    /// Permanent: scripts and reports go by it.
    pub name: &'static str,
    /// Nothing where there is nothing to check.
    run: fn(&ClusterFacts, &Subject<'_>) -> Option<Outcome>,
}

/// All checks, in the order they are shown.
pub const CHECKS: &[Check] = &[
    Check { category: Category::Access, name: "rights", run: access::rights },
    Check { category: Category::Access, name: "rights-to-watch", run: access::rights_to_watch },
    Check { category: Category::Cluster, name: "kubernetes", run: platform::kubernetes },
    Check { category: Category::Cluster, name: "namespace", run: limits::namespace },
    Check { category: Category::Cluster, name: "quota", run: limits::quota },
    Check { category: Category::Cluster, name: "limit-range", run: limits::limit_range },
    Check { category: Category::Platform, name: "definitions", run: platform::definitions },
    Check { category: Category::Platform, name: "operator", run: platform::operator },
    Check { category: Category::Platform, name: "operator-version", run: platform::operator_version },
    Check { category: Category::Platform, name: "webhook", run: platform::webhook },
    Check { category: Category::Platform, name: "orchestrator", run: platform::orchestrator },
    Check { category: Category::Platform, name: "kai-scheduler", run: platform::kai_scheduler },
    Check { category: Category::Platform, name: "image-tag", run: platform::image_tag },
    Check { category: Category::Platform, name: "pod-monitor", run: platform::pod_monitor },
    Check { category: Category::Gpu, name: "gpus", run: capacity::gpus },
    Check { category: Category::Gpu, name: "gpu-placement", run: capacity::gpu_placement },
    Check { category: Category::Gpu, name: "gpu-memory", run: memory::gpu_memory },
    Check { category: Category::Storage, name: "storage-class", run: storage::storage_class },
    Check { category: Category::Storage, name: "claim", run: storage::claim },
    Check { category: Category::Storage, name: "access-mode", run: storage::access_mode },
    Check { category: Category::Cache, name: "token-secret", run: cache::token_secret },
    Check { category: Category::Cache, name: "hub", run: cache::hub },
    Check { category: Category::Cache, name: "claim-size", run: cache::claim_size },
    Check { category: Category::Network, name: "rdma", run: capacity::rdma },
];

/// Runs every check that these facts allow.
pub fn check(facts: &ClusterFacts, subject: &Subject<'_>) -> Vec<Finding> {
    let one = |check: &Check| {
        let outcome = (check.run)(facts, subject)?;
        Some(Finding { category: check.category, name: check.name, outcome })
    };
    CHECKS.iter().filter_map(one).collect()
}

/// How many of the findings are of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub skipped: usize,
    /// Those that wait are among them.
    pub warnings: usize,
    pub waits: usize,
    pub failed: usize,
}

impl Tally {
    /// Counts.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut tally = Self::default();
        for finding in findings {
            match finding.outcome {
                Outcome::Passed(_) => tally.passed += 1,
                Outcome::Skipped(_) => tally.skipped += 1,
                Outcome::Warning(_) => tally.warnings += 1,
                Outcome::Waits(_) => {
                    tally.warnings += 1;
                    tally.waits += 1;
                }
                Outcome::Failed(_) => tally.failed += 1,
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    /// `22 passed, 1 warning`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed", self.passed)?;
        match self.warnings {
            0 => {}
            1 => f.write_str(", 1 warning")?,
            several => write!(f, ", {several} warnings")?,
        }
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_is_nothing_found() {
        assert_eq!(check(&ClusterFacts::default(), &Subject::default()), []);
    }

    #[test]
    fn names_of_checks_are_told_apart() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn findings_are_counted_by_kind() {
        let problem = || Problem::new("KD0303", Exit::DoesNotFit, "few", "wait");
        let finding = |outcome| Finding { category: Category::Gpu, name: "gpus", outcome };
        let found = [
            finding(Outcome::Passed("fine".into())),
            finding(Outcome::Skipped("no right".into())),
            finding(Outcome::Warning(problem())),
            finding(Outcome::Waits(problem())),
            finding(Outcome::Failed(problem())),
        ];
        let tally = Tally::of(&found);
        assert_eq!(tally.to_string(), "1 passed, 2 warnings, 1 failed, 1 skipped");
        assert_eq!(tally.waits, 1);
        assert_eq!(Tally::of(&found[..1]).to_string(), "1 passed");
    }
}
