//! Lists the state transitions of each recorded deployment; review changes of the transcript.

use std::fmt::Write;
use std::sync::Arc;

use kubectl_dynamo_core::diagnosis::{DiagnosisResult, diagnose};
use kubectl_dynamo_tests::Outcome;

use crate::Shared;
use crate::recording::{RECORDINGS, moments};

pub(crate) async fn transitions_match_the_snapshots(_: Arc<Shared>) -> Outcome {
    for name in RECORDINGS {
        let mut transcript = String::new();
        let mut last = String::new();
        for moment in moments(name)? {
            let graph = moment.evidence.observation.graph.is_some();
            let now = match diagnose(&moment.evidence).result {
                _ if !graph => "absent".to_owned(),
                DiagnosisResult::Ready => "reported ready".to_owned(),
                DiagnosisResult::Progressing { waits_for: pending } => format!("waits for {pending}"),
                DiagnosisResult::Terminating { waits_for: pending } => {
                    format!("deleting: waits for {pending}")
                }
                DiagnosisResult::Blocked { cause } => format!("held {}: {cause}", cause.code),
                DiagnosisResult::Failed { cause } => format!("broken {}: {cause}", cause.code),
            };
            if now != last {
                writeln!(transcript, "{:7.1}  {now}", moment.seconds)?;
                last = now;
            }
        }
        let snapshot = name.replace(['/', '.'], "-");
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(snapshot, transcript);
        });
    }
    Ok(())
}
