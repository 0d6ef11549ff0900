//! Where each recorded deployment stood, every time that changed: the transcript is read in review.

use std::fmt::Write;
use std::sync::Arc;

use kubectl_dynamo::diagnosis::{Verdict, diagnose};
use kubectl_dynamo_tests::Outcome;

use crate::Shared;
use crate::recording::{RECORDINGS, moments};

pub(crate) async fn every_transition_is_what_it_was(_: Arc<Shared>) -> Outcome {
    for name in RECORDINGS {
        let mut transcript = String::new();
        let mut last = String::new();
        for moment in moments(name)? {
            let graph = moment.evidence.seen.graph.is_some();
            let now = match diagnose(&moment.evidence).verdict {
                _ if !graph => "absent".to_owned(),
                Verdict::Reported => "reported ready".to_owned(),
                Verdict::ComingUp { waits_for } => format!("waits for {waits_for}"),
                Verdict::Held { cause } => format!("held {}: {cause}", cause.code),
                Verdict::Broken { cause } => format!("broken {}: {cause}", cause.code),
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
