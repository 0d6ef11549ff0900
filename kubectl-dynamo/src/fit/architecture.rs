//! What a model's `config.json` says of its shape: layers, heads, experts, and how its weights are stored. An
//! architecture that is not in the table is not guessed at.

use serde_json::Value;

/// A model's shape, as far as memory depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// The class in `architectures`.
    pub name: String,
    pub hidden: u64,
    pub heads: u64,
    pub attention: Attention,
    pub layers: Vec<Layer>,
    /// Width of a dense feed-forward block.
    pub feed_forward: u64,
    pub experts: Option<Experts>,
    pub vocabulary: u64,
    pub tied_embeddings: bool,
    /// Longest request the model was made for.
    pub longest_request: u64,
    pub precision: Precision,
    /// Extra layers that predict several tokens at once: in the files, and loaded only when asked for.
    pub draft_layers: u64,
    pub(super) extras: Extras,
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Groups of heads share keys and values.
    Grouped { kv_heads: u64, head_size: u64 },
    /// One compressed vector a token, the same on every GPU (MLA).
    Latent { rank: u64, rope: u64, query_rank: Option<u64>, nope: u64, value: u64 },
}

/// One layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    pub memory: LayerMemory,
    pub has_experts: bool,
}

/// What a layer keeps of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerMemory {
    /// Every token.
    Full,
    /// The last tokens.
    Window { tokens: u64 },
    /// A state of fixed size.
    State { bytes: u64 },
}

/// The experts of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    pub count: u64,
    pub feed_forward: u64,
    /// Width of what every token passes besides.
    pub shared_feed_forward: u64,
}

/// Bytes of a parameter, by where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    pub linear: f64,
    pub experts: f64,
    /// Embeddings, norms, routers: hardly ever quantized.
    pub other: f64,
}

/// Small parameters that tell families apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extras {
    pub(super) norms_per_layer: u64,
    pub(super) norm_per_head: bool,
    pub(super) query_bias: bool,
    pub(super) output_bias: bool,
    pub(super) expert_bias: bool,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownArchitecture {
    #[error("the architecture {0} is not known here")]
    Name(String),
    #[error("its config.json has no `{0}`")]
    Field(&'static str),
}

/// What a family adds to the plain decoder that all of them are.
#[derive(Clone, Copy)]
enum Family {
    Plain,
    QkNorm,
    QkvBias,
    Gemma,
    GptOss,
    DeepSeek,
    Hybrid,
}

/// The class in `architectures`, and its family.
const KNOWN: &[(&str, Family)] = &[
    ("LlamaForCausalLM", Family::Plain),
    ("MistralForCausalLM", Family::Plain),
    ("Mistral3ForConditionalGeneration", Family::Plain),
    ("MixtralForCausalLM", Family::Plain),
    ("Phi3ForCausalLM", Family::Plain),
    ("GraniteForCausalLM", Family::Plain),
    ("SmolLM3ForCausalLM", Family::Plain),
    ("Qwen2ForCausalLM", Family::QkvBias),
    ("Qwen2MoeForCausalLM", Family::QkvBias),
    ("Qwen3ForCausalLM", Family::QkNorm),
    ("Qwen3MoeForCausalLM", Family::QkNorm),
    ("Glm4MoeForCausalLM", Family::QkNorm),
    ("MiniMaxM2ForCausalLM", Family::QkNorm),
    ("Gemma3ForCausalLM", Family::Gemma),
    ("Gemma3ForConditionalGeneration", Family::Gemma),
    ("GptOssForCausalLM", Family::GptOss),
    ("DeepseekV2ForCausalLM", Family::DeepSeek),
    ("DeepseekV3ForCausalLM", Family::DeepSeek),
    ("KimiK2ForCausalLM", Family::DeepSeek),
    ("Qwen3NextForCausalLM", Family::Hybrid),
];

impl Architecture {
    /// Reads a `config.json`; of one that sees pictures too, the part that reads text.
    ///
    /// # Errors
    /// A class that is not in the table, or a field that all of them have and this one has not.
    pub fn from_config(config: &Value) -> Result<Self, UnknownArchitecture> {
        let name = config["architectures"][0].as_str().unwrap_or("without a name").to_owned();
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        let family = known.map(|(_, family)| *family).ok_or(UnknownArchitecture::Name(name.clone()))?;
        let text = if config["text_config"].is_object() { &config["text_config"] } else { config };
        let read = Reader { text, family };
        let hidden = read.needed("hidden_size")?;
        let heads = read.needed("num_attention_heads")?;
        let experts = read.experts();
        Ok(Self {
            hidden,
            heads,
            attention: read.attention(hidden, heads),
            layers: read.layers(read.needed("num_hidden_layers")?, experts.is_some()),
            feed_forward: read.needed("intermediate_size")?,
            experts,
            vocabulary: read
                .count("vocab_size")
                .or(read.default("vocab_size"))
                .ok_or(UnknownArchitecture::Field("vocab_size"))?,
            tied_embeddings: read.tied(config),
            longest_request: read
                .count("max_position_embeddings")
                .or(read.default("max_position_embeddings"))
                .unwrap_or(4096),
            precision: precision(config, text),
            draft_layers: read.count("num_nextn_predict_layers").unwrap_or(0),
            extras: read.extras(),
            name,
        })
    }

    /// Heads whose keys and values are kept; none of its own where they are compressed.
    pub fn kv_heads(&self) -> Option<u64> {
        match self.attention {
            Attention::Grouped { kv_heads, .. } => Some(kv_heads),
            Attention::Latent { .. } => None,
        }
    }

    /// Bytes of all parameters that the configuration accounts for.
    pub fn accounted_bytes(&self) -> u64 {
        super::weights::accounted(self)
    }
}

struct Reader<'a> {
    text: &'a Value,
    family: Family,
}

impl Reader<'_> {
    fn count(&self, field: &str) -> Option<u64> {
        self.text[field].as_u64()
    }

    fn needed(&self, field: &'static str) -> Result<u64, UnknownArchitecture> {
        self.count(field).or(self.default(field)).ok_or(UnknownArchitecture::Field(field))
    }

    /// What transformers fills in where a published configuration is silent.
    fn default(&self, field: &str) -> Option<u64> {
        match (self.family, field) {
            (Family::Gemma, "vocab_size") => Some(262_208),
            (Family::Gemma, "max_position_embeddings") => Some(131_072),
            (Family::Gemma, "num_attention_heads") => Some(8),
            _ => None,
        }
    }

    fn attention(&self, hidden: u64, heads: u64) -> Attention {
        if let Family::DeepSeek = self.family {
            return Attention::Latent {
                rank: self.count("kv_lora_rank").unwrap_or(512),
                rope: self.count("qk_rope_head_dim").unwrap_or(64),
                query_rank: self.count("q_lora_rank"),
                nope: self.count("qk_nope_head_dim").unwrap_or(128),
                value: self.count("v_head_dim").unwrap_or(128),
            };
        }
        let of_gemma = matches!(self.family, Family::Gemma);
        Attention::Grouped {
            kv_heads: self.count("num_key_value_heads").unwrap_or(if of_gemma { 4 } else { heads }),
            head_size: self.count("head_dim").unwrap_or(if of_gemma { 256 } else { hidden / heads.max(1) }),
        }
    }

    fn experts(&self) -> Option<Experts> {
        let count = ["num_experts", "num_local_experts", "n_routed_experts"]
            .into_iter()
            .find_map(|f| self.count(f))?;
        let feed_forward = self.count("moe_intermediate_size").or(self.count("intermediate_size"))?;
        let shared = self.count("n_shared_experts").unwrap_or(0) * feed_forward;
        let shared_feed_forward = self.count("shared_expert_intermediate_size").unwrap_or(shared);
        (count > 1).then_some(Experts { count, feed_forward, shared_feed_forward })
    }

    fn layers(&self, count: u64, expert_model: bool) -> Vec<Layer> {
        let dense_first = self.count("first_k_dense_replace").unwrap_or(0);
        let every = self.count("decoder_sparse_step").unwrap_or(1).max(1);
        let dense: Vec<u64> =
            self.text["mlp_only_layers"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        (0..count)
            .map(|index| Layer {
                memory: self.layer_memory(index),
                has_experts: expert_model
                    && index >= dense_first
                    && (index + 1).is_multiple_of(every)
                    && !dense.contains(&index),
            })
            .collect()
    }

    fn layer_memory(&self, index: u64) -> LayerMemory {
        let windowed = self.count("sliding_window").map(|tokens| LayerMemory::Window { tokens });
        if let Some(kind) = self.text["layer_types"][index as usize].as_str() {
            return match kind {
                "sliding_attention" => windowed.unwrap_or(LayerMemory::Full),
                "linear_attention" => self.state(),
                _ => LayerMemory::Full,
            };
        }
        match self.family {
            // Published without `layer_types`: one full layer after so many with a window.
            Family::Gemma => match (index + 1) % self.count("sliding_window_pattern").unwrap_or(6) {
                0 => LayerMemory::Full,
                _ => windowed.unwrap_or(LayerMemory::Full),
            },
            Family::Hybrid
                if !(index + 1).is_multiple_of(self.count("full_attention_interval").unwrap_or(4)) =>
            {
                self.state()
            }
            // Qwen2 and Qwen3 name a window and say apart that it is not used.
            Family::QkNorm | Family::QkvBias if self.text["use_sliding_window"] != true => LayerMemory::Full,
            _ => windowed.unwrap_or(LayerMemory::Full),
        }
    }

    /// A gated delta net's state of one sequence: the matrix of each value head and what its convolution looks back
    /// on, in the model's own 16 bits.
    fn state(&self) -> LayerMemory {
        let of = |field: &str, default: u64| self.count(field).unwrap_or(default);
        let (keys, values) = (of("linear_num_key_heads", 16), of("linear_num_value_heads", 32));
        let (key, value) = (of("linear_key_head_dim", 128), of("linear_value_head_dim", 128));
        let convolution = (2 * keys * key + values * value) * (of("linear_conv_kernel_dim", 4) - 1);
        LayerMemory::State { bytes: 2 * (values * key * value + convolution) }
    }

    fn tied(&self, config: &Value) -> bool {
        let said = self.text["tie_word_embeddings"].as_bool().or(config["tie_word_embeddings"].as_bool());
        said.unwrap_or(matches!(self.family, Family::Gemma))
    }

    fn extras(&self) -> Extras {
        let biased = self.text["attention_bias"] == true;
        let plain =
            Extras { norms_per_layer: 2, query_bias: biased, output_bias: biased, ..Extras::default() };
        match self.family {
            Family::Plain | Family::DeepSeek => plain,
            Family::QkNorm | Family::Hybrid => Extras { norm_per_head: true, output_bias: false, ..plain },
            Family::QkvBias => Extras { query_bias: true, ..plain },
            Family::Gemma => Extras { norms_per_layer: 4, norm_per_head: true, ..plain },
            Family::GptOss => Extras { query_bias: true, output_bias: true, expert_bias: true, ..plain },
        }
    }
}

/// How parameters are stored, by the quantization that the configuration names.
fn precision(config: &Value, text: &Value) -> Precision {
    let plain =
        match ["torch_dtype", "dtype"].into_iter().find_map(|f| config[f].as_str().or(text[f].as_str())) {
            Some("float32") => 4.0,
            _ => 2.0,
        };
    let quantization = &config["quantization_config"];
    // Each with what its scales take: one of 32 bits a block of 128 × 128, one of 8 bits for 32 or 16 values.
    let (linear, experts) = match quantization["quant_method"].as_str() {
        None => (plain, plain),
        Some("fp8") => (1.0 + 4.0 / 16384.0, 1.0 + 4.0 / 16384.0),
        Some("mxfp4") => (plain, 17.0 / 32.0),
        Some("modelopt") if quantization["quant_algo"] == "NVFP4" => (0.5625, 0.5625),
        Some("modelopt" | "fbgemm_fp8") => (1.0, 1.0),
        Some(_) => {
            let groups = quantization["config_groups"].as_object();
            let in_groups =
                groups.and_then(|groups| groups.values().next()).map(|group| &group["weights"]["num_bits"]);
            let bits =
                quantization["bits"].as_u64().or(in_groups.and_then(Value::as_u64)).unwrap_or(8) as f64;
            // A scale and a zero point of 16 and 4 bits for 128 values.
            let bytes = bits / 8.0 + if bits < 8.0 { 2.5 / 128.0 } else { 0.0 };
            (bytes, bytes)
        }
    };
    Precision { linear, experts, other: plain }
}
