//! The flags of `up` and `render` that say what to serve, and their conversion into a wish.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::words;
use crate::error::Result;
use crate::intent::{
    AccessMode, Backend, Cache, IntentError, ModelRef, Parallelism, Placement, Router, RouterMode,
    ServingIntent, TokenSecret, Topology, Word, WorkerGroup, WorkerRole, engine_flags, name,
};
use crate::release::Release;

/// The variables that hub clients read a token from.
const TOKEN_VARIABLES: [&str; 3] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"];

/// How the work is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Aggregated,
    Disaggregated,
}

impl Word for Mode {
    const ALL: &'static [Self] = &[Self::Aggregated, Self::Disaggregated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Aggregated => "agg",
            Self::Disaggregated => "disagg",
        }
    }
}

/// What to serve and how.
#[derive(Args, Debug)]
pub(super) struct ServingFlags {
    /// Model to serve: a hub id (org/name, optionally @revision) or a path
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// The same, for hub ids without an organisation, such as gpt2
    #[arg(long = "model", value_name = "ID", conflicts_with = "model")]
    pub model_id: Option<String>,
    /// Name of the deployment; made from the model's when absent
    #[arg(long)]
    pub name: Option<String>,
    /// Name that clients ask for; the hub id when absent
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub served_model_name: Option<String>,
    /// Branch, tag or commit of the model
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Run code that the model's repository brings
    #[arg(long)]
    pub trust_remote_code: bool,
    /// Secret that holds the hub token; public models need none
    #[arg(long, value_name = "NAME[/KEY]")]
    pub hf_token_secret: Option<TokenSecret>,
    /// Dynamo release
    #[arg(long, value_name = "VERSION")]
    pub release: Option<String>,
    /// Engine; vllm unless --local finds no GPU
    #[arg(long, value_parser = words::<Backend>())]
    pub backend: Option<Backend>,

    /// One kind of worker, or prefill and decode apart
    #[arg(long, value_parser = words::<Mode>(), default_value = "agg", help_heading = "Shape")]
    pub mode: Mode,
    /// Workers
    #[arg(long, value_name = "N", help_heading = "Shape")]
    pub replicas: Option<u32>,
    /// GPUs that share each layer of a worker
    #[arg(long = "tensor-parallel-size", visible_alias = "tp", value_name = "N", help_heading = "Shape")]
    pub tp: Option<u32>,
    /// Stages that share the layers of a worker
    #[arg(long = "pipeline-parallel-size", visible_alias = "pp", value_name = "N", help_heading = "Shape")]
    pub pp: Option<u32>,
    /// Spread the experts of a mixture-of-experts model
    #[arg(long, help_heading = "Shape")]
    pub enable_expert_parallel: bool,
    /// Prefill workers
    #[arg(long, value_name = "N", help_heading = "Shape")]
    pub prefill_replicas: Option<u32>,
    /// As --tensor-parallel-size, for prefill workers
    #[arg(
        long = "prefill-tensor-parallel-size",
        visible_alias = "prefill-tp",
        value_name = "N",
        help_heading = "Shape"
    )]
    pub prefill_tp: Option<u32>,
    /// As --pipeline-parallel-size, for prefill workers
    #[arg(
        long = "prefill-pipeline-parallel-size",
        visible_alias = "prefill-pp",
        value_name = "N",
        help_heading = "Shape"
    )]
    pub prefill_pp: Option<u32>,
    /// Decode workers
    #[arg(long, value_name = "N", help_heading = "Shape")]
    pub decode_replicas: Option<u32>,
    /// As --tensor-parallel-size, for decode workers
    #[arg(
        long = "decode-tensor-parallel-size",
        visible_alias = "decode-tp",
        value_name = "N",
        help_heading = "Shape"
    )]
    pub decode_tp: Option<u32>,
    /// As --pipeline-parallel-size, for decode workers
    #[arg(
        long = "decode-pipeline-parallel-size",
        visible_alias = "decode-pp",
        value_name = "N",
        help_heading = "Shape"
    )]
    pub decode_pp: Option<u32>,
    /// Engine flag for prefill workers only, as --prefill-arg=--flag=value; may be given again
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Shape")]
    pub prefill_arg: Vec<String>,
    /// Engine flag for decode workers only; may be given again
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Shape")]
    pub decode_arg: Vec<String>,

    /// How the frontend picks a worker
    #[arg(long, value_parser = words::<RouterMode>(), default_value = "round-robin", help_heading = "Routing")]
    pub router_mode: RouterMode,
    /// Frontends
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Routing")]
    pub frontend_replicas: u32,

    /// Existing claim that holds or will hold the model; without it `model-cache` is part of the objects
    #[arg(long, value_name = "PVC", conflicts_with_all = ["cache_size", "storage_class", "access_mode"], help_heading = "Cache")]
    pub cache: Option<String>,
    /// Size of the claim
    #[arg(long, value_name = "QUANTITY", default_value = Cache::DEFAULT_SIZE, help_heading = "Cache")]
    pub cache_size: String,
    /// Storage class of the claim; the cluster's default when absent
    #[arg(long, value_name = "NAME", help_heading = "Cache")]
    pub storage_class: Option<String>,
    /// Access mode of the claim
    #[arg(long, value_parser = words::<AccessMode>(), default_value = "ReadWriteMany", help_heading = "Cache")]
    pub access_mode: AccessMode,

    /// Image of every Dynamo container; the release's vllm-runtime when absent
    #[arg(long, value_name = "IMAGE", help_heading = "Placement")]
    pub image: Option<String>,
    /// Image of the fetch containers
    #[arg(long, value_name = "IMAGE", help_heading = "Placement")]
    pub fetcher_image: Option<String>,
    /// Secret for pulling images; may be given again
    #[arg(long, value_name = "SECRET", help_heading = "Placement")]
    pub image_pull_secret: Vec<String>,
    /// Label that a worker's node must have; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Placement")]
    pub node_selector: Vec<(String, String)>,
    /// ServiceAccount of the pods
    #[arg(long, value_name = "NAME", help_heading = "Placement")]
    pub service_account: Option<String>,
    /// Extra label of the objects; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Placement")]
    pub label: Vec<(String, String)>,
    /// Extra environment of every container; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value, help_heading = "Placement")]
    pub env: Vec<(String, String)>,
    /// Size of /dev/shm in workers
    #[arg(long, value_name = "QUANTITY", help_heading = "Placement")]
    pub shared_memory: Option<String>,

    /// Engine flags for every worker
    #[arg(last = true, value_name = "ENGINE FLAGS")]
    pub engine_args: Vec<String>,
}

/// What a wish falls back to where a flag is silent; it differs between a cluster and this machine.
pub(super) struct Defaults {
    /// Serves when no model is named.
    pub model: Option<ModelRef>,
    pub backend: Backend,
    /// Longest default name.
    pub name_length: usize,
}

impl ServingFlags {
    /// The wish these flags spell.
    ///
    /// # Errors
    /// Values that cannot be meant, and flags that contradict each other.
    pub(super) fn intent(&self, defaults: Defaults) -> Result<ServingIntent> {
        let model = self.model_ref(defaults.model)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name::default_name(&model.short_name(), defaults.name_length),
        };
        name::check_label(&name)?;
        for args in [&self.engine_args, &self.prefill_arg, &self.decode_arg] {
            engine_flags::check(args)?;
        }
        Ok(ServingIntent {
            name,
            served_model_name: self.served_model_name.clone().unwrap_or_else(|| model.default_served_name()),
            model,
            trust_remote_code: self.trust_remote_code,
            backend: self.backend.unwrap_or(defaults.backend),
            topology: self.topology()?,
            router: Router::of(self.router_mode),
            kv_offload: None,
            frontend_replicas: at_least_one("--frontend-replicas", Some(self.frontend_replicas))?,
            engine_args: self.engine_args.clone(),
            cache: self.cache()?,
            token_secret: self.hf_token_secret.clone(),
            placement: self.placement()?,
        })
    }

    /// Checks all that can be checked before anything is asked of a cluster.
    ///
    /// # Errors
    /// What [`Self::intent`] refuses.
    pub(super) fn check(&self) -> Result<()> {
        let any_length = usize::MAX;
        self.intent(Defaults { model: None, backend: Backend::Vllm, name_length: any_length }).map(drop)
    }

    /// The Dynamo version that a flag names: `--release`, or the tag of `--image`.
    pub(super) fn named_release(&self) -> Option<(String, &'static str)> {
        if let Some(release) = &self.release {
            return Some((release.trim_start_matches('v').to_owned(), "flag"));
        }
        let tag = self.image.as_ref()?.split('@').next()?.rsplit_once(':')?.1;
        Release::find(tag).is_ok().then(|| (tag.trim_start_matches('v').to_owned(), "image"))
    }

    /// The names of the components this shape has.
    pub(super) fn component_names(&self) -> Vec<&'static str> {
        let roles: &[WorkerRole] = match self.mode {
            Mode::Aggregated => &[WorkerRole::Frontend, WorkerRole::Combined],
            Mode::Disaggregated => &[WorkerRole::Frontend, WorkerRole::Prefill, WorkerRole::Decode],
        };
        roles.iter().map(|role| role.component_name()).collect()
    }

    fn model_ref(&self, default: Option<ModelRef>) -> Result<ModelRef> {
        let model = match (&self.model, &self.model_id) {
            (Some(given), _) => ModelRef::parse(given)?,
            (None, Some(id)) => ModelRef::hub(id)?,
            (None, None) => default.ok_or(IntentError::NoModel)?,
        };
        Ok(match &self.revision {
            Some(revision) => model.at(revision)?,
            None => model,
        })
    }

    fn topology(&self) -> Result<Topology> {
        let only = |mode: &'static str, given: &[(&str, bool)]| match given.iter().find(|(_, set)| *set) {
            Some((flag, _)) => Err(IntentError::OtherMode { flag: (*flag).into(), mode }),
            None => Ok(()),
        };
        match self.mode {
            Mode::Aggregated => {
                only(
                    "disagg",
                    &[
                        ("--prefill-replicas", self.prefill_replicas.is_some()),
                        ("--prefill-tp", self.prefill_tp.is_some()),
                        ("--prefill-pp", self.prefill_pp.is_some()),
                        ("--decode-replicas", self.decode_replicas.is_some()),
                        ("--decode-tp", self.decode_tp.is_some()),
                        ("--decode-pp", self.decode_pp.is_some()),
                        ("--prefill-arg", !self.prefill_arg.is_empty()),
                        ("--decode-arg", !self.decode_arg.is_empty()),
                    ],
                )?;
                Ok(Topology::Aggregated {
                    worker: self.group(WorkerRole::Combined, self.replicas, self.tp, self.pp, &[])?,
                })
            }
            Mode::Disaggregated => {
                only("agg", &[("--replicas", self.replicas.is_some())])?;
                Ok(Topology::Disaggregated {
                    prefill: self.group(
                        WorkerRole::Prefill,
                        self.prefill_replicas,
                        self.prefill_tp.or(self.tp),
                        self.prefill_pp.or(self.pp),
                        &self.prefill_arg,
                    )?,
                    decode: self.group(
                        WorkerRole::Decode,
                        self.decode_replicas,
                        self.decode_tp.or(self.tp),
                        self.decode_pp.or(self.pp),
                        &self.decode_arg,
                    )?,
                })
            }
        }
    }

    fn group(
        &self,
        role: WorkerRole,
        replicas: Option<u32>,
        tensor: Option<u32>,
        pipeline: Option<u32>,
        engine_args: &[String],
    ) -> Result<WorkerGroup> {
        let flag = |word: &str| match role {
            WorkerRole::Prefill | WorkerRole::Decode => format!("--{role}-{word}"),
            WorkerRole::Frontend | WorkerRole::Combined => format!("--{word}"),
        };
        Ok(WorkerGroup {
            replicas: at_least_one(&flag("replicas"), replicas)?,
            parallelism: Parallelism {
                tensor: at_least_one(&flag("tp"), tensor)?,
                pipeline: at_least_one(&flag("pp"), pipeline)?,
                expert: self.enable_expert_parallel,
                ..Parallelism::default()
            },
            nodes: 1,
            engine_args: engine_args.to_vec(),
        })
    }

    fn cache(&self) -> Result<Cache> {
        if let Some(claim) = &self.cache {
            // A volume is named after it, and volumes are labels.
            if !name::is_object_label(claim) {
                return Err(IntentError::ObjectName { flag: "--cache", given: claim.clone() }.into());
            }
            return Ok(Cache::Existing { claim: claim.clone() });
        }
        check_quantity("--cache-size", &self.cache_size)?;
        Ok(Cache::Made {
            claim: Cache::DEFAULT_CLAIM.into(),
            size: self.cache_size.clone(),
            storage_class: self.storage_class.clone(),
            access_mode: self.access_mode,
        })
    }

    fn placement(&self) -> Result<Placement> {
        // A token in an argument would stand in the process list and in the rendered objects. It is refused
        // here and not by the parser, whose message would repeat it.
        if let Some((name, _)) = self.env.iter().find(|(name, _)| TOKEN_VARIABLES.contains(&name.as_str())) {
            return Err(IntentError::TokenInEnvironment { name: name.clone() }.into());
        }
        for (key, value) in &self.label {
            if !name::is_label(key, value) {
                return Err(IntentError::Label { given: format!("{key}={value}") }.into());
            }
        }
        if let Some(size) = &self.shared_memory {
            check_quantity("--shared-memory", size)?;
        }
        Ok(Placement {
            image: self.image.clone(),
            fetcher_image: self.fetcher_image.clone(),
            image_pull_secrets: self.image_pull_secret.clone(),
            node_selector: self.node_selector.clone(),
            service_account: self.service_account.clone(),
            labels: self.label.clone(),
            env: self.env.clone(),
            shared_memory: self.shared_memory.clone(),
            ..Placement::default()
        })
    }
}

fn at_least_one(flag: &str, given: Option<u32>) -> Result<u32> {
    match given {
        Some(0) => Err(IntentError::Zero { flag: flag.into() }.into()),
        given => Ok(given.unwrap_or(1)),
    }
}

/// Kubernetes' grammar for a quantity: a decimal number with an optional binary, decimal or exponent suffix.
fn check_quantity(flag: &'static str, given: &str) -> Result<()> {
    let digits = given.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(given.len());
    let (number, suffix) = given.split_at(digits);
    let known = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].contains(&suffix)
        || suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    if known && number.parse::<f64>().is_ok_and(|number| number > 0.0) {
        Ok(())
    } else {
        Err(IntentError::Quantity { flag, given: given.into() }.into())
    }
}

fn key_value(given: &str) -> std::result::Result<(String, String), String> {
    match given.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE".into()),
    }
}
