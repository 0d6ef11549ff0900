//! The gateway tier: the gateway verbs with LiteLLM's real proxy from PyPI in front of the real Dynamo. Each case has its
//! own network namespace with only `lo`. The packages take 750 MB, so `tests/run` without arguments leaves this tier
//! out.

mod entries;
mod group;
mod litellm;
mod proxy_restart;
mod routing;

use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::local::{Folders, runtime};
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};
use kubectl_dynamo_tests::litellm::install as install_litellm;
use kubectl_dynamo_tests::{Outcome, cache, cases, network_namespace, programs, suite};
use tokio::runtime::Runtime;

/// State that the cases share.
struct Shared {
    /// Cache folder with the Dynamo runtime, which the local tier uses too.
    cache: PathBuf,
    /// LiteLLM's program.
    litellm: PathBuf,
}

fn main() -> ExitCode {
    let missing = network_namespace::check_available().err();
    let cases = cases![
        routing::config_routes_and_test_proves_it,
        routing::key_and_url_errors_have_their_codes,
        entries::each_wrong_entry_is_named,
        entries::failure_behind_the_proxy_is_named,
        group::backend_that_stops_costs_no_request,
        group::backend_without_workers_costs_no_request,
        proxy_restart::proxy_that_was_not_restarted_is_stale,
    ];
    suite::run("gateway", missing, cases, start)
}

/// Installs Dynamo and LiteLLM with the machine's network, which the cases do not have.
fn start() -> Outcome<(Runtime, Shared)> {
    let cache = cache::folder().join("local-environment");
    let runtime = Runtime::new()?;
    let folders = Folders { cache: cache.clone(), state: cache.join("state") };
    let supervisor = programs::kubectl_dynamo();
    let request = runtime::RuntimeRequest {
        release: Release::find(DEFAULT_RELEASE)?,
        version: DEFAULT_RELEASE,
        backend: Backend::Mocker,
        supervisor: &supervisor,
    };
    runtime.block_on(runtime::prepare(&folders, &request, &|_| {}))?;
    let litellm = install_litellm(&cache::folder())?;
    Ok((runtime, Shared { cache, litellm }))
}
