//! The speed that a recommendation predicts, next to what a run measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BenchRun, HeadlineMetric, LevelResult};
use crate::object::ObjectView;

/// The predicted values: the key in a recommendation, and the metric that measures the same. The predictor calculates
/// means.
const PREDICTED: [(&str, &str); 5] = [
    ("requestsPerSecond", "requests_per_second"),
    ("tokensPerSecondPerGpu", PER_GPU),
    ("tokensPerSecondPerUser", "output_tokens_per_second_per_user"),
    ("ttftMilliseconds", "ttft_avg"),
    ("itlMilliseconds", "itl_avg"),
];

/// The metric that depends on the number of GPUs.
const PER_GPU: &str = "output_tokens_per_second_per_gpu";

/// The speed of the recommended deployment at one load. It is not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PredictedSpeed {
    /// The program that predicted it with its version, such as `aiconfigurator 0.12.0`.
    pub predictor: String,
    /// The model ID.
    pub model: String,
    /// The GPUs as `--gpu` names them, such as `h200:8`.
    pub hardware: String,
    /// `agg` or `disagg`.
    pub mode: String,
    /// The GPUs of all workers.
    pub gpus: u32,
    /// Requests in flight.
    pub concurrency: u32,
    pub input_tokens: u32,
    pub output_tokens: u32,
    /// The values by metric, in the unit of the metric.
    pub values: BTreeMap<String, f64>,
}

/// A document that is not a recommendation.
#[derive(Debug, thiserror::Error)]
pub enum PredictionError {
    #[error("it is not a document of kind Recommendation")]
    WrongKind,
    #[error("it does not recommend a deployment")]
    NothingRecommended,
    #[error(transparent)]
    InvalidField(#[from] serde_json::Error),
    #[error("\"{field}\" is not a positive number")]
    NotPositive { field: &'static str },
}

/// The fields of a recommendation that are compared.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecommendationFields {
    model: String,
    hardware: String,
    predictor: PredictorFields,
    target: TargetFields,
    predictions: Vec<PredictionFields>,
}

#[derive(Deserialize)]
struct PredictorFields {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetFields {
    input_tokens: u32,
    output_tokens: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PredictionFields {
    is_recommended: bool,
    mode: String,
    gpus: u32,
    /// It can have a fraction.
    concurrency: f64,
    #[serde(flatten)]
    values: BTreeMap<String, Value>,
}

/// One predicted value next to the measured one.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedValue {
    /// The name of the metric.
    pub metric: &'static str,
    pub unit: &'static str,
    pub predicted: f64,
    /// `None` if the run does not have it.
    pub measured: Option<f64>,
}

impl PredictedValue {
    /// The measured value divided by the predicted one.
    pub fn ratio(&self) -> Option<f64> {
        self.measured.filter(|_| self.predicted > 0.0).map(|measured| measured / self.predicted)
    }
}

impl PredictedSpeed {
    /// Reads the recommended deployment from the document of `recommend -o json`.
    ///
    /// # Errors
    /// Another document, or a field that is missing.
    pub fn from_recommendation(document: Value) -> Result<Self, PredictionError> {
        if ObjectView::new(&document).kind() != "Recommendation" {
            return Err(PredictionError::WrongKind);
        }
        let RecommendationFields { model, hardware, predictor, target, predictions } =
            serde_json::from_value(document)?;
        let recommended = predictions.into_iter().find(|one| one.is_recommended);
        let recommended = recommended.ok_or(PredictionError::NothingRecommended)?;
        let positive = |field: &'static str, number: Option<f64>| {
            let number = number.filter(|number| *number > 0.0 && *number <= f64::from(u32::MAX));
            number.ok_or(PredictionError::NotPositive { field })
        };
        let value = |&(key, metric): &(&'static str, &str)| {
            let number = recommended.values.get(key).and_then(Value::as_f64);
            Ok((metric.to_owned(), positive(key, number)?))
        };
        let values = PREDICTED.iter().map(value).collect::<Result<_, PredictionError>>()?;
        let concurrency = positive("concurrency", Some(recommended.concurrency))?.round().max(1.0);
        positive("inputTokens", Some(target.input_tokens.into()))?;
        positive("outputTokens", Some(target.output_tokens.into()))?;
        Ok(Self {
            predictor: format!("{} {}", predictor.name, predictor.version),
            model,
            hardware,
            mode: recommended.mode,
            gpus: recommended.gpus,
            concurrency: concurrency as u32,
            input_tokens: target.input_tokens,
            output_tokens: target.output_tokens,
            values,
        })
    }

    /// The level of a run that measured the predicted load.
    fn level<'r>(&self, run: &'r BenchRun) -> Option<&'r LevelResult> {
        run.levels.iter().find(|level| level.load.concurrency() == Some(self.concurrency))
    }

    /// The predicted values next to those that the run measured at the same load.
    pub fn compare(&self, run: &BenchRun) -> Vec<PredictedValue> {
        let level = self.level(run);
        let compare = |&(_, metric): &(&str, &'static str)| {
            let measured = |level: &LevelResult| match metric {
                PER_GPU => level.output_tokens_per_second_per_gpu,
                metric => level.mean(metric),
            };
            Some(PredictedValue {
                metric,
                unit: HeadlineMetric::find(metric).map_or("tok/s", |metric| metric.unit),
                predicted: *self.values.get(metric)?,
                measured: level.and_then(measured),
            })
        };
        PREDICTED.iter().filter_map(compare).collect()
    }

    /// Why the values of a run are not comparable with the prediction; empty if nothing is known to differ.
    pub fn differences(&self, run: &BenchRun) -> Vec<String> {
        let mut differences = Vec::new();
        let deployment = run.target.deployment.as_ref();
        match run.target.gpus() {
            Some(gpus) if gpus == self.gpus => {}
            None if deployment.is_none() => {}
            gpus => {
                let number = |gpus: u32| if gpus == 1 { "1 GPU".into() } else { format!("{gpus} GPUs") };
                let used = gpus.map_or_else(|| "no GPU".into(), number);
                differences
                    .push(format!("the prediction is for {}, and the run used {used}", number(self.gpus)));
            }
        }
        let models = deployment.map(|deployment| &deployment.gpus_by_model);
        for model in models.into_iter().flatten().map(|(model, _)| model) {
            if !is_of_family(model, &self.hardware) {
                let hardware = &self.hardware;
                differences.push(format!("the prediction is for {hardware}, and the run used {model}"));
            }
        }
        let mode = deployment.and_then(|deployment| deployment.intent.pointer("/topology/mode")?.as_str());
        if let Some(mode) = mode.filter(|mode| *mode != self.mode) {
            differences.push(format!("the prediction is for mode {}, and the run used {mode}", self.mode));
        }
        let served = deployment.and_then(|deployment| served_model(&deployment.intent));
        if let Some(served) = served.filter(|served| *served != self.model) {
            differences.push(format!("the prediction is for {}, and the run used {served}", self.model));
        }
        differences
    }
}

/// Whether the product name of a GPU, such as `NVIDIA-A100-SXM4-80GB`, has the family in a value of `--gpu`, such as
/// `a100-80g:8x1`. `b200` is not a part of `NVIDIA-GB200`.
fn is_of_family(product: &str, hardware: &str) -> bool {
    let name = hardware.split(':').next().unwrap_or_default();
    let is_memory = |part: &str| part.strip_suffix('g').is_some_and(|size| size.parse::<u32>().is_ok());
    let family = name.rsplit_once('-').filter(|(_, last)| is_memory(last)).map_or(name, |(family, _)| family);
    let parts = |text: &str| text.to_lowercase().split([' ', '-']).map(str::to_owned).collect::<Vec<_>>();
    let (product, family) = (parts(product), parts(family));
    family.iter().all(|part| product.contains(part))
}

/// The model ID of a stored request; `None` for a model that is not from the hub.
fn served_model(intent: &Value) -> Option<&str> {
    intent.pointer("/model/repository")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::{
        BenchDeployment, BenchStatus, BenchTarget, BenchVerdict, BenchVersions, BenchWorkload, Estimate,
        LoadAnalysis, LoadLevel, WorkloadOptions,
    };

    fn recommendation() -> Value {
        let prediction = |rank: u32, recommended: bool| {
            json!({
                "rank": rank, "isRecommended": recommended, "mode": "agg", "gpus": 8,
                "tokensPerSecondPerGpu": 500.0 / f64::from(rank), "tokensPerSecondPerUser": 40.0,
                "requestsPerSecond": 8.0, "concurrency": 95.6, "ttftMilliseconds": 200.0, "itlMilliseconds": 25.0,
            })
        };
        json!({
            "kind": "Recommendation", "model": "org/model", "hardware": "h200-141g:8x1",
            "predictor": { "name": "aiconfigurator", "version": "0.12.0" },
            "target": { "inputTokens": 4000, "outputTokens": 500 },
            "predictions": [prediction(1, false), prediction(2, true)],
        })
    }

    /// A run of 4 H100 with a level of 96 requests in flight, where the time to the first token was 300 ms.
    fn run() -> BenchRun {
        let ttft = Estimate::from_values(&[300.0]).unwrap();
        let level = LevelResult {
            load: LoadLevel::Concurrency(96),
            summary: BTreeMap::from([("ttft_avg".into(), ttft)]),
            output_tokens_per_second_per_gpu: Some(125.0),
            runs: Vec::new(),
        };
        let deployment = BenchDeployment {
            name: "model".into(),
            place: "cluster".into(),
            namespace: Some("serving".into()),
            revision: None,
            generation: None,
            images: Vec::new(),
            gpus_by_model: BTreeMap::from([("NVIDIA-H100-80GB-HBM3".into(), 4)]),
            version: "1.6.1".into(),
            gpus: 4,
            intent: json!({
                "model": { "kind": "hub", "repository": "org/other" }, "topology": { "mode": "disagg" },
            }),
        };
        let target = BenchTarget {
            url: "http://model:8000/v1".into(),
            model: "model".into(),
            tokenizer: "/opt/models/org/model".into(),
            deployment: Some(deployment),
        };
        BenchRun {
            api_version: "kubectl-dynamo.dev/v1".into(),
            kind: "BenchRun".into(),
            name: "run".into(),
            status: BenchStatus::Completed,
            started_at: String::new(),
            finished_at: None,
            target,
            versions: BenchVersions { plugin: "1".into(), aiperf: "1".into() },
            workload: BenchWorkload::resolve(WorkloadOptions::default()).unwrap(),
            max_error_share: 0.0,
            levels: vec![level],
            prediction: None,
            analysis: LoadAnalysis::default(),
            verdict: BenchVerdict::default(),
        }
    }

    #[test]
    fn recommended_deployment_is_compared_at_its_load() {
        let predicted = PredictedSpeed::from_recommendation(recommendation()).unwrap();
        assert_eq!((predicted.concurrency, predicted.input_tokens, predicted.output_tokens), (96, 4000, 500));
        let ratios = |run: &BenchRun| -> Vec<_> {
            predicted.compare(run).iter().map(|value| (value.metric, value.ratio())).collect()
        };
        let expected = [
            ("requests_per_second", None),
            (PER_GPU, Some(0.5)),
            ("output_tokens_per_second_per_user", None),
            ("ttft_avg", Some(1.5)),
            ("itl_avg", None),
        ];
        assert_eq!(ratios(&run()), expected);
        let mut other_load = run();
        other_load.levels[0].load = LoadLevel::Concurrency(8);
        assert!(ratios(&other_load).iter().all(|(_, ratio)| ratio.is_none()), "another load is not compared");
    }

    #[test]
    fn differences_name_gpus_and_model() {
        let predicted = PredictedSpeed::from_recommendation(recommendation()).unwrap();
        let differences = predicted.differences(&run());
        assert_eq!(
            differences,
            [
                "the prediction is for 8 GPUs, and the run used 4 GPUs",
                "the prediction is for h200-141g:8x1, and the run used NVIDIA-H100-80GB-HBM3",
                "the prediction is for mode agg, and the run used disagg",
                "the prediction is for org/model, and the run used org/other",
            ]
        );
        let mut same = run();
        let deployment = same.target.deployment.as_mut().unwrap();
        deployment.gpus = 8;
        deployment.gpus_by_model = BTreeMap::from([("NVIDIA-H200".into(), 8)]);
        deployment.intent = json!({ "model": { "kind": "hub", "repository": "org/model" } });
        assert_eq!(predicted.differences(&same), [""; 0]);
    }

    #[test]
    fn family_is_compared_as_a_whole_word() {
        for (product, hardware, is_same) in [
            ("NVIDIA-H200", "h200:8x1", true),
            ("NVIDIA-H200", "h200-141g:8x1", true),
            ("NVIDIA-H100-80GB-HBM3", "h100-80g:8x2", true),
            ("NVIDIA-A100-SXM4-80GB", "a100-80g:8x1", true),
            ("NVIDIA-GB200", "gb200-186g:4x1", true),
            ("NVIDIA RTX PRO 6000 Blackwell", "rtx-pro-6000-96g:2x1", true),
            ("NVIDIA-GB200", "b200:8x1", false),
            ("NVIDIA-GH200-480GB", "h200-141g:8x1", false),
            ("NVIDIA-H100-80GB-HBM3", "h200-141g:8x1", false),
        ] {
            assert_eq!(is_of_family(product, hardware), is_same, "{product} {hardware}");
        }
    }

    #[test]
    fn other_documents_are_rejected() {
        let read = |path: &str, value: Value| {
            let mut document = recommendation();
            *document.pointer_mut(path).unwrap() = value;
            PredictedSpeed::from_recommendation(document)
        };
        let message = |path: &str, value: Value| read(path, value).unwrap_err().to_string();
        assert!(matches!(read("/kind", json!("Fit")), Err(PredictionError::WrongKind)));
        assert!(matches!(read("/predictions", json!([])), Err(PredictionError::NothingRecommended)));
        for (path, value, expected) in [
            ("/predictions/1/concurrency", json!(-1), "\"concurrency\" is not a positive number"),
            ("/predictions/1/concurrency", json!(1e12), "\"concurrency\" is not a positive number"),
            ("/predictions/1/itlMilliseconds", json!("25"), "\"itlMilliseconds\" is not a positive number"),
            ("/predictions/1/concurrency", json!(0), "\"concurrency\" is not a positive number"),
            ("/target/outputTokens", json!(0), "\"outputTokens\" is not a positive number"),
            ("/target/inputTokens", Value::Null, "invalid type: null, expected u32"),
            ("/predictor", json!({ "name": "a" }), "missing field `version`"),
        ] {
            assert_eq!(message(path, value), expected, "{path}");
        }
    }
}
