//! `fit`: what of a model lies on each GPU, for each way to split it, and how many requests that leaves room for.

mod model;
mod roles;

use clap::Args;
use serde_json::{Value, json};

use super::serving_flags::MemoryFlags;
use super::table::table;
use super::{Context, print_data, words};
use crate::error::{Exit, Explain, Result};
use crate::fit::{
    Architecture, EngineMemory, Fit, Hardware, HardwareError, Misfit, Worker, fit, misfits, weights_at_least,
};
use crate::intent::request::Merged;
use crate::intent::{Parallelism, Word};
pub(super) use model::weight_bytes;
use model::{Weighed, weighed};

/// Show where a model fits: weights and KV cache on each GPU, for each way to split it
///
/// Of a model on the hub only its listing and config.json are read. Nothing is asked of a cluster.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FitArgs {
    /// A hub id (org/name, optionally @revision), or a folder
    pub model: String,
    /// The GPUs: model, those of a node, and nodes
    #[arg(long, value_name = "NAME[:GPUS[xNODES]]", default_value = "h100-80g:8")]
    pub gpu: String,
    #[command(flatten)]
    pub shape: MemoryFlags,
    /// Tokens of the longest request; the model's own when absent
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub max_model_len: Option<u64>,
    /// Output format
    #[arg(short, long, value_parser = words::<FitFormat>(), default_value = "table")]
    pub output: FitFormat,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo fit Qwen/Qwen3-32B                          on one node of eight H100
  kubectl dynamo fit Qwen/Qwen3-32B --gpu l40s:4 --max-model-len 32K
  kubectl dynamo fit ./model --gpu h200-141g:8x2 -- --kv-cache-dtype fp8
  kubectl dynamo fit Qwen/Qwen3-32B --gpu h100-80g:8x2 --mode disagg --prefill-tp 2 --decode-tp 4";

/// How the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FitFormat {
    Table,
    Json,
}

impl Word for FitFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
        }
    }
}

fn tokens(text: &str) -> std::result::Result<u64, String> {
    crate::fit::tokens(text)
        .filter(|tokens| *tokens > 0)
        .ok_or_else(|| "expected tokens, as in 8192 or 32K".into())
}

/// Hardware that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--gpu: {0}")]
struct NoHardware(HardwareError);

impl Explain for NoHardware {
    fn code(&self) -> Option<&'static str> {
        Some("KD0005")
    }

    fn hint(&self) -> Option<String> {
        Some("for example --gpu h100-80g:8x4, four nodes of eight".into())
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn run(args: FitArgs, context: &Context) -> Result<Exit> {
    let hardware: Hardware = args.gpu.parse().map_err(NoHardware)?;
    let weighed = weighed(&args.model, context).await?;
    let architecture = Architecture::from_config(&weighed.config);
    if let Err(unknown) = &architecture {
        let text = format!("{unknown}, so only weights are counted, split evenly");
        context.report.warn(Some("KD0441"), text, None);
    }
    let said = Merged::of([args.shape.layer()?]);
    let question = Question::new(&args, &said, hardware, architecture.ok(), weighed);
    if roles::is_whole(&said) {
        return roles::answer(&question, said, args.output);
    }
    let rows: Vec<Row> = question.shapes(&said).into_iter().map(|shape| question.row(shape)).collect();
    print_data(&match args.output {
        FitFormat::Table => question.screen(&rows),
        FitFormat::Json => format!("{:#}\n", question.document(&rows)),
    })?;
    Ok(if rows.iter().any(Row::fits) { Exit::Ok } else { Exit::DoesNotFit })
}

/// A model, hardware, and what the engine will be told.
#[derive(Clone)]
struct Question {
    hardware: Hardware,
    architecture: Option<Architecture>,
    weighed: Weighed,
    engine: EngineMemory,
    longest_request: u64,
    expert: bool,
}

/// One way to split the model.
struct Row {
    shape: Parallelism,
    nodes: u32,
    weights: u64,
    /// Absent where the architecture is not known.
    fit: Option<Fit>,
    verdict: Verdict,
}

/// What comes of it.
enum Verdict {
    Fits,
    /// So many tokens are the most that one request can have.
    TooShort {
        tokens: u64,
    },
    TooLarge,
    Impossible(Misfit),
}

impl Row {
    fn fits(&self) -> bool {
        matches!(self.verdict, Verdict::Fits)
    }
}

impl Question {
    fn new(
        args: &FitArgs,
        said: &Merged,
        hardware: Hardware,
        architecture: Option<Architecture>,
        weighed: Weighed,
    ) -> Self {
        let engine_args = said.all("engineArgs").filter_map(|found| found.leaf.value.as_array()).flatten();
        let engine_args: Vec<String> =
            engine_args.filter_map(|arg| arg.as_str().map(ToOwned::to_owned)).collect();
        let engine = EngineMemory::of(&engine_args);
        let own = architecture.as_ref().map_or(0, |architecture| architecture.longest_request);
        let longest_request = args.max_model_len.or(engine.longest_request).unwrap_or(own);
        let expert = said.get("worker.enableExpertParallel").is_some_and(|found| found.leaf.value == true);
        Self { hardware, architecture, weighed, engine, longest_request, expert }
    }

    /// The shapes worth looking at: within a node by tensor, over nodes by pipeline, each a power of two.
    fn shapes(&self, said: &Merged) -> Vec<Parallelism> {
        let only = |path: &str| {
            let count = said.get(path)?.leaf.value.as_u64()?;
            u32::try_from(count).ok().filter(|count| *count > 0)
        };
        let of = |tensor: u32, pipeline: u32| Parallelism { tensor, pipeline, data: 1, expert: self.expert };
        let doubled = |most: u32| {
            std::iter::successors(Some(1_u32), |n| n.checked_mul(2)).take_while(move |n| *n <= most)
        };
        match (only("worker.tensorParallelSize"), only("worker.pipelineParallelSize")) {
            (Some(tensor), Some(pipeline)) => vec![of(tensor, pipeline)],
            (Some(tensor), None) => {
                doubled(self.hardware.gpus() / tensor.max(1)).map(|n| of(tensor, n)).collect()
            }
            (None, Some(pipeline)) => {
                doubled(self.hardware.gpus() / pipeline.max(1)).map(|n| of(n, pipeline)).collect()
            }
            (None, None) => {
                let widest = doubled(self.hardware.gpus_per_node).last().unwrap_or(1);
                let within = doubled(self.hardware.gpus_per_node).map(|n| of(n, 1));
                within.chain(doubled(self.hardware.nodes).skip(1).map(|n| of(widest, n))).collect()
            }
        }
    }

    fn row(&self, shape: Parallelism) -> Row {
        let nodes = shape.gpus().div_ceil(self.hardware.gpus_per_node);
        let Some(architecture) = &self.architecture else {
            let weights = weights_at_least(self.weighed.bytes, shape);
            let usable = (self.hardware.gpu_memory as f64 * self.engine.utilization) as u64;
            let verdict = if weights < usable { Verdict::Fits } else { Verdict::TooLarge };
            return Row { shape, nodes, weights, fit: None, verdict };
        };
        let worker = Worker {
            parallelism: shape,
            gpu_memory: self.hardware.gpu_memory,
            utilization: self.engine.utilization,
            kv_precision: self.engine.kv_precision,
            longest_request: self.longest_request,
        };
        let fit = fit(architecture, self.weighed.bytes, &worker);
        let verdict = match misfits(architecture, shape).into_iter().next() {
            Some(misfit) => Verdict::Impossible(misfit),
            None if fit.serves() => Verdict::Fits,
            None if fit.kv_room == 0 => Verdict::TooLarge,
            None => Verdict::TooShort { tokens: fit.kv_room / fit.kv_per_token.max(1) },
        };
        Row { shape, nodes, weights: fit.weights, fit: Some(fit), verdict }
    }

    /// The model and the hardware, in two lines.
    fn heading(&self) -> String {
        let name = self.architecture.as_ref().map_or("of unknown architecture", |known| known.name.as_str());
        let mut text = format!("{} · {name} · {} of weights\n", self.weighed.name, size(self.weighed.bytes));
        text += &format!(
            "{} of {}, {:.0} % of it for the engine",
            self.hardware,
            size(self.hardware.gpu_memory),
            self.engine.utilization * 100.0
        );
        if self.longest_request > 0 {
            text += &format!(" · requests of {} tokens", self.longest_request);
        }
        text
    }

    fn screen(&self, rows: &[Row]) -> String {
        let rows = rows.iter().map(|row| {
            let of_fit = |show: &dyn Fn(&Fit) -> String| row.fit.as_ref().map_or_else(|| "-".into(), show);
            vec![
                row.shape.tensor.to_string(),
                row.shape.pipeline.to_string(),
                row.nodes.to_string(),
                size(row.weights),
                of_fit(&|fit| size(fit.kv_room)),
                of_fit(&|fit| size(fit.kv_per_request)),
                of_fit(&|fit| fit.requests().to_string()),
                said(&row.verdict),
            ]
        });
        let headings = ["TP", "PP", "NODES", "WEIGHTS", "KV ROOM", "A REQUEST", "AT ONCE", ""];
        format!("{}\n{}", self.heading(), table(&headings, rows.collect()))
    }

    fn row_document(&self, row: &Row) -> Value {
        json!({
            "tensorParallelSize": row.shape.tensor, "pipelineParallelSize": row.shape.pipeline,
            "nodes": row.nodes, "fits": row.fits(), "says": said(&row.verdict),
            "bytesOfEachGpu": {
                "weights": row.weights, "besides": row.fit.map(|fit| fit.besides),
                "kvRoom": row.fit.map(|fit| fit.kv_room), "kvOfOneToken": row.fit.map(|fit| fit.kv_per_token),
                "kvOfOneRequest": row.fit.map(|fit| fit.kv_per_request),
            },
            "requestsAtOnce": row.fit.map(|fit| fit.requests()),
        })
    }

    fn document_head(&self) -> Value {
        json!({
            "apiVersion": "kubectl-dynamo.dev/v1",
            "kind": "Fit",
            "model": self.weighed.name,
            "architecture": self.architecture.as_ref().map(|known| &known.name),
            "weightBytes": self.weighed.bytes,
            "hardware": self.hardware.to_string(),
            "gpuMemoryBytes": self.hardware.gpu_memory,
            "gpuMemoryUtilization": self.engine.utilization,
            "tokensOfLongestRequest": self.longest_request,
        })
    }

    fn document(&self, rows: &[Row]) -> Value {
        let mut document = self.document_head();
        document["shapes"] = rows.iter().map(|row| self.row_document(row)).collect();
        document
    }
}

/// Bytes of memory, so short that a row fits a terminal of 80 columns.
fn size(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        0.0 => "0".into(),
        mebibytes if mebibytes < 1024.0 => format!("{mebibytes:.0} MiB"),
        mebibytes => format!("{:.1} GiB", mebibytes / 1024.0),
    }
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fits => "fits".into(),
        Verdict::TooShort { tokens } => format!("max {tokens} tokens"),
        Verdict::TooLarge => "too large".into(),
        Verdict::Impossible(Misfit::Heads { heads, .. }) => format!("{heads} heads do not divide"),
        Verdict::Impossible(Misfit::KvHeads { kv_heads, .. }) => format!("{kv_heads} KV heads do not divide"),
        Verdict::Impossible(Misfit::NoExperts) => "has no experts".into(),
        Verdict::Impossible(Misfit::Layers { layers, .. }) => format!("has only {layers} layers"),
    }
}
