//! Findings: what a check or probe found, with a code and a hint. Checks and probes return them, and every screen and
//! file shows them in the same way.

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::{Exit, Explain};

/// The category of a check or probe, in display order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Access,
    Cluster,
    Platform,
    Gpu,
    Storage,
    Cache,
    Network,
    Endpoint,
    Routing,
    Parsers,
    Metrics,
    Gateway,
}

impl Category {
    /// All categories in display order.
    pub const ALL: &'static [Self] = &[
        Self::Access,
        Self::Cluster,
        Self::Platform,
        Self::Gpu,
        Self::Storage,
        Self::Cache,
        Self::Network,
        Self::Endpoint,
        Self::Routing,
        Self::Parsers,
        Self::Metrics,
        Self::Gateway,
    ];

    /// Returns the name of the category on screens and in files.
    pub fn title(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Cluster => "cluster",
            Self::Platform => "platform",
            Self::Gpu => "gpu",
            Self::Storage => "storage",
            Self::Cache => "cache",
            Self::Network => "network",
            Self::Endpoint => "endpoint",
            Self::Routing => "routing",
            Self::Parsers => "parsers",
            Self::Metrics => "metrics",
            Self::Gateway => "gateway",
        }
    }
}

/// A warning or failure of a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CheckProblem {
    pub code: MessageCode,
    pub text: String,
    pub hint: Fix,
    /// Exit code of `up` if this problem fails the preflight.
    pub exit: Exit,
}

impl Explain for CheckProblem {
    fn code(&self) -> Option<MessageCode> {
        Some(self.code)
    }

    fn hint(&self) -> Option<Fix> {
        Some(self.hint.clone())
    }

    fn exit(&self) -> Exit {
        self.exit
    }

    fn is_preflight(&self) -> bool {
        true
    }
}

impl CheckProblem {
    pub(crate) fn new(code: MessageCode, text: impl Into<String>, hint: impl Into<Fix>) -> Self {
        Self { code, text: text.into(), hint: hint.into(), exit: code.exit() }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// The check passed. The text describes what was found.
    Passed(String),
    /// The check did not run. The text gives the reason.
    Skipped(String),
    /// The deployment works, but with a limitation.
    Warning(CheckProblem),
    /// The requirement is not met yet but may be met without user action. `up` continues and waits for it.
    Pending(CheckProblem),
    /// The requirement is not met, and the user must change something.
    Failed(CheckProblem),
}

impl CheckResult {
    /// Returns the rank of the result among the results of one check; the highest is the worst.
    pub fn severity(&self) -> u8 {
        match self {
            Self::Skipped(_) => 0,
            Self::Passed(_) => 1,
            Self::Warning(_) => 2,
            Self::Pending(_) => 3,
            Self::Failed(_) => 4,
        }
    }

    /// Returns the problem of a result that is not passed or skipped.
    pub fn problem(&self) -> Option<&CheckProblem> {
        match self {
            Self::Warning(problem) | Self::Pending(problem) | Self::Failed(problem) => Some(problem),
            Self::Passed(_) | Self::Skipped(_) => None,
        }
    }
}

/// A check's name and result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub category: Category,
    /// The permanent name of the check.
    pub name: &'static str,
    pub outcome: CheckResult,
}

/// The number of findings by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FindingCounts {
    pub passed: usize,
    pub skipped: usize,
    /// Includes pending results.
    pub warnings: usize,
    pub pending: usize,
    pub failed: usize,
}

impl FindingCounts {
    /// Counts the findings by result.
    pub fn from_findings<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            match finding.outcome {
                CheckResult::Passed(_) => counts.passed += 1,
                CheckResult::Skipped(_) => counts.skipped += 1,
                CheckResult::Warning(_) => counts.warnings += 1,
                CheckResult::Pending(_) => {
                    counts.warnings += 1;
                    counts.pending += 1;
                }
                CheckResult::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for FindingCounts {
    /// Writes text such as `22 passed, 1 warning`.
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
    fn counts_findings_by_result() {
        let problem = || CheckProblem::new(MessageCode::NotEnoughGpus, "too few GPUs", "wait");
        let finding = |result| Finding { category: Category::Gpu, name: "gpus", outcome: result };
        let found = [
            finding(CheckResult::Passed("ok".into())),
            finding(CheckResult::Skipped("missing permission".into())),
            finding(CheckResult::Warning(problem())),
            finding(CheckResult::Pending(problem())),
            finding(CheckResult::Failed(problem())),
        ];
        let counts = FindingCounts::from_findings(&found);
        assert_eq!(counts.to_string(), "1 passed, 2 warnings, 1 failed, 1 skipped");
        assert_eq!(counts.pending, 1);
        assert_eq!(FindingCounts::from_findings(&found[..1]).to_string(), "1 passed");
    }
}
