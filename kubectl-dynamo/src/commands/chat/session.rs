//! A conversation on a terminal: line editing, a history that lasts, and Ctrl-C that ends a turn or leaves.

use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyEvent, Movement,
    RepeatCount,
};

use super::answer::Conversation;
use crate::commands::local;
use crate::error::{Exit, Result};

/// Questions that are remembered from one conversation to the next.
const REMEMBERED: usize = 1000;

const HELP: &str = "\
/reset         forget what was said; the system prompt stays
/system TEXT   another system prompt; without TEXT none
/again         ask the last question once more
/exit, Ctrl-D  leave; Ctrl-C ends an answer
//TEXT         a question that begins with /";

type Lines = Editor<(), FileHistory>;

/// Asks for questions until there are no more.
pub(super) async fn run(mut conversation: Conversation<'_>) -> Result<Exit> {
    let history = local::folders().ok().map(|folders| folders.state.join("chat-history"));
    let mut lines = editor()?;
    if let Some(history) = &history {
        // There is none before the first conversation.
        let _ = lines.load_history(history);
    }
    conversation.report().detail(format!("{} listens · /help · Ctrl-D leaves", conversation.model()));
    loop {
        match tokio::task::block_in_place(|| lines.readline("> ")) {
            Ok(line) => {
                let line = line.trim();
                if !line.is_empty() {
                    // What cannot be remembered can still be asked.
                    let _ = lines.add_history_entry(line);
                }
                match Wish::of(line) {
                    Wish::Nothing => {}
                    Wish::Leave => break,
                    Wish::Help => conversation.report().detail(HELP),
                    Wish::Reset => conversation.forget(),
                    Wish::System(text) => conversation.instruct(text),
                    Wish::Again => match conversation.last_question() {
                        Some(question) => ask(&mut conversation, question).await,
                        None => conversation.report().detail("nothing was asked yet"),
                    },
                    Wish::Ask(question) => ask(&mut conversation, question.to_owned()).await,
                    Wish::Unknown(word) => {
                        conversation.report().detail(format!("{word} is no command · /help names them"));
                    }
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(std::io::Error::other(error).into()),
        }
    }
    if let Some(history) = &history {
        let _ = history.parent().map(std::fs::create_dir_all);
        let _ = lines.save_history(history);
    }
    Ok(Exit::Ok)
}

/// One turn; why it failed is told, and the conversation goes on.
async fn ask(conversation: &mut Conversation<'_>, question: String) {
    if let Err(error) = conversation.turn(question).await {
        conversation.report().failed(&error);
    }
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish<'a> {
    Nothing,
    Leave,
    Help,
    Reset,
    System(&'a str),
    Again,
    Ask(&'a str),
    Unknown(&'a str),
}

impl<'a> Wish<'a> {
    fn of(line: &'a str) -> Self {
        if let Some(question) = line.strip_prefix('/').filter(|rest| rest.starts_with('/')) {
            return Self::Ask(question);
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word, rest.trim()) {
            ("", _) => Self::Nothing,
            ("/exit" | "/quit", "") => Self::Leave,
            ("/help", _) => Self::Help,
            ("/reset", "") => Self::Reset,
            ("/system", text) => Self::System(text),
            ("/again", "") => Self::Again,
            _ if word.starts_with('/') => Self::Unknown(word),
            _ => Self::Ask(line),
        }
    }
}

fn editor() -> Result<Lines> {
    let config = Config::builder()
        // The prompt belongs to the terminal, so that `chat NAME > answers` keeps only answers.
        .behavior(Behavior::PreferTerm)
        .max_history_size(REMEMBERED)
        .map_err(std::io::Error::other)?
        .build();
    let mut lines = Lines::with_config(config).map_err(std::io::Error::other)?;
    lines.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(LeaveWhenEmpty)));
    Ok(lines)
}

/// Ctrl-C clears a line that was begun, and leaves from an empty one.
struct LeaveWhenEmpty;

impl ConditionalEventHandler for LeaveWhenEmpty {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        Some(if context.line().is_empty() { Cmd::Interrupt } else { Cmd::Kill(Movement::WholeBuffer) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_questions() {
        for (line, wish) in [
            ("", Wish::Nothing),
            ("/exit", Wish::Leave),
            ("/system  be short ", Wish::System("be short")),
            ("/system", Wish::System("")),
            ("/rest", Wish::Unknown("/rest")),
            ("/reset all", Wish::Unknown("/reset")),
            ("//etc/hosts, what is it?", Wish::Ask("/etc/hosts, what is it?")),
            ("what is /etc?", Wish::Ask("what is /etc?")),
        ] {
            assert_eq!(Wish::of(line), wish, "{line}");
        }
    }
}
