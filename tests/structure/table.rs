//! What must never depend on what, as a table, with the module each forbidden thing belongs in.

/// A restriction on the modules of one crate.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The folder of the crate.
    pub(crate) package: &'static str,
    /// The modules it binds, with everything below them.
    pub(crate) modules: &'static [&'static str],
    /// The modules among them that it leaves free.
    pub(crate) except: &'static [&'static str],
    /// Paths they must not name, and where such a thing belongs.
    pub(crate) never: &'static [(&'static str, &'static str)],
}

const PLUGIN: &str = "kubectl-dynamo";
const FETCHER: &str = "model-fetcher";

/// The pure middle of the plugin. Each may use those before it.
pub(crate) const CORE: &[&str] = &[
    "crate::intent",
    "crate::release",
    "crate::plan",
    "crate::resources",
    "crate::rights",
    "crate::fit",
    "crate::preflight",
    "crate::readiness",
    "crate::diagnosis",
    "crate::change",
];

/// The pure part of the fetcher.
const FETCHER_CORE: &[&str] =
    &["crate::contract", "crate::digest", "crate::filter", "crate::plan", "crate::ranges"];

/// What the fetcher's program does and its library does not: read arguments and environment.
// `hostile` is part of the tests alone; what it reads is how long to try.
const FETCHER_EDGE: &[&str] =
    &["crate::arguments", "crate::certificates", "crate::hostile", "crate::program"];

const ARITHMETIC: &str = "the middle is arithmetic: give it the value as an argument";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        package: PLUGIN,
        modules: CORE,
        except: &[],
        never: &[
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
            ("std::time::Instant", ARITHMETIC),
            ("std::time::SystemTime", ARITHMETIC),
            ("jiff::Timestamp::now", ARITHMETIC),
            ("jiff::Zoned::now", ARITHMETIC),
            ("crate::cluster", "commands, which passes on what cluster found"),
            ("crate::local", "commands"),
            ("crate::chat", "commands"),
            ("crate::report", "commands, which turns results into events"),
        ],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate::cluster"],
        except: &[],
        never: &[
            ("crate::intent", "commands, which hands over rendered resources"),
            ("crate::plan", "commands, which hands over rendered resources"),
            ("crate::report", "commands, which turns results into events"),
        ],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate::local"],
        except: &[],
        never: &[("kube", "cluster"), ("crate::report", "commands, which turns results into events")],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate::report"],
        except: &[],
        never: &[
            ("kube", "cluster"),
            ("crate::cluster", "commands, which turns results into events"),
            ("crate::local", "commands, which turns results into events"),
            ("crate::plan", "commands, which turns the plan into events"),
        ],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate"],
        except: &["crate::commands"],
        never: &[
            ("std::env::var", "commands"),
            ("std::env::var_os", "commands"),
            ("std::env::vars", "commands"),
            ("std::env::vars_os", "commands"),
            ("clap", "commands"),
        ],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate"],
        except: &["crate::report::terminal", "crate::report::lines"],
        never: &[("indicatif", "report/terminal.rs")],
    },
    Rule {
        package: PLUGIN,
        modules: &["crate"],
        except: &[],
        never: &[("hf_hub", "the model-fetcher library, which lists and fetches repositories")],
    },
    Rule {
        package: FETCHER,
        modules: FETCHER_CORE,
        except: &[],
        never: &[
            ("tokio", "transfer or source"),
            ("futures", "transfer or source"),
            ("reqwest", "transfer or source"),
            ("hyper", "transfer or source"),
            ("std::net", "transfer or source"),
            ("indicatif", "progress.rs"),
        ],
    },
    Rule {
        package: FETCHER,
        modules: &["crate"],
        except: &["crate::source::hugging_face"],
        never: &[("hf_hub", "source/hugging_face.rs")],
    },
    Rule {
        package: FETCHER,
        modules: &["crate"],
        except: &["crate::progress"],
        never: &[("indicatif", "progress.rs")],
    },
    Rule {
        package: FETCHER,
        modules: &["crate"],
        except: FETCHER_EDGE,
        never: &[
            ("clap", "arguments.rs or program.rs"),
            ("std::env::var", "arguments.rs, which takes what the library is told"),
            ("std::env::var_os", "arguments.rs, which takes what the library is told"),
            ("std::env::vars", "arguments.rs, which takes what the library is told"),
            ("std::env::vars_os", "arguments.rs, which takes what the library is told"),
        ],
    },
    Rule {
        package: FETCHER,
        modules: &["crate"],
        except: &[],
        never: &[
            ("kubectl_dynamo", "kubectl-dynamo, which uses this crate and not the other way round"),
            ("kube", "kubectl-dynamo"),
            ("k8s_openapi", "kubectl-dynamo"),
        ],
    },
];

/// Methods of paths that ask the disk; the pure middle has none of them.
pub(crate) const DISK_METHODS: &[&str] =
    &["exists", "try_exists", "is_file", "is_dir", "is_symlink", "metadata", "read_dir", "canonicalize"];
