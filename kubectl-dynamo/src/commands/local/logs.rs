//! `logs --local`: the logs of all processes of a deployment, each line with its process's name.

use std::time::Duration;

use super::{find, machine};
use crate::commands::interruption::unless_left;
use crate::commands::logs::LogsArgs;
use crate::commands::print_data;
use crate::error::{Exit, Result};
use crate::local::logs::{self, Followed};
use crate::local::state::{self, Found};

/// Prints them in the order of time, and goes on with `--follow`.
pub(in crate::commands) async fn logs(args: &LogsArgs) -> Result<Exit> {
    let found = find::find(&machine::folders()?, Some(&args.name))?;
    let wanted = |process: &str| {
        let component = args.component.as_deref();
        component.is_none_or(|wanted| process == wanted || process.starts_with(&format!("{wanted}-")))
    };
    let mut all = state::logs(&found.folder);
    all.retain(|(process, _)| wanted(process));
    let print = |process: &str, line: &str| print_data(&format!("{process:<10} | {line}\n"));
    let mut followed = Followed::from_start(all);
    let last = args.tail.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(usize::MAX);
    let said = logs::in_order_of_time(followed.new_lines(), last);
    said.iter().try_for_each(|(process, line)| print(process, line))?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    let mut printed = Ok(());
    let following = async {
        tokio::select! {
            never = followed.follow(|process, line| printed = print(process, line)) => match never {},
            () = until_ended(&found) => {}
        }
    };
    if unless_left(following).await.is_none() {
        return Ok(Exit::Interrupted);
    }
    printed?;
    Ok(Exit::Ok)
}

/// Returns when nothing can be added to the logs any more.
async fn until_ended(found: &Found) {
    const LOOK_AGAIN: Duration = Duration::from_millis(500);
    while found.is_supervised() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // The last lines are read once more by whoever follows.
    tokio::time::sleep(LOOK_AGAIN).await;
}
