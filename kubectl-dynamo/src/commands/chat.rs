//! `chat`: sends prompts to a deployment and prints the answers while they are generated.
//! Only answers go to stdout; everything else goes to stderr.

mod conversation;
mod error;
mod repl;

use std::io::{IsTerminal, Read};
use std::net::Ipv4Addr;

use clap::Args;

use super::output_flag::output_parser;
use crate::chat::{Endpoint, EndpointKind};
use crate::context::Context;
use crate::output::{DocumentCount, PrintFormat, TextFormat};
use crate::settings;
use crate::workflow::lookup;
use conversation::{Conversation, ConversationOutput};
use error::ChatArgsError;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::Backend;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChatArgs {
    /// Name of the deployment and the prompt (with --url: only the prompt)
    #[arg(value_name = "NAME] [PROMPT", hide_possible_values = true)]
    pub name_and_prompt: Vec<String>,
    /// Use a local deployment
    #[arg(long, conflicts_with = "url")]
    pub local: bool,
    /// Base URL of an OpenAI-compatible server, ending in /v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Environment variable with the API key for --url
    #[arg(long, value_name = "NAME", requires = "url")]
    pub api_key_env: Option<String>,
    /// Model to use if the server lists several
    #[arg(short, long)]
    pub model: Option<String>,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Maximum length of an answer in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// Sampling temperature
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Output format; json and yaml print the answer with its statistics
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo chat tiny --local                interactive session
  kubectl dynamo chat qwen32 'Why is it blue?'    one prompt
  git diff | kubectl dynamo chat qwen32           one prompt from stdin
  kubectl dynamo chat --url http://127.0.0.1:8000/v1";

/// The default token limit for the mocker, which does not end an answer before the limit.
const MOCK_TOKENS: u32 = 32;

pub(super) async fn run(args: ChatArgs, context: &Context) -> Result<Exit> {
    if let Some(url) = &args.url {
        let key = args.api_key_env.as_deref().map(settings::api_key).transpose()?;
        let endpoint = Endpoint::new(url, EndpointKind::OpenAiCompatible, key)?;
        return converse(endpoint, &args.name_and_prompt, None, &args, context).await;
    }
    let (name, prompt) = match args.name_and_prompt.split_first() {
        Some((name, prompt)) => (Some(name.as_str()), prompt),
        None => (None, [].as_slice()),
    };
    if args.local {
        let found = crate::workflow::local::lookup::find_running(name)?;
        let intent = &found.spec.intent;
        let endpoint = Endpoint::new(&found.spec.base_url(), EndpointKind::Dynamo, None)?;
        return converse(endpoint, prompt, Some(intent.backend), &args, context).await;
    }
    let name = name.ok_or(ChatArgsError::MissingName)?;
    let found = lookup::get_deployment(name, context).await?;
    let backend = crate::workflow::summary::stored_intent(&found.graph).map(|intent| intent.backend);
    let tunnel =
        found.cluster.port_forward(lookup::frontend_target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let endpoint = Endpoint::new(&format!("http://{}/v1", tunnel.local_address), EndpointKind::Dynamo, None)?;
    converse(endpoint, prompt, backend, &args, context).await
}

/// Sends one prompt, or starts an interactive session on a terminal.
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
        parts => Some(parts.join(" ")),
    };
    let model = endpoint.choose_model(args.model.as_deref()).await?;
    let is_mock = backend == Some(Backend::Mocker);
    let report = &context.report;
    if is_mock {
        report.info("the engine is the mocker, which generates placeholder text");
    }
    let max_tokens = args.max_tokens.or(is_mock.then_some(MOCK_TOKENS));
    let count = if prompt.is_some() { DocumentCount::One } else { DocumentCount::Many };
    let output = ConversationOutput::new(args.output.clone(), count);
    let mut conversation = Conversation::new(endpoint, model, report, output);
    conversation.set_sampling(max_tokens, args.temperature);
    if let Some(system) = &args.system {
        conversation.set_system_prompt(system);
    }
    match prompt {
        Some(prompt) => conversation.run_turn(prompt).await,
        None => repl::run(conversation).await,
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
