//! The interactive session on a terminal: line editing, a persistent history, and commands that begin with
//! `/`. Ctrl-C ends an answer, clears a line, or exits; a failed turn must not end the session.

use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyEvent, Movement,
    RepeatCount,
};

use super::conversation::Conversation;
use crate::workflow::local::environment as local_environment;
use kubectl_dynamo_core::error::{Exit, Result};

/// The maximum number of prompts in the history file.
const MAX_HISTORY_ENTRIES: usize = 1000;

const HELP: &str = "\
/reset         clear the conversation, except the system prompt
/system TEXT   set the system prompt; without TEXT, remove it
/again         repeat the last prompt
/exit, Ctrl-D  exit; Ctrl-C stops an answer
//TEXT         send a prompt that begins with /";

type LineEditor = Editor<(), FileHistory>;

/// Reads prompts and commands until the user exits.
pub(super) async fn run(mut conversation: Conversation<'_>) -> Result<Exit> {
    let history = local_environment::folders().ok().map(|folders| folders.state.join("chat-history"));
    let mut editor = build_editor()?;
    if let Some(history) = &history {
        // The file does not exist before the first session.
        let _ = editor.load_history(history);
    }
    conversation.report().info(format!("chat with {} · /help · Ctrl-D exits", conversation.model()));
    loop {
        match tokio::task::block_in_place(|| editor.readline("> ")) {
            Ok(line) => {
                let line = line.trim();
                if !line.is_empty() {
                    // A failure to store the line must not prevent the prompt.
                    let _ = editor.add_history_entry(line);
                }
                match ReplCommand::parse(line) {
                    ReplCommand::Empty => {}
                    ReplCommand::Quit => break,
                    ReplCommand::Help => conversation.report().info(HELP),
                    ReplCommand::Reset => conversation.clear(),
                    ReplCommand::System(text) => conversation.set_system_prompt(text),
                    ReplCommand::Again => match conversation.pop_last_question() {
                        Some(question) => send_question(&mut conversation, question).await,
                        None => conversation.report().info("no previous prompt"),
                    },
                    ReplCommand::Prompt(question) => {
                        send_question(&mut conversation, question.to_owned()).await
                    }
                    ReplCommand::Unknown(command) => {
                        conversation
                            .report()
                            .info(format!("unknown command \"{command}\" · /help lists the commands"));
                    }
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(std::io::Error::other(error).into()),
        }
    }
    if let Some(history) = &history {
        let _ = history.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(history);
    }
    Ok(Exit::Ok)
}

/// Runs one turn; an error is printed and the session continues.
async fn send_question(conversation: &mut Conversation<'_>, question: String) {
    if let Err(error) = conversation.run_turn(question).await {
        conversation.report().failed(&error);
    }
}

/// The command or prompt in one line of input.
#[derive(Debug, PartialEq, Eq)]
enum ReplCommand<'a> {
    Empty,
    Quit,
    Help,
    Reset,
    System(&'a str),
    Again,
    Prompt(&'a str),
    Unknown(&'a str),
}

impl<'a> ReplCommand<'a> {
    fn parse(line: &'a str) -> Self {
        if let Some(question) = line.strip_prefix('/').filter(|argument| argument.starts_with('/')) {
            return Self::Prompt(question);
        }
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, argument.trim()) {
            ("", _) => Self::Empty,
            ("/exit" | "/quit", "") => Self::Quit,
            ("/help", _) => Self::Help,
            ("/reset", "") => Self::Reset,
            ("/system", text) => Self::System(text),
            ("/again", "") => Self::Again,
            _ if command.starts_with('/') => Self::Unknown(command),
            _ => Self::Prompt(line),
        }
    }
}

fn build_editor() -> Result<LineEditor> {
    let config = Config::builder()
        // Write the prompt to the terminal, so that `chat NAME > answers` stores only answers.
        .behavior(Behavior::PreferTerm)
        .max_history_size(MAX_HISTORY_ENTRIES)
        .map_err(std::io::Error::other)?
        .build();
    let mut editor = LineEditor::with_config(config).map_err(std::io::Error::other)?;
    editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(ExitOnEmptyLine)));
    Ok(editor)
}

/// Handles Ctrl-C: it clears a line with text and exits on an empty line.
struct ExitOnEmptyLine;

impl ConditionalEventHandler for ExitOnEmptyLine {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        Some(if context.line().is_empty() { Cmd::Interrupt } else { Cmd::Kill(Movement::WholeBuffer) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_commands_from_questions() {
        for (line, command) in [
            ("", ReplCommand::Empty),
            ("/exit", ReplCommand::Quit),
            ("/system  be short ", ReplCommand::System("be short")),
            ("/system", ReplCommand::System("")),
            ("/rest", ReplCommand::Unknown("/rest")),
            ("/reset all", ReplCommand::Unknown("/reset")),
            ("//etc/hosts, what is it?", ReplCommand::Prompt("/etc/hosts, what is it?")),
            ("what is /etc?", ReplCommand::Prompt("what is /etc?")),
        ] {
            assert_eq!(ReplCommand::parse(line), command, "{line}");
        }
    }
}
