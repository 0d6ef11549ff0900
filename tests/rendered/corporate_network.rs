//! The CA certificates and the variables of a corporate network, in every container that needs them.

use kubectl_dynamo_core::intent::{Placement, ServingIntent};
use kubectl_dynamo_core::release::Release;
use kubectl_dynamo_core::resources::{GraphApi, ModelJobAction, model_job, render};
use kubectl_dynamo_tests::intents::{default_intent, plan_for_release};
use serde_json::{Value, json};

const PROXY: &str = "http://proxy.test:3128";

fn intent(env: &[(&str, &str)]) -> ServingIntent {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let placement = Placement {
        env: pairs(env),
        fetcher_env: pairs(&[("HTTPS_PROXY", PROXY), ("A", "fetch")]),
        ca_bundle: Some("corporate-ca/bundle.pem".parse().expect("a ConfigMap")),
        ..Placement::default()
    };
    ServingIntent { placement, ..default_intent() }
}

/// The pod template of the fetch Job, and the pods of the graph's components.
fn pods(env: &[(&str, &str)], api: GraphApi) -> (Value, Vec<Value>) {
    let release = if api == GraphApi::V1Alpha1 { "1.3.1" } else { "1.6.1" };
    let plan = plan_for_release(&intent(env), Release::find(release).expect("a release")).expect("a plan");
    let objects = render(&plan, "serving", api);
    let spec = |kind: &str| {
        let found = objects.iter().find(|one| one.kind() == kind).expect("the object");
        found.object["spec"].clone()
    };
    let graph = spec("DynamoGraphDeployment");
    let pods = match api {
        GraphApi::V1Beta1 => {
            let components = graph["components"].as_array().expect("components");
            components.iter().map(|component| component["podTemplate"]["spec"].clone()).collect()
        }
        GraphApi::V1Alpha1 => {
            let services = graph["services"].as_object().expect("services");
            services.values().map(merged_pod).collect()
        }
    };
    (spec("Job")["template"]["spec"].clone(), pods)
}

/// The pod of a v1alpha1 service, with its main container in the list of containers.
fn merged_pod(service: &Value) -> Value {
    let mut pod = service["extraPodSpec"].clone();
    let mut main = pod["mainContainer"].take();
    main["env"] = service["envs"].clone();
    pod["containers"] = json!([main]);
    pod
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|one| one["name"] == name)?["value"].as_str()
}

fn has_ca_mount(container: &Value) -> bool {
    let mounts = container["volumeMounts"].as_array();
    let is_ca = |mount: &&Value| mount["name"] == "ca-bundle";
    let mount = mounts.and_then(|mounts| mounts.iter().find(is_ca));
    mount.is_some_and(|mount| mount["mountPath"] == "/etc/kubectl-dynamo/ca" && mount["readOnly"] == true)
}

fn ca_volume(pod: &Value) -> Option<&Value> {
    pod["volumes"].as_array()?.iter().find(|volume| volume["name"] == "ca-bundle")
}

#[test]
fn every_container_trusts_the_certificates_and_only_the_fetch_uses_the_proxy() {
    let path = Some("/etc/kubectl-dynamo/ca/ca.crt");
    let volume = json!({
        "name": "ca-bundle",
        "configMap": { "name": "corporate-ca", "items": [{ "key": "bundle.pem", "path": "ca.crt" }] },
    });
    for api in [GraphApi::V1Alpha1, GraphApi::V1Beta1] {
        let (job, components) = pods(&[("A", "all"), ("B", "all")], api);
        assert_eq!(components.len(), 2);
        let workers = components.iter().filter(|pod| pod["initContainers"].is_array());
        let fetches: Vec<&Value> =
            workers.map(|pod| &pod["initContainers"][0]).chain([&job["containers"][0]]).collect();
        assert!(fetches.len() > 1);
        for container in fetches {
            assert_eq!(variable(container, "SSL_CERT_FILE"), path, "{container:#}");
            assert_eq!(variable(container, "HTTPS_PROXY"), Some(PROXY));
            assert_eq!((variable(container, "A"), variable(container, "B")), (Some("fetch"), Some("all")));
            assert!(has_ca_mount(container), "{container:#}");
        }
        for pod in components.iter().chain([&job]) {
            assert_eq!(ca_volume(pod), Some(&volume), "{pod:#}");
        }
        for main in components.iter().map(|pod| &pod["containers"][0]) {
            for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
                assert_eq!(variable(main, name), path, "{main:#}");
            }
            assert_eq!((variable(main, "HTTPS_PROXY"), variable(main, "A")), (None, Some("all")));
            assert!(has_ca_mount(main), "{main:#}");
        }
    }
}

#[test]
fn certificates_that_the_user_names_win() {
    let (job, components) = pods(&[("SSL_CERT_FILE", "/own.pem")], GraphApi::V1Beta1);
    for container in [&job["containers"][0], &components[1]["containers"][0]] {
        assert_eq!(variable(container, "SSL_CERT_FILE"), Some("/own.pem"), "{container:#}");
        let count = container["env"].as_array().expect("variables").iter();
        assert_eq!(count.filter(|one| one["name"] == "SSL_CERT_FILE").count(), 1);
    }
}

#[test]
fn jobs_that_do_not_ask_the_hub_do_not_need_the_config_map() {
    for action in [ModelJobAction::Check, ModelJobAction::Verify, ModelJobAction::Remove] {
        let job = model_job(&intent(&[]), action, "serving").expect("a model on a PVC").object;
        assert!(!job.to_string().contains("ca-bundle") && !job.to_string().contains(PROXY), "{job:#}");
    }
}
