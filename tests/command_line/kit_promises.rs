//! Every promise of the starter kit's page that concerns configuration, by name: what it offers is kept here, in the
//! release it offers it for and in the newest.

use serde_json::Value;

use crate::requests::Place;

const MODEL: &str = "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8";
const RELEASES: [(&str, &str); 2] = [("0.9.1", "v1alpha1"), ("1.6.1", "v1beta1")];

/// The objects of a wish for one release.
struct Rendered(Vec<Value>);

impl Rendered {
    #[track_caller]
    fn of(flags: &[&str], (release, api): (&str, &str)) -> Self {
        let place = Place::new();
        let shape =
            ["render", MODEL, "--release", release, "--graph-api", api, "-o", "json", "-n", "dynamo-system"];
        let list: Value = serde_json::from_str(&place.prints(&[&shape[..], flags].concat())).expect("JSON");
        Self(list["items"].as_array().expect("a list").clone())
    }

    fn kind(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind)
    }

    fn graph(&self) -> &Value {
        self.kind("DynamoGraphDeployment").expect("a graph")
    }

    /// The component, in either shape.
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
        let of_service = self.component(component).expect("the component")["envs"].clone();
        let of_container = self.container(component)["env"].clone();
        let all = [of_service, of_container];
        let mut all = all.iter().filter_map(Value::as_array).flatten();
        let found = all.find(|variable| variable["name"] == name)?;
        Some(found["value"].as_str().unwrap_or_default().to_owned())
    }

    fn gpus(&self, component: &str) -> String {
        let beta = self.container(component)["resources"]["limits"]["nvidia.com/gpu"].clone();
        let alpha = self.component(component).expect("the component")["resources"]["limits"]["gpu"].clone();
        beta.as_str().or(alpha.as_str()).unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        Value::from(self.0.clone()).to_string()
    }
}

#[test]
fn aggregated_and_disaggregated_modes() {
    for release in RELEASES {
        let together = Rendered::of(&["--mode", "agg"], release);
        assert!(together.component("worker").is_some() && together.component("prefill").is_none());
        let apart = Rendered::of(&["--mode", "disagg"], release);
        assert!(apart.component("prefill").is_some() && apart.component("decode").is_some());
    }
}

#[test]
fn nixl_moves_the_kv_cache_from_prefill_to_decode() {
    for release in RELEASES {
        let apart = Rendered::of(&["--mode", "disagg"], release);
        for role in ["prefill", "decode"] {
            assert!(apart.args(role).to_lowercase().contains("nixl"), "{release:?} {}", apart.args(role));
        }
    }
}

#[test]
fn tensor_pipeline_and_expert_parallelism_and_replicas_of_each_role() {
    let flags = ["--mode", "disagg", "--prefill-tp", "2", "--prefill-replicas", "2", "--decode-tp", "4"];
    let flags =
        [&flags[..], &["--decode-pp", "2", "--decode-replicas", "4", "--enable-expert-parallel"]].concat();
    for release in RELEASES {
        let apart = Rendered::of(&flags, release);
        assert_eq!((apart.gpus("prefill"), apart.gpus("decode")), ("2".into(), "8".into()));
        assert_eq!(apart.component("decode").expect("decode")["replicas"], 4);
        let decode = apart.args("decode");
        for said in ["--tensor-parallel-size 4", "--pipeline-parallel-size 2", "--enable-expert-parallel"] {
            assert!(decode.contains(said), "{decode}");
        }
    }
}

#[test]
fn the_total_of_gpus_is_told() {
    let place = Place::new();
    let flags = ["render", MODEL, "--graph-api", "v1beta1", "--release", "1.6.1", "--plan", "-o", "json"];
    let shape = ["--mode", "disagg", "--prefill-tp", "2", "--prefill-replicas", "2", "--decode-tp", "4"];
    let plan = place.prints(&[&flags[..], &shape, &["--decode-replicas", "4"]].concat());
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["gpus"], 20, "{plan:#}");
}

#[test]
fn the_kv_router_with_temperature_and_overlap_weight() {
    let flags = ["--router-mode", "kv", "--router-temperature", "0.5", "--router-overlap-weight", "1"];
    for (release, weight) in
        RELEASES.into_iter().zip(["DYN_KV_OVERLAP_SCORE_WEIGHT", "DYN_ROUTER_PREFILL_LOAD_SCALE"])
    {
        let routed = Rendered::of(&[&flags[..], &["--replicas", "2"]].concat(), release);
        for (name, value) in [("DYN_ROUTER_MODE", "kv"), ("DYN_ROUTER_TEMPERATURE", "0.5"), (weight, "1")] {
            assert_eq!(routed.variable("frontend", name).as_deref(), Some(value), "{release:?}: {name}");
        }
    }
}

#[test]
fn kv_events_are_automatic() {
    // 0.9 announces by itself; later releases must be told, and in disaggregated mode prefill is.
    let [oldest, newest] =
        RELEASES.map(|release| Rendered::of(&["--mode", "disagg", "--router-mode", "kv"], release));
    assert!(!oldest.args("prefill").contains("--kv-events-config"));
    assert!(newest.args("prefill").contains("--kv-events-config"));
    assert!(!newest.args("decode").contains("--kv-events-config"));
}

#[test]
fn kv_offload_to_cpu_memory_and_disk() {
    for release in RELEASES {
        let tiers = Rendered::of(&["--kv-offload", "cpu=20G,disk=200G"], release);
        assert_eq!(tiers.variable("worker", "DYN_KVBM_CPU_CACHE_GB").as_deref(), Some("20"));
        assert_eq!(tiers.variable("worker", "DYN_KVBM_DISK_CACHE_GB").as_deref(), Some("200"));
        assert!(tiers.args("worker").to_lowercase().contains("kvbm"), "{}", tiers.args("worker"));
    }
}

#[test]
fn the_disk_tier_has_a_folder_on_a_real_volume_and_its_filter() {
    let disk =
        ["--kv-offload", "cpu=20G,disk=200G", "--kv-offload-disk-volume", "hostPath=/mnt/nvme/kvbm_cache"];
    let unfiltered = [&disk[..], &["--env", "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER=true"]].concat();
    for release in RELEASES {
        let filtered = Rendered::of(&disk, release);
        let folder = filtered.variable("worker", "DYN_KVBM_DISK_CACHE_DIR").expect("a folder");
        let mounts = filtered.container("worker")["volumeMounts"].clone();
        let mounted = mounts.as_array().expect("mounts").iter().any(|mount| mount["mountPath"] == *folder);
        assert!(mounted && filtered.text().contains("/mnt/nvme/kvbm_cache"), "{mounts}");
        let filter = "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER";
        assert_eq!(filtered.variable("worker", filter), None, "the filter is on as Dynamo has it");
        let off = Rendered::of(&unfiltered, release).variable("worker", filter);
        assert_eq!(off.as_deref(), Some("true"));
    }
}

#[test]
fn only_prefill_offloads_when_disaggregated() {
    for release in RELEASES {
        let apart = Rendered::of(&["--mode", "disagg", "--kv-offload", "cpu=20G"], release);
        assert!(apart.variable("prefill", "DYN_KVBM_CPU_CACHE_GB").is_some());
        assert_eq!(apart.variable("decode", "DYN_KVBM_CPU_CACHE_GB"), None);
    }
}

#[test]
fn the_model_lies_below_opt_models_and_is_fetched_first() {
    for release in RELEASES {
        let objects = Rendered::of(&["--backend", "vllm"], release);
        assert!(objects.args("worker").contains(&format!("--model /opt/models/{MODEL}")));
        let kinds: Vec<&Value> = objects.0.iter().map(|object| &object["kind"]).collect();
        assert_eq!(kinds, ["PersistentVolumeClaim", "Job", "DynamoGraphDeployment"]);
        let claim = &objects.0[0]["spec"]["resources"]["requests"]["storage"];
        assert_eq!(claim, "500Gi");
        let fetch = objects.0[1]["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        assert!(fetch.contains(MODEL) && fetch.contains("/opt/models"), "{fetch}");
    }
}

#[test]
fn it_is_served_under_its_hub_id() {
    for release in RELEASES {
        let objects = Rendered::of(&[], release);
        assert!(objects.args("worker").contains(&format!("--served-model-name {MODEL}")));
    }
}

#[test]
fn the_namespace_and_the_frontend_service_are_where_the_page_says() {
    for release in RELEASES {
        let graph = Rendered::of(&["--name", "qwen"], release).graph().clone();
        assert_eq!(graph["metadata"]["namespace"], "dynamo-system");
        // The operator names the Service `<deployment>-<component>`, port 8000: verification goes there.
        assert_eq!(graph["metadata"]["name"], "qwen");
        assert!(graph["spec"].to_string().contains("frontend"));
    }
}

#[test]
fn release_version_of_config_json_chooses_the_image() {
    let place = Place::new();
    let version = r#"{"platform":{"k8s":{"dynamoPlatform":{"releaseVersion":"0.9.1-post2"}}}}"#;
    place.write("config.json", version);
    place.prints(&["config", "import-kit", "config.json"]);
    let objects = place.prints(&["render", MODEL, "--graph-api", "v1alpha1"]);
    assert!(objects.contains("image: nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1\n"), "{objects}");
}

#[test]
fn further_vllm_arguments_reach_every_worker() {
    let more = "--gpu-memory-utilization 0.90 --block-size 128 --quantization fp8 --max-model-len 8192";
    let flags: Vec<&str> = ["--mode", "disagg", "--"].into_iter().chain(more.split(' ')).collect();
    for release in RELEASES {
        let apart = Rendered::of(&flags, release);
        for role in ["prefill", "decode"] {
            assert!(apart.args(role).ends_with(more), "{}", apart.args(role));
        }
    }
}

#[test]
fn a_token_is_taken_from_its_secret_and_public_models_need_none() {
    for release in RELEASES {
        let public = Rendered::of(&[], release).text();
        assert!(!public.contains("secretKeyRef") && !public.contains("envFrom"), "{public}");
        let gated = Rendered::of(&["--hf-token-secret", "hf-token-secret"], release);
        let reference = r#""secretKeyRef":{"key":"HF_TOKEN","name":"hf-token-secret"}"#;
        // The Job, the init containers and the worker.
        assert!(gated.text().matches(reference).count() >= 3, "{}", gated.text());
    }
}

#[test]
fn gpu_nodes_are_tolerated_and_an_instance_family_is_a_label() {
    let flags = ["--node-selector", "node.kubernetes.io/instance-family=p5"];
    let flags = [&flags[..], &["--toleration", "eks.amazonaws.com/compute-type=auto:NoSchedule"]].concat();
    for release in RELEASES {
        let worker = Rendered::of(&flags, release).component("worker").expect("a worker").to_string();
        for said in [
            "nvidia.com/gpu",
            "eks.amazonaws.com/compute-type",
            r#""node.kubernetes.io/instance-family":"p5""#,
        ] {
            assert!(worker.contains(said), "{said} is not in {worker}");
        }
    }
}
