//! The values of closed sets, as flags accept them, files contain them, and documents print them.

use kubectl_dynamo_cluster::ApplyResult;
use kubectl_dynamo_core::intent::request::SettingSource;
use kubectl_dynamo_core::intent::{
    AccessMode, Backend, RouterMode, StringEnum, TolerationEffect, Topology, WorkerGroup, WorkerRole,
};
use kubectl_dynamo_core::preflight::{CHECKS, Category};
use kubectl_dynamo_core::rbac::{Persona, TABLE};
use kubectl_dynamo_core::release::CATALOG;
use kubectl_dynamo_core::resources::GraphApi;
use model_fetcher_contract::{
    DEFAULT_INTO, DEFAULT_REVISION, PARTIAL_SUFFIX, RECEIPT_FORMAT, TERMINATION_LOG, environment,
};

use crate::frozen;

fn all<T: StringEnum>() -> Vec<String> {
    T::ALL.iter().map(|value| value.as_str().to_owned()).collect()
}

fn strings(values: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

#[test]
fn values_of_closed_sets() {
    let group = WorkerGroup::default;
    let topologies = [
        Topology::Aggregated { worker: group() },
        Topology::Disaggregated { prefill: group(), decode: group() },
    ];
    let roles = [WorkerRole::Frontend, WorkerRole::Aggregated, WorkerRole::Prefill, WorkerRole::Decode];
    let outcomes = [
        ApplyResult::Created,
        ApplyResult::Configured,
        ApplyResult::Unchanged,
        ApplyResult::Retained,
        ApplyResult::Recreated,
    ];
    let path = || "FILE".to_owned();
    let sources = [
        SettingSource::Flag,
        SettingSource::Set,
        SettingSource::File(path()),
        SettingSource::Live(path()),
        SettingSource::Environment,
        SettingSource::UserConfig(path()),
        SettingSource::ProjectFile(path()),
        SettingSource::Detected,
        SettingSource::Default,
    ];
    let sets = [
        ("backend", all::<Backend>()),
        ("mode", strings(topologies.iter().map(Topology::mode))),
        ("component", strings(roles.map(WorkerRole::component_name))),
        ("router mode", all::<RouterMode>()),
        ("access mode", all::<AccessMode>()),
        ("toleration effect", all::<TolerationEffect>()),
        ("graph API", all::<GraphApi>()),
        ("persona", all::<Persona>()),
        ("outcome of an apply", strings(outcomes)),
        ("source of a value", strings(sources)),
        ("category of a check", strings(Category::ALL.iter().map(|one| one.title()))),
        ("check", strings(CHECKS.iter().map(|one| format!("{} {}", one.category.title(), one.name)))),
        ("verb with permissions", strings(TABLE.iter().map(|row| row.command))),
        ("release", strings(CATALOG.iter().map(|release| release.version))),
    ];
    let mut text = String::new();
    for (name, values) in sets {
        text += &format!("{name}\n");
        values.iter().for_each(|value| text += &format!("  {value}\n"));
    }
    frozen!("values-of-closed-sets", text);
}

#[test]
fn constants_of_the_fetcher() {
    let constants = [
        DEFAULT_INTO,
        DEFAULT_REVISION,
        TERMINATION_LOG,
        PARTIAL_SUFFIX,
        environment::HF_TOKEN,
        environment::HF_TOKEN_PATH,
        environment::HF_HOME,
        environment::HF_ENDPOINT,
        environment::HF_HUB_OFFLINE,
        environment::TRANSFORMERS_OFFLINE,
        environment::HF_HUB_DOWNLOAD_TIMEOUT,
        environment::HF_HUB_DISABLE_XET,
        environment::PROGRESS,
        environment::TERMINATION_LOG,
    ];
    frozen!("constants-of-the-fetcher", format!("{}\nreceipt format {RECEIPT_FORMAT}", constants.join("\n")));
}
