//! The dependency rules as a table, with the module where each forbidden thing belongs.

/// A restriction on the modules of one crate.
#[derive(Debug)]
pub(crate) struct DependencyRule {
    /// The folder of the crate.
    pub(crate) package: &'static str,
    /// The modules that it applies to, with all modules below them.
    pub(crate) modules: &'static [&'static str],
    /// The modules among them that are exempt.
    pub(crate) exceptions: &'static [&'static str],
    /// Paths that they must not use, and where such a thing belongs.
    pub(crate) forbidden: &'static [(&'static str, &'static str)],
}

const PLUGIN: &str = "kubectl-dynamo";
const PURE: &str = "kubectl-dynamo/core";
const CLUSTER: &str = "kubectl-dynamo/cluster";
const FETCHER: &str = "model-fetcher";
const CONTRACT: &str = "model-fetcher/contract";

/// The core modules of the plugin. Each may use only those before it.
pub(crate) const CORE_MODULES: &[&str] = &[
    "crate::quantity",
    "crate::jsonpath",
    "crate::lenient",
    "crate::object",
    "crate::graph",
    "crate::intent",
    "crate::release",
    "crate::plan",
    "crate::resources",
    "crate::rbac",
    "crate::fit",
    "crate::finding",
    "crate::registry",
    "crate::preflight",
    "crate::prometheus",
    "crate::probe",
    "crate::gateway",
    "crate::top",
    "crate::readiness",
    "crate::diagnosis",
    "crate::change",
    "crate::bench",
    "crate::recommend",
];

/// The pure modules of the fetcher.
const FETCHER_CORE: &[&str] = &["crate::digest", "crate::filter", "crate::plan", "crate::ranges"];

/// Modules of the fetcher's program that read arguments and the environment, which its library must not do.
// `fuzz_tests` is only compiled for tests; it reads how long to run.
const FETCHER_ENTRY_MODULES: &[&str] =
    &["crate::arguments", "crate::certificates", "crate::fuzz_tests", "crate::program"];

const PURE_MODULE_HINT: &str = "core modules are pure: pass the value as an argument";

pub(crate) const RULES: &[DependencyRule] = &[
    DependencyRule {
        package: PURE,
        modules: CORE_MODULES,
        exceptions: &[],
        forbidden: &[
            ("kube", "cluster"),
            ("tokio", "cluster or local"),
            ("futures", "cluster or local"),
            ("reqwest", "chat or local"),
            ("rustix", "local"),
            ("clap", "commands"),
            ("indicatif", "report/terminal.rs"),
            ("anstream", "report or commands"),
            ("which", "local"),
            ("std::fs", "commands or local"),
            ("std::env", "commands"),
            ("std::process", "local"),
            ("std::net", "cluster or local"),
            ("std::thread", "local"),
            ("std::time::Instant", PURE_MODULE_HINT),
            ("std::time::SystemTime", PURE_MODULE_HINT),
            ("jiff::Timestamp::now", PURE_MODULE_HINT),
            ("jiff::Zoned::now", PURE_MODULE_HINT),
        ],
    },
    DependencyRule {
        package: CLUSTER,
        modules: &["crate"],
        exceptions: &[],
        forbidden: &[
            ("kubectl_dynamo_core::intent", "commands, which passes rendered resources"),
            ("kubectl_dynamo_core::plan", "commands, which passes rendered resources"),
            ("std::env::var", "commands"),
            ("std::env::var_os", "commands"),
            ("std::env::vars", "commands"),
            ("std::env::vars_os", "commands"),
            ("clap", "commands"),
            ("indicatif", "report/terminal.rs"),
        ],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate::local"],
        exceptions: &[],
        forbidden: &[("kube", "cluster"), ("crate::report", "commands, which turns results into events")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate::report"],
        exceptions: &[],
        forbidden: &[
            ("kube", "cluster"),
            ("kubectl_dynamo_cluster", "commands, which turns results into events"),
            ("crate::local", "commands, which turns results into events"),
            ("kubectl_dynamo_core::plan", "commands, which turns the plan into events"),
        ],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &["crate::commands", "crate::settings", "crate::workflow::local::environment"],
        forbidden: &[
            ("std::env::var", "settings or workflow/local/environment.rs"),
            ("std::env::var_os", "settings or workflow/local/environment.rs"),
            ("std::env::vars", "settings or workflow/local/environment.rs"),
            ("std::env::vars_os", "settings or workflow/local/environment.rs"),
        ],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &["crate::commands", "crate::kube_flags"],
        forbidden: &[("clap", "commands, which passes plain options")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate::workflow", "crate::render"],
        exceptions: &[],
        forbidden: &[("crate::commands", "workflow, which the commands use")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &["crate::report::terminal", "crate::report::lines"],
        forbidden: &[("indicatif", "report/terminal.rs")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &["crate::prompt", "crate::commands::chat::repl"],
        forbidden: &[("rustyline", "prompt, which asks all questions")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &["crate::full_screen"],
        forbidden: &[("crossterm", "full_screen.rs"), ("ratatui_crossterm", "full_screen.rs")],
    },
    DependencyRule {
        package: PLUGIN,
        modules: &["crate"],
        exceptions: &[],
        forbidden: &[("hf_hub", "the model-fetcher library, which lists and fetches repositories")],
    },
    DependencyRule {
        package: CONTRACT,
        modules: &["crate"],
        exceptions: &[],
        forbidden: &[
            ("tokio", "model-fetcher"),
            ("reqwest", "model-fetcher"),
            ("hf_hub", "model-fetcher"),
            ("std::fs", "model-fetcher"),
            ("std::env", "model-fetcher"),
        ],
    },
    DependencyRule {
        package: FETCHER,
        modules: FETCHER_CORE,
        exceptions: &[],
        forbidden: &[
            ("tokio", "transfer or source"),
            ("futures", "transfer or source"),
            ("reqwest", "transfer or source"),
            ("hyper", "transfer or source"),
            ("std::net", "transfer or source"),
            ("indicatif", "progress.rs"),
        ],
    },
    DependencyRule {
        package: FETCHER,
        modules: &["crate"],
        exceptions: &["crate::source::revision"],
        forbidden: &[("hf_hub", "source/revision.rs")],
    },
    DependencyRule {
        package: FETCHER,
        modules: &["crate"],
        exceptions: &["crate::progress"],
        forbidden: &[("indicatif", "progress.rs")],
    },
    DependencyRule {
        package: FETCHER,
        modules: &["crate"],
        exceptions: FETCHER_ENTRY_MODULES,
        forbidden: &[
            ("clap", "arguments.rs or program.rs"),
            ("std::env::var", "arguments.rs, which passes options to the library"),
            ("std::env::var_os", "arguments.rs, which passes options to the library"),
            ("std::env::vars", "arguments.rs, which passes options to the library"),
            ("std::env::vars_os", "arguments.rs, which passes options to the library"),
        ],
    },
    DependencyRule {
        package: FETCHER,
        modules: &["crate"],
        exceptions: &[],
        forbidden: &[
            ("kubectl_dynamo", "kubectl-dynamo, which uses this crate"),
            ("kube", "kubectl-dynamo"),
            ("k8s_openapi", "kubectl-dynamo"),
        ],
    },
];

/// Methods of paths that access the disk; core modules must not call them. Kubernetes objects have a field `metadata`,
/// so only Clippy checks the method of that name.
pub(crate) const DISK_METHODS: &[&str] =
    &["exists", "try_exists", "is_file", "is_dir", "is_symlink", "read_dir", "canonicalize"];
