//! Every configuration feature of the starter kit's page, by name: checks it for the release that the kit
//! offers it for and for the newest one.

use serde_json::Value;

use crate::requests::TestFolder;

const MODEL: &str = "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8";
const RELEASES: [(&str, &str); 2] = [("0.9.1", "v1alpha1"), ("1.6.1", "v1beta1")];

/// The rendered objects of an intent for one release.
struct RenderedObjects(Vec<Value>);

impl RenderedObjects {
    #[track_caller]
    fn render(flags: &[&str], (release, api): (&str, &str)) -> Self {
        let folder = TestFolder::new();
        let args =
            ["render", MODEL, "--release", release, "--graph-api", api, "-o", "json", "-n", "dynamo-system"];
        let list: Value =
            serde_json::from_str(&folder.run_successfully(&[&args[..], flags].concat())).expect("JSON");
        Self(list["items"].as_array().expect("a list").clone())
    }

    fn find_kind(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind)
    }

    fn graph(&self) -> &Value {
        self.find_kind("DynamoGraphDeployment").expect("a graph")
    }

    /// Returns the component, in either API version.
    fn component(&self, name: &str) -> Option<Value> {
        let spec = &self.graph()["spec"];
        let beta = spec["components"].as_array().into_iter().flatten();
        let beta = beta.into_iter().find(|component| component["name"] == name);
        beta.or(spec["services"].get(name)).cloned()
    }

    fn container(&self, component: &str) -> Value {
        let component = self.component(component).expect("the component");
        match component["podTemplate"]["spec"]["containers"][0].clone() {
            Value::Null => component["extraPodSpec"]["mainContainer"].clone(),
            container => container,
        }
    }

    fn args(&self, component: &str) -> String {
        let container = self.container(component);
        let args = container["args"].as_array().expect("arguments").iter();
        args.map(|arg| arg.as_str().expect("a text")).collect::<Vec<_>>().join(" ")
    }

    fn variable(&self, component: &str, name: &str) -> Option<String> {
        let service_env = self.component(component).expect("the component")["envs"].clone();
        let container_env = self.container(component)["env"].clone();
        let all = [service_env, container_env];
        let mut all = all.iter().filter_map(Value::as_array).flatten();
        let found = all.find(|variable| variable["name"] == name)?;
        Some(found["value"].as_str().unwrap_or_default().to_owned())
    }

    fn gpus(&self, component: &str) -> String {
        let beta = self.container(component)["resources"]["limits"]["nvidia.com/gpu"].clone();
        let alpha = self.component(component).expect("the component")["resources"]["limits"]["gpu"].clone();
        beta.as_str().or(alpha.as_str()).unwrap_or_default().to_owned()
    }

    fn to_text(&self) -> String {
        Value::from(self.0.clone()).to_string()
    }
}

#[test]
fn renders_aggregated_and_disaggregated_modes() {
    for release in RELEASES {
        let aggregated = RenderedObjects::render(&["--mode", "agg"], release);
        assert!(aggregated.component("worker").is_some() && aggregated.component("prefill").is_none());
        let disaggregated = RenderedObjects::render(&["--mode", "disagg"], release);
        assert!(disaggregated.component("prefill").is_some() && disaggregated.component("decode").is_some());
    }
}

#[test]
fn disaggregated_workers_use_nixl() {
    for release in RELEASES {
        let disaggregated = RenderedObjects::render(&["--mode", "disagg"], release);
        for role in ["prefill", "decode"] {
            assert!(
                disaggregated.args(role).to_lowercase().contains("nixl"),
                "{release:?} {}",
                disaggregated.args(role)
            );
        }
    }
}

#[test]
fn parallelism_and_replicas_are_set_per_role() {
    let flags = ["--mode", "disagg", "--prefill-tp", "2", "--prefill-replicas", "2", "--decode-tp", "4"];
    let flags =
        [&flags[..], &["--decode-pp", "2", "--decode-replicas", "4", "--enable-expert-parallel"]].concat();
    for release in RELEASES {
        let disaggregated = RenderedObjects::render(&flags, release);
        assert_eq!((disaggregated.gpus("prefill"), disaggregated.gpus("decode")), ("2".into(), "8".into()));
        assert_eq!(disaggregated.component("decode").expect("decode")["replicas"], 4);
        let decode = disaggregated.args("decode");
        for expected in ["--tensor-parallel-size 4", "--pipeline-parallel-size 2", "--enable-expert-parallel"]
        {
            assert!(decode.contains(expected), "{decode}");
        }
    }
}

#[test]
fn plan_reports_total_gpus() {
    let folder = TestFolder::new();
    let flags = ["render", MODEL, "--graph-api", "v1beta1", "--release", "1.6.1", "--plan", "-o", "json"];
    let mode_flags = ["--mode", "disagg", "--prefill-tp", "2", "--prefill-replicas", "2", "--decode-tp", "4"];
    let plan = folder.run_successfully(&[&flags[..], &mode_flags, &["--decode-replicas", "4"]].concat());
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["gpus"], 20, "{plan:#}");
}

#[test]
fn kv_router_sets_temperature_and_overlap_weight() {
    let flags = ["--router-mode", "kv", "--router-temperature", "0.5", "--router-overlap-weight", "1"];
    for (release, weight) in
        RELEASES.into_iter().zip(["DYN_KV_OVERLAP_SCORE_WEIGHT", "DYN_ROUTER_PREFILL_LOAD_SCALE"])
    {
        let routed = RenderedObjects::render(&[&flags[..], &["--replicas", "2"]].concat(), release);
        for (name, value) in [("DYN_ROUTER_MODE", "kv"), ("DYN_ROUTER_TEMPERATURE", "0.5"), (weight, "1")] {
            assert_eq!(routed.variable("frontend", name).as_deref(), Some(value), "{release:?}: {name}");
        }
    }
}

#[test]
fn kv_events_are_configured_where_the_release_requires_it() {
    // 0.9 publishes events by default; later releases need a setting, and in disaggregated mode prefill gets
    // it.
    let [oldest, newest] = RELEASES
        .map(|release| RenderedObjects::render(&["--mode", "disagg", "--router-mode", "kv"], release));
    assert!(!oldest.args("prefill").contains("--kv-events-config"));
    assert!(newest.args("prefill").contains("--kv-events-config"));
    assert!(!newest.args("decode").contains("--kv-events-config"));
}

#[test]
fn kv_offload_sets_cpu_and_disk_tiers() {
    for release in RELEASES {
        let tiers = RenderedObjects::render(&["--kv-offload", "cpu=20G,disk=200G"], release);
        assert_eq!(tiers.variable("worker", "DYN_KVBM_CPU_CACHE_GB").as_deref(), Some("20"));
        assert_eq!(tiers.variable("worker", "DYN_KVBM_DISK_CACHE_GB").as_deref(), Some("200"));
        assert!(tiers.args("worker").to_lowercase().contains("kvbm"), "{}", tiers.args("worker"));
    }
}

#[test]
fn disk_tier_uses_the_mounted_volume_and_can_disable_its_filter() {
    let disk =
        ["--kv-offload", "cpu=20G,disk=200G", "--kv-offload-disk-volume", "hostPath=/mnt/nvme/kvbm_cache"];
    let unfiltered = [&disk[..], &["--env", "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER=true"]].concat();
    for release in RELEASES {
        let filtered = RenderedObjects::render(&disk, release);
        let folder = filtered.variable("worker", "DYN_KVBM_DISK_CACHE_DIR").expect("a folder");
        let mounts = filtered.container("worker")["volumeMounts"].clone();
        let mounted = mounts.as_array().expect("mounts").iter().any(|mount| mount["mountPath"] == *folder);
        assert!(mounted && filtered.to_text().contains("/mnt/nvme/kvbm_cache"), "{mounts}");
        let filter = "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER";
        assert_eq!(filtered.variable("worker", filter), None, "the filter has Dynamo's default");
        let off = RenderedObjects::render(&unfiltered, release).variable("worker", filter);
        assert_eq!(off.as_deref(), Some("true"));
    }
}

#[test]
fn disaggregated_mode_offloads_only_on_prefill() {
    for release in RELEASES {
        let disaggregated =
            RenderedObjects::render(&["--mode", "disagg", "--kv-offload", "cpu=20G"], release);
        assert!(disaggregated.variable("prefill", "DYN_KVBM_CPU_CACHE_GB").is_some());
        assert_eq!(disaggregated.variable("decode", "DYN_KVBM_CPU_CACHE_GB"), None);
    }
}

#[test]
fn model_is_fetched_into_opt_models_before_the_graph() {
    for release in RELEASES {
        let objects = RenderedObjects::render(&["--backend", "vllm"], release);
        assert!(objects.args("worker").contains(&format!("--model /opt/models/{MODEL}")));
        let kinds: Vec<&Value> = objects.0.iter().map(|object| &object["kind"]).collect();
        assert_eq!(kinds, ["PersistentVolumeClaim", "Job", "DynamoGraphDeployment"]);
        let storage = &objects.0[0]["spec"]["resources"]["requests"]["storage"];
        assert_eq!(storage, "500Gi");
        let fetch = objects.0[1]["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        assert!(fetch.contains(MODEL) && fetch.contains("/opt/models"), "{fetch}");
    }
}

#[test]
fn serves_the_model_under_its_hub_id() {
    for release in RELEASES {
        let objects = RenderedObjects::render(&[], release);
        assert!(objects.args("worker").contains(&format!("--served-model-name {MODEL}")));
    }
}

#[test]
fn graph_has_documented_namespace_and_name() {
    for release in RELEASES {
        let graph = RenderedObjects::render(&["--name", "qwen"], release).graph().clone();
        assert_eq!(graph["metadata"]["namespace"], "dynamo-system");
        // The operator names the Service `<deployment>-<component>` with port 8000: verification uses it.
        assert_eq!(graph["metadata"]["name"], "qwen");
        assert!(graph["spec"].to_string().contains("frontend"));
    }
}

#[test]
fn imported_release_version_selects_the_image() {
    let folder = TestFolder::new();
    let version = r#"{"platform":{"k8s":{"dynamoPlatform":{"releaseVersion":"0.9.1-post2"}}}}"#;
    folder.write("config.json", version);
    folder.run_successfully(&["config", "import-kit", "config.json"]);
    let objects = folder.run_successfully(&["render", MODEL, "--graph-api", "v1alpha1"]);
    assert!(objects.contains("image: nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1\n"), "{objects}");
}

#[test]
fn engine_args_reach_every_worker() {
    let engine_args =
        "--gpu-memory-utilization 0.90 --block-size 128 --quantization fp8 --max-model-len 8192";
    let flags: Vec<&str> = ["--mode", "disagg", "--"].into_iter().chain(engine_args.split(' ')).collect();
    for release in RELEASES {
        let disaggregated = RenderedObjects::render(&flags, release);
        for role in ["prefill", "decode"] {
            assert!(disaggregated.args(role).ends_with(engine_args), "{}", disaggregated.args(role));
        }
    }
}

#[test]
fn only_gated_models_reference_the_token_secret() {
    for release in RELEASES {
        let public = RenderedObjects::render(&[], release).to_text();
        assert!(!public.contains("secretKeyRef") && !public.contains("envFrom"), "{public}");
        let gated = RenderedObjects::render(&["--hf-token-secret", "hf-token-secret"], release);
        let reference = r#""secretKeyRef":{"key":"HF_TOKEN","name":"hf-token-secret"}"#;
        // The Job, the init containers, and the worker.
        assert!(gated.to_text().matches(reference).count() >= 3, "{}", gated.to_text());
    }
}

#[test]
fn workers_get_tolerations_and_node_selector() {
    let flags = ["--node-selector", "node.kubernetes.io/instance-family=p5"];
    let flags = [&flags[..], &["--toleration", "eks.amazonaws.com/compute-type=auto:NoSchedule"]].concat();
    for release in RELEASES {
        let worker =
            RenderedObjects::render(&flags, release).component("worker").expect("a worker").to_string();
        for expected in [
            "nvidia.com/gpu",
            "eks.amazonaws.com/compute-type",
            r#""node.kubernetes.io/instance-family":"p5""#,
        ] {
            assert!(worker.contains(expected), "{expected} is not in {worker}");
        }
    }
}
