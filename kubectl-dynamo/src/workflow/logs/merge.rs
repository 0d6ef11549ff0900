//! Merges the logs of several containers into one, ordered by the time of each line. It is only for logs that end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::container_stream::{FormattedLine, LineResult};

/// One log of the merge: its channel, and the line that is printed next.
struct MergedLog {
    lines: mpsc::Receiver<LineResult>,
    next: Option<FormattedLine>,
    /// Time of the newest line, for lines without one, which the server adds.
    newest: Timestamp,
}

impl MergedLog {
    /// Receives the next line and returns its time. Errors are passed on at once.
    async fn advance(&mut self, output: &mpsc::Sender<LineResult>) -> Option<Timestamp> {
        loop {
            match self.lines.recv().await? {
                Err(error) => output.send(Err(error)).await.ok()?,
                Ok(line) => {
                    // The lines of one container stay in order.
                    self.newest = self.newest.max(line.time.unwrap_or(self.newest));
                    self.next = Some(line);
                    return Some(self.newest);
                }
            }
        }
    }
}

/// Sends the lines of all logs in the order of their times. Lines of the same time keep the order of the logs.
pub(super) async fn merge(logs: Vec<mpsc::Receiver<LineResult>>, output: mpsc::Sender<LineResult>) {
    let new_log = |lines| MergedLog { lines, next: None, newest: Timestamp::MIN };
    let mut logs: Vec<MergedLog> = logs.into_iter().map(new_log).collect();
    let mut queue = BinaryHeap::new();
    for (index, log) in logs.iter_mut().enumerate() {
        queue.extend(log.advance(&output).await.map(|time| Reverse((time, index))));
    }
    while let Some(Reverse((_, index))) = queue.pop() {
        let log = &mut logs[index];
        let Some(line) = log.next.take() else { continue };
        if output.send(Ok(line)).await.is_err() {
            return;
        }
        queue.extend(log.advance(&output).await.map(|time| Reverse((time, index))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_several_pods_are_ordered_by_time() {
        let line = |pod: &str, second: Option<i64>| FormattedLine {
            time: second.map(|second| Timestamp::from_second(second).expect("a valid time")),
            text: format!("{pod} {second:?}"),
        };
        let logs = [
            vec![line("a", Some(1)), line("a", Some(4)), line("a", None), line("a", Some(9))],
            vec![line("b", Some(2)), line("b", Some(4)), line("b", Some(3)), line("b", Some(10))],
            vec![],
        ];
        let receivers = logs.map(|lines| {
            let (sender, receiver) = mpsc::channel(8);
            lines.into_iter().for_each(|line| sender.try_send(Ok(line)).expect("room for the lines"));
            receiver
        });
        let (output, mut merged) = mpsc::channel(16);
        merge(receivers.into(), output).await;
        let mut texts = Vec::new();
        while let Some(line) = merged.recv().await {
            texts.push(line.expect("a line").text);
        }
        let expected = [
            "a Some(1)",
            "b Some(2)",
            "a Some(4)",
            "a None",
            "b Some(4)",
            "b Some(3)",
            "a Some(9)",
            "b Some(10)",
        ];
        assert_eq!(texts, expected);
    }
}
