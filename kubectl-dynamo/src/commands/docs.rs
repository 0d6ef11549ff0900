//! `docs`: prints the embedded documentation, and writes man pages. It does not access a network.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use model_fetcher::arguments::FetcherCli;

use super::Root;
use crate::context::Context;
use crate::output::{print_data, print_styled};
use crate::render::documentation::{page_for_terminal, page_list};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::documentation::{documentation_names, documentation_of, documentation_pages};
use kubectl_dynamo_core::error::{Exit, Explain, Result};
use kubectl_dynamo_core::nearest_name::nearest_name;

/// The widest page. Longer lines are hard to read.
const MAX_WIDTH: usize = 100;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DocsArgs {
    /// Verb, such as `bench run`, or page, such as `volumes` (default: list the pages)
    #[arg(value_name = "VERB|PAGE")]
    pub page: Vec<String>,
    /// Write the man pages of this plugin and of model-fetcher to this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "page")]
    pub man_pages: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo docs up
  kubectl dynamo docs volumes | less
  kubectl dynamo docs --man-pages ~/.local/share/man/man1";

/// A name that no page and no verb has.
#[derive(Debug, thiserror::Error)]
#[error("page \"{name}\" not found")]
struct UnknownPage {
    name: String,
}

impl Explain for UnknownPage {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidCommandLine)
    }

    fn hint(&self) -> Option<Fix> {
        let code = self.name.to_uppercase();
        if MessageCode::ALL.iter().any(|known| known.as_str() == code) {
            return Some(
                SuggestedCommand::plugin("explain").operand(&code, "CODE").after("explain the code with "),
            );
        }
        Some(match nearest_name(&self.name, documentation_names().into_iter()) {
            Some(name) => SuggestedCommand::plugin(&format!("docs {name}")).after("did you mean "),
            None => SuggestedCommand::plugin("docs").after("list the pages with "),
        })
    }
}

/// A man page that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the man pages to {}: {source}", folder.display())]
struct ManPagesNotWritten {
    folder: PathBuf,
    source: std::io::Error,
}

impl Explain for ManPagesNotWritten {}

pub(super) fn run(args: &DocsArgs, context: &Context) -> Result<Exit> {
    if let Some(folder) = &args.man_pages {
        write_man_pages(folder).map_err(|source| ManPagesNotWritten { folder: folder.clone(), source })?;
        context.report.summary(vec![format!("man pages written to {}", folder.display())]);
        return Ok(Exit::Ok);
    }
    if args.page.is_empty() {
        print_data(&page_list(&documentation_pages()))?;
        return Ok(Exit::Ok);
    }
    let name = args.page.join(" ");
    let text = documentation_of(&name).ok_or(UnknownPage { name })?;
    if std::io::stdout().is_terminal() {
        let width = usize::from(console::Term::stdout().size().1).min(MAX_WIDTH);
        print_styled(&page_for_terminal(&text, width))?;
    } else {
        print_data(&format!("{}\n", text.trim_end()))?;
    }
    Ok(Exit::Ok)
}

/// Writes a page for each program and for each of its verbs.
fn write_man_pages(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for program in [Root::command(), FetcherCli::command()] {
        let source = format!("{} {}", program.get_name(), program.get_version().unwrap_or_default());
        let mut program = program.disable_help_subcommand(true);
        program.build();
        write_man_page(&program, &source, folder)?;
    }
    Ok(())
}

fn write_man_page(command: &Command, source: &str, folder: &Path) -> std::io::Result<()> {
    Man::new(command.clone()).source(source).manual("User Commands").generate_to(folder)?;
    let mut below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.try_for_each(|below| write_man_page(below, source, folder))
}
