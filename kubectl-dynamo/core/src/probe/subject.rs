//! What is probed: a deployment and its configuration, or a server that is only known by its URL.

use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::intent::ServingIntent;
use crate::release::Release;

/// Where the probed deployment runs, for the commands in hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbePlace {
    Cluster {
        name: String,
        namespace: String,
    },
    Local {
        name: String,
    },
    /// Any OpenAI-compatible server. Dynamo's own request fields are not sent to it.
    Url {
        url: String,
    },
}

/// The probed deployment.
#[derive(Debug, Clone)]
pub struct ProbeSubject {
    pub place: ProbePlace,
    /// What the user requested; `None` for a server that this plugin did not deploy.
    pub intent: Option<ServingIntent>,
    /// The Dynamo release of the deployment, if it is known.
    pub release: Option<&'static Release>,
    /// The served model that the requests name.
    pub model: String,
}

impl ProbePlace {
    /// The command that explains why a deployment does not answer.
    pub fn diagnose_command(&self) -> Fix {
        match self {
            Self::Cluster { .. } => self.verb("diagnose").into(),
            Self::Local { .. } => self.verb("logs").into(),
            Self::Url { url } => SuggestedCommand::plugin("chat")
                .on_this_machine()
                .flag("--url")
                .flag(url)
                .flag("hello")
                .after("see the log of the server, or send one request: "),
        }
    }

    /// The command that changes the deployment; `arguments` are the flags of `up`, and those of the engine after `--`.
    pub fn change_command(&self, arguments: &str) -> Fix {
        let with_arguments = |command: SuggestedCommand| match arguments.strip_prefix("-- ") {
            Some(engine) => engine.split(' ').fold(command, SuggestedCommand::engine_argument),
            None => arguments.split(' ').fold(command, SuggestedCommand::flag),
        };
        match self {
            Self::Cluster { .. } => with_arguments(self.verb("up")).into(),
            Self::Local { name } => {
                let up = SuggestedCommand::plugin("up").flag("--local").flag("--name").flag(name);
                Fix::from(self.verb("down")).text(", then ").command(with_arguments(up))
            }
            Self::Url { .. } => format!("start the server with {arguments}").into(),
        }
    }

    /// The command that prints the logs of one role.
    pub fn logs_command(&self, role: &str) -> Fix {
        match self {
            Self::Url { .. } => self.diagnose_command(),
            _ => self.verb("logs").flag("-c").flag(role).into(),
        }
    }

    /// A verb about the deployment.
    fn verb(&self, verb: &str) -> SuggestedCommand {
        let command = SuggestedCommand::plugin(verb);
        match self {
            Self::Cluster { name, namespace } => command.operand(name, UNKNOWN_NAME).in_namespace(namespace),
            Self::Local { name } => command.operand(name, UNKNOWN_NAME).flag("--local"),
            Self::Url { .. } => command,
        }
    }
}
