//! `logs --local`: prints the logs of all processes of a local deployment. Each line starts with the process
//! name.

use std::time::Duration;

use crate::local::logs::{self, LogFollower};
use crate::local::state::{self, LocalDeployment};
use crate::output::print_data;
use crate::signals::run_until_signal;
use crate::workflow::local::lookup::find_deployment;
use kubectl_dynamo_core::error::{Exit, Result};

/// Options of `logs --local`.
pub(in crate::commands) struct LocalLogsOptions<'a> {
    pub name: &'a str,
    pub component: Option<&'a str>,
    /// Print new lines until the deployment stops.
    pub follow: bool,
    /// Number of most recent lines.
    pub tail: Option<u32>,
}

/// Prints the logs in chronological order, and new lines with `--follow`.
pub(in crate::commands) async fn logs(args: &LocalLogsOptions<'_>) -> Result<Exit> {
    let found = find_deployment(Some(args.name))?;
    let is_selected = |process: &str| {
        let component = args.component;
        component
            .is_none_or(|component| process == component || process.starts_with(&format!("{component}-")))
    };
    let mut log_files = state::logs(&found.folder);
    log_files.retain(|(process, _)| is_selected(process));
    let print = |process: &str, line: &str| print_data(&format!("{process:<10} | {line}\n"));
    let mut follower = LogFollower::from_start(log_files);
    let tail_lines = args.tail.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(usize::MAX);
    let lines = logs::merge_by_time(follower.new_lines(), tail_lines);
    lines.iter().try_for_each(|(process, line)| print(process, line))?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    let mut print_result = Ok(());
    let following = async {
        tokio::select! {
            never = follower.follow(|process, line| print_result = print(process, line)) => match never {},
            () = wait_until_stopped(&found) => {}
        }
    };
    if run_until_signal(following).await.is_none() {
        return Ok(Exit::Interrupted);
    }
    print_result?;
    Ok(Exit::Ok)
}

/// Returns when the deployment has stopped, so that its logs do not grow any more.
async fn wait_until_stopped(found: &LocalDeployment) {
    const POLL_INTERVAL: Duration = Duration::from_millis(500);
    while found.is_supervised() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    // Leaves time for the follower to read the last lines.
    tokio::time::sleep(POLL_INTERVAL).await;
}
