//! `chat`: ask a deployment something and see the answer as it comes. Answers go to stdout, all else to stderr.

mod answer;
mod session;

use std::io::{IsTerminal, Read};
use std::net::Ipv4Addr;

use clap::Args;

use super::{Context, frontend, local, words};
use crate::chat::{Endpoint, Kind};
use crate::error::{Exit, Explain, Result};
use crate::intent::{Backend, Word};
use answer::{Conversation, OutputFormat};

/// Talk to a served model: one question from the arguments or stdin, or a conversation on a terminal
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChatArgs {
    /// Name of the deployment, then the prompt; with --url only the prompt
    #[arg(value_name = "NAME] [PROMPT", hide_possible_values = true)]
    pub words: Vec<String>,
    /// The deployment is one of this machine
    #[arg(long, conflicts_with = "url")]
    pub local: bool,
    /// Any OpenAI-compatible address, ending in /v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Environment variable that holds the key of --url
    #[arg(long, value_name = "NAME", requires = "url")]
    pub api_key_env: Option<String>,
    /// Model to ask, where several are listed
    #[arg(short, long)]
    pub model: Option<String>,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// Sampling temperature
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Output format; json is one object with the answer and its numbers
    #[arg(short, long, value_parser = words::<OutputFormat>(), default_value = "text")]
    pub output: OutputFormat,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo chat tiny --local                a conversation on a terminal
  kubectl dynamo chat qwen32 'Why is it blue?'    one question
  git diff | kubectl dynamo chat qwen32           one question from stdin
  kubectl dynamo chat --url http://127.0.0.1:8000/v1";

/// A mock engine never ends by itself; this many of its words are enough.
const MOCK_TOKENS: u32 = 32;

/// What is missing to begin.
#[derive(Debug, thiserror::Error)]
enum ChatArgsError {
    #[error("no deployment is named")]
    Nameless,
    #[error("the environment variable {name} is not set")]
    KeyUnset { name: String },
    #[error("stdin holds no prompt")]
    PromptEmpty,
}

impl Explain for ChatArgsError {
    fn code(&self) -> Option<&'static str> {
        Some("KD0812")
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nameless => "kubectl dynamo list names them; or give an address with --url".into(),
            Self::KeyUnset { name } => format!("export {name}=…, or leave --api-key-env out"),
            Self::PromptEmpty => "write it after the name, or pipe it in".into(),
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn run(args: ChatArgs, context: &Context) -> Result<Exit> {
    if let Some(url) = &args.url {
        let key = args
            .api_key_env
            .as_ref()
            .map(|name| std::env::var(name).map_err(|_| ChatArgsError::KeyUnset { name: name.clone() }));
        let endpoint = Endpoint::new(url, Kind::Foreign, key.transpose()?)?;
        return converse(endpoint, &args.words, None, &args, context).await;
    }
    let (name, prompt) = match args.words.split_first() {
        Some((name, prompt)) => (Some(name.as_str()), prompt),
        None => (None, [].as_slice()),
    };
    if args.local {
        let found = local::serving(name)?;
        let intent = &found.deployment.intent;
        let endpoint = Endpoint::new(&found.deployment.base_url(), Kind::Dynamo, None)?;
        return converse(endpoint, prompt, Some(intent.backend), &args, context).await;
    }
    let name = name.ok_or(ChatArgsError::Nameless)?;
    let found = frontend::find(name, context).await?;
    let backend = super::summary::intent(&found.graph).map(|intent| intent.backend);
    let tunnel = found.cluster.tunnel(frontend::target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let endpoint = Endpoint::new(&format!("http://{}/v1", tunnel.local), Kind::Dynamo, None)?;
    converse(endpoint, prompt, backend, &args, context).await
}

/// Asks once, or as long as somebody at the terminal has questions.
async fn converse(
    endpoint: Endpoint,
    prompt: &[String],
    backend: Option<Backend>,
    args: &ChatArgs,
    context: &Context,
) -> Result<Exit> {
    let prompt = match prompt {
        [] if std::io::stdin().is_terminal() => None,
        [] => Some(prompt_from_stdin()?),
        words => Some(words.join(" ")),
    };
    let model = endpoint.choose(args.model.as_deref()).await?;
    let mock = backend == Some(Backend::Mocker);
    let report = &context.report;
    if mock {
        report.detail("the engine is a mock: the words of its answers mean nothing");
    }
    let max_tokens = args.max_tokens.or(mock.then_some(MOCK_TOKENS));
    let mut conversation = Conversation::new(endpoint, model, report, args.output);
    conversation.limit(max_tokens, args.temperature);
    if let Some(system) = &args.system {
        conversation.instruct(system);
    }
    match prompt {
        Some(prompt) => conversation.turn(prompt).await,
        None => session::run(conversation).await,
    }
}

fn prompt_from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(ChatArgsError::PromptEmpty.into()),
        prompt => Ok(prompt.to_owned()),
    }
}

impl Word for OutputFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
