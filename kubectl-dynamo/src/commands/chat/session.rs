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

const HELP: &str = "/reset forgets what was said · /exit or Ctrl-D leaves · Ctrl-C ends an answer";

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
            Ok(line) => match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                "/help" => conversation.report().detail(HELP),
                "/reset" => conversation.forget(),
                question => {
                    // What cannot be remembered can still be asked.
                    let _ = lines.add_history_entry(question);
                    if let Err(error) = conversation.turn(question.to_owned()).await {
                        conversation.report().failed(&error);
                    }
                }
            },
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
