//! Reading of recorded files: runs of aiconfigurator 0.12.0 for Qwen3-32B-FP8 on H200, and for Qwen3-30B-A3B-FP8 on H100.

use super::*;
use crate::code::MessageCode;
use crate::error::Explain;

/// The files of one row.
macro_rules! recorded_config {
    ($folder:literal, $top:literal) => {
        TopConfigFiles {
            generator_config: include_str!(concat!(
                "recorded/",
                $folder,
                "/",
                $top,
                "/generator_config.yaml"
            ))
            .into(),
            manifest: include_str!(concat!("recorded/", $folder, "/", $top, "/k8s_deploy.yaml")).into(),
        }
    };
}

fn aggregated() -> PredictionFiles {
    PredictionFiles {
        mode: TopologyMode::Aggregated,
        table: include_str!("recorded/agg/best_config_topn.csv").into(),
        configs: vec![recorded_config!("agg", "top1"), recorded_config!("agg", "top2")],
    }
}

fn disaggregated() -> PredictionFiles {
    PredictionFiles {
        mode: TopologyMode::Disaggregated,
        table: include_str!("recorded/disagg/best_config_topn.csv").into(),
        configs: vec![recorded_config!("disagg", "top1"), recorded_config!("disagg", "top2")],
    }
}

fn read(files: &PredictionFiles) -> Vec<Prediction> {
    read_predictions(files, 8).expect("recorded files")
}

#[test]
fn aggregated_row_becomes_workers_and_speed() {
    let predictions = read(&aggregated());
    let [best, second] = predictions.as_slice() else { panic!("two rows: {predictions:?}") };
    let Topology::Aggregated { worker } = &best.topology else { panic!("{best:?}") };
    assert_eq!((worker.replicas, worker.parallelism, worker.nodes), (8, Parallelism::default(), 1));
    assert_eq!(
        worker.engine_args,
        ["--kv-cache-dtype=fp8", "--max-num-seqs=512", "--max-num-batched-tokens=6012"]
    );
    assert_eq!((best.ttft, best.itl, best.tokens_per_second_per_gpu), (468.627, 27.651, 568.987));
    // A row describes one replica of eight.
    assert!((best.requests_per_second - 4.56).abs() < 1e-9 && best.concurrency == 128.0, "{best:?}");
    assert_eq!((best.gpus(), best.vllm_version.as_str()), (8, "0.24.0"));
    assert_eq!(best.roles[0].batch, 16);
    assert!((best.roles[0].memory as f64 / f64::from(1 << 30) - 45.9).abs() < 0.01, "{best:?}");
    assert_eq!((second.gpus(), second.topology.groups()[0].1.parallelism.tensor), (8, 2));
}

#[test]
fn disaggregated_row_is_multiplied_to_all_gpus() {
    let best = &read(&disaggregated())[0];
    let Topology::Disaggregated { prefill, decode } = &best.topology else { panic!("{best:?}") };
    assert_eq!((prefill.replicas, decode.replicas, best.gpus()), (2, 6, 8));
    assert_eq!(prefill.engine_args[1], "--max-num-seqs=1");
    assert_eq!(decode.engine_args.last().map(String::as_str), Some("--max-num-batched-tokens=512"));
    assert!((best.requests_per_second - 4.112).abs() < 1e-9, "{best:?}");
    assert_eq!((best.roles[0].role, best.roles[1].batch), (WorkerRole::Prefill, 22));
}

#[test]
fn experts_and_data_parallelism_are_kept_and_large_workers_span_nodes() {
    let files = PredictionFiles {
        mode: TopologyMode::Disaggregated,
        table: include_str!("recorded/moe/best_config_topn.csv").into(),
        configs: vec![recorded_config!("moe", "top1")],
    };
    let decode = |gpus_per_node: u32| {
        let best = read_predictions(&files, gpus_per_node).expect("recorded files").remove(0);
        best.topology.groups()[1].1.clone()
    };
    assert_eq!(decode(8).parallelism, Parallelism { data: 8, expert: true, ..Parallelism::default() });
    assert_eq!((decode(8).nodes, decode(4).nodes), (1, 2));
    let best = &read_predictions(&files, 4).expect("recorded files")[0];
    // The worker was predicted on one node of eight GPUs.
    assert!(best.assumes_larger_nodes(4) && !best.assumes_larger_nodes(8));
}

#[test]
fn load_multiplies_the_unit_beyond_a_node() {
    let files = PredictionFiles {
        mode: TopologyMode::Aggregated,
        table: include_str!("recorded/load/best_config_topn.csv").into(),
        configs: vec![recorded_config!("load", "top1")],
    };
    let best = &read(&files)[0];
    assert_eq!(best.gpus(), 18);
    assert!(best.requests_per_second >= 10.0, "{best:?}");
}

#[test]
fn lowest_latencies_come_from_any_row() {
    let (ttft, itl) = best_latencies(&aggregated().table).expect("rows");
    assert_eq!((ttft, itl), (336.95, 27.651));
}

#[test]
fn value_auto_is_the_default_of_the_engine() {
    let args = ["--kv-cache-dtype", "auto", "--max-num-seqs", "512", "--trust-remote-code"].map(Into::into);
    assert_eq!(carried_args(&args), ["--max-num-seqs=512", "--trust-remote-code"]);
}

#[test]
fn unusable_files_are_named() {
    let complete = aggregated();
    let changed = |change: fn(&mut PredictionFiles)| {
        let mut files = complete.clone();
        change(&mut files);
        read_predictions(&files, 8).expect_err("unusable")
    };
    for (error, part) in [
        (changed(|files| files.table.clear()), "best_config_topn.csv of aiconfigurator"),
        (changed(|files| files.table = files.table.replace("tokens/s/gpu,", "tokens,")), "tokens/s/gpu"),
        (changed(|files| files.table = files.table.replace(",memory,", ",memories,")), "column \"memory\""),
        (changed(|files| files.table = files.table.replace("468.627", "many")), "best_config_topn.csv"),
        (changed(|files| files.configs.truncate(1)), "2 rows, but 1 configurations"),
        (
            changed(|files| files.configs[0].generator_config = "params: {}".into()),
            "generator_config.yaml of aiconfigurator",
        ),
        (
            changed(|files| {
                let text = &mut files.configs[0].generator_config;
                *text = text.replace("agg_workers: 8", "agg_workers: 0");
            }),
            "0 GPUs are not a multiple",
        ),
        (
            changed(|files| {
                let text = &mut files.configs[0].generator_config;
                *text = text.replace("tensor_parallel_size: 1", "tensor_parallel_size: 0");
            }),
            "role worker does not have a parallelism",
        ),
        (changed(|files| files.configs[1].manifest = "spec: {services: {}}".into()), "engine arguments"),
        (changed(|files| files.configs[1].manifest = "a: [".into()), "k8s_deploy.yaml"),
    ] {
        assert_eq!(error.code(), Some(MessageCode::PredictionFileInvalid));
        assert!(error.to_string().contains(part), "`{error}` must contain `{part}`");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
