//! The recommend tier: `recommend` with the real aiconfigurator from PyPI, in network namespaces with only `lo`.
//! `tests/run` without arguments leaves it out, because the packages have 0.9 GB and each prediction takes up to half a
//! minute on two busy cores.

mod answers;
mod predictions;

use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::local::{Folders, predictor};
use kubectl_dynamo_tests::{Outcome, cache, cases, network_namespace, programs, suite};
use tokio::runtime::Runtime;

/// State that the cases share.
struct Shared {
    /// Cache folder with aiconfigurator, which is installed once for all runs.
    cache: PathBuf,
}

impl Shared {
    /// Returns the folder of the installed Python packages.
    fn packages(&self) -> Outcome<PathBuf> {
        let version = kubectl_dynamo_core::release::AICONFIGURATOR_VERSION;
        let lib = self.cache.join(format!("runtimes/aiconfigurator-{version}/lib"));
        let entry = std::fs::read_dir(lib)?.next().ok_or("the environment has a lib folder")??;
        Ok(entry.path().join("site-packages"))
    }
}

fn main() -> ExitCode {
    let missing = network_namespace::check_available().err();
    let cases = cases![
        predictions::command_of_a_dense_model_is_accepted_by_render,
        predictions::folder_of_a_second_model_has_its_own_prediction,
        predictions::experts_are_predicted_with_expert_parallelism,
        predictions::load_is_served_with_the_fewest_gpus,
        predictions::every_known_gpu_has_measurements_of_vllm,
        answers::impossible_latency_is_an_answer,
        answers::model_that_aiconfigurator_does_not_know_is_an_error,
        answers::ctrl_c_leaves_nothing,
    ];
    suite::run("recommend", missing, cases, start)
}

/// Installs aiconfigurator with the machine's network, which the cases do not have.
fn start() -> Outcome<(Runtime, Shared)> {
    let cache = cache::folder().join("local-environment");
    let folders = Folders { cache: cache.clone(), state: cache.join("state") };
    let program = programs::kubectl_dynamo();
    let installer = Runtime::new()?;
    installer.block_on(predictor::prepare(&folders, &program, &|_| {}))?;
    Ok((installer, Shared { cache }))
}
