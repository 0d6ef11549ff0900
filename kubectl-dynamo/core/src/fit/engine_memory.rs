//! The engine flags that determine memory use. A value that the engine would reject is an error here, too.

use std::str::FromStr;

use super::config_overrides::ConfigOverrides;
use super::engine_flag_error::{EngineFlagError, FlagValueError};
use super::precision::KvPrecision;
use super::token_count::{RequestedLength, parse_token_count};
use crate::intent::engine_flags::{has_flag, is_enabled, value};
use crate::release::MemoryRules;

/// Engine settings that determine memory use, from the engine flags. `None` is the engine's default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EngineMemory {
    /// `--gpu-memory-utilization`.
    pub utilization: Option<f64>,
    /// `--kv-cache-memory-bytes`, which replaces the utilization.
    pub kv_cache_bytes: Option<u64>,
    /// `--kv-cache-dtype`.
    pub kv_precision: Option<KvPrecision>,
    /// `--max-model-len`.
    pub max_model_len: RequestedLength,
    /// `--cpu-offload-gb` for each GPU, in bytes.
    pub cpu_offload: u64,
    /// `--block-size`, in tokens.
    pub block_tokens: Option<u64>,
    /// `--max-num-batched-tokens`.
    pub batched_tokens: Option<u64>,
    /// Bytes of an activation from `--dtype`.
    pub activation_bytes: Option<u8>,
    /// `--quantization` of parameters that the files contain in 16 or 32 bits.
    pub quantization: Option<OnlineQuantization>,
    pub windows: SlidingWindows,
    pub prefix_caching: PrefixCaching,
    pub overrides: ConfigOverrides,
}

/// What the engine does with sliding windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlidingWindows {
    /// A layer with a window stores only the window.
    #[default]
    Bounded,
    /// A layer with a window stores every token (`--disable-hybrid-kv-cache-manager`).
    Unbounded,
    /// The window limits the request length (`--disable-sliding-window`).
    LimitLength,
}

/// Whether the engine keeps the state of a finished request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrefixCaching {
    #[default]
    Enabled,
    Disabled,
}

/// Quantization of the parameters while the engine loads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlineQuantization {
    /// 8 bits for every linear layer.
    Bits8,
    /// 8 bits for experts only.
    Bits8Experts,
    /// 4 bits for every linear layer.
    Bits4,
}

impl EngineMemory {
    /// Parses engine arguments. The last occurrence of a flag wins, as in the engine.
    ///
    /// # Errors
    /// A value that the engine would reject, or whose memory use is not known.
    pub fn from_args(args: &[String]) -> Result<Self, EngineFlagError> {
        let disables_hybrid = is_set(args, "--disable-hybrid-kv-cache-manager");
        let windows = match () {
            () if is_set(args, "--disable-sliding-window") => SlidingWindows::LimitLength,
            () if disables_hybrid => SlidingWindows::Unbounded,
            () => SlidingWindows::Bounded,
        };
        let has_prefix_caching = is_enabled(args, "--enable-prefix-caching").unwrap_or(true);
        Ok(Self {
            utilization: number(args, "--gpu-memory-utilization", |value| *value > 0.0 && *value <= 1.0)?,
            kv_cache_bytes: count(args, "--kv-cache-memory-bytes")?,
            kv_precision: kv_precision(args)?,
            max_model_len: parse(args, "--max-model-len", RequestedLength::parse)?.unwrap_or_default(),
            cpu_offload: number(args, "--cpu-offload-gb", |value: &f64| *value >= 0.0 && value.is_finite())?
                .map_or(0, |gibibytes| (gibibytes * f64::from(1 << 30)) as u64),
            block_tokens: number(args, "--block-size", |value| (1..=1 << 20).contains(value))?,
            batched_tokens: count(args, "--max-num-batched-tokens")?,
            activation_bytes: parse(args, "--dtype", parse_dtype)?.flatten(),
            quantization: value(args, "--quantization").or(value(args, "-q")).and_then(|name| online(&name)),
            windows,
            prefix_caching: if has_prefix_caching { PrefixCaching::Enabled } else { PrefixCaching::Disabled },
            overrides: ConfigOverrides::from_args(args)?,
        })
    }

    /// The share of GPU memory for the engine.
    pub fn utilization(&self, rules: &MemoryRules) -> f64 {
        self.utilization.unwrap_or_else(|| rules.default_utilization())
    }
}

/// Whether a flag without a value is set.
fn is_set(args: &[String], flag: &str) -> bool {
    has_flag(args, flag) && value(args, flag).is_none_or(|text| !text.eq_ignore_ascii_case("false"))
}

fn parse<T, E: Into<FlagValueError>>(
    args: &[String],
    flag: &'static str,
    parser: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, EngineFlagError> {
    let invalid = |given, reason: E| EngineFlagError::Invalid { flag, given, reason: reason.into() };
    value(args, flag).map(|text| parser(&text).map_err(|reason| invalid(text.clone(), reason))).transpose()
}

fn count(args: &[String], flag: &'static str) -> Result<Option<u64>, EngineFlagError> {
    parse(args, flag, parse_token_count)
}

fn number<T: FromStr>(
    args: &[String],
    flag: &'static str,
    is_valid: impl Fn(&T) -> bool,
) -> Result<Option<T>, EngineFlagError> {
    parse(args, flag, |text| text.trim().parse().ok().filter(&is_valid).ok_or(FlagValueError::OutOfRange))
}

fn kv_precision(args: &[String]) -> Result<Option<KvPrecision>, EngineFlagError> {
    let flag = "--kv-cache-dtype";
    // Without a format, the checkpoint or the activations decide.
    let Some(name) = value(args, flag).filter(|name| name != "auto") else { return Ok(None) };
    KvPrecision::parse(&name).map(Some).ok_or(EngineFlagError::Unknown { flag, given: name })
}

fn parse_dtype(name: &str) -> Result<Option<u8>, FlagValueError> {
    match name.to_lowercase().as_str() {
        "auto" => Ok(None),
        "half" | "float16" | "bfloat16" => Ok(Some(2)),
        "float" | "float32" => Ok(Some(4)),
        _ => Err(FlagValueError::Dtype),
    }
}

fn online(name: &str) -> Option<OnlineQuantization> {
    match name {
        "fp8"
        | "ptpc_fp8"
        | "fp8_per_tensor"
        | "fp8_per_block"
        | "fp8_per_channel"
        | "mxfp8"
        | "int8_per_channel_weight_only" => Some(OnlineQuantization::Bits8),
        "experts_int8" => Some(OnlineQuantization::Bits8Experts),
        "bitsandbytes" => Some(OnlineQuantization::Bits4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<EngineMemory, EngineFlagError> {
        EngineMemory::from_args(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn last_occurrence_of_a_flag_wins() {
        let memory = read(&[
            "--max-model-len",
            "4096",
            "--gpu_memory_utilization=0.8",
            "--kv-cache-dtype",
            "fp8_e4m3",
            "--max-model-len=32K",
            "--cpu-offload-gb",
            "1.5",
            "--dtype",
            "float32",
            "--block-size=32",
        ])
        .expect("valid");
        assert_eq!(memory.max_model_len, RequestedLength::Tokens(32 << 10));
        assert_eq!((memory.utilization, memory.kv_precision), (Some(0.8), Some(KvPrecision::Bits8)));
        assert_eq!((memory.cpu_offload, memory.block_tokens), (3 << 29, Some(32)));
        assert_eq!(memory.activation_bytes, Some(4));
        assert_eq!(read(&[]), Ok(EngineMemory::default()));
    }

    #[test]
    fn automatic_values_are_the_defaults_of_the_engine() {
        let memory =
            read(&["--max-model-len", "-1", "--kv-cache-dtype", "auto", "--dtype=auto"]).expect("valid");
        assert_eq!(
            memory,
            EngineMemory { max_model_len: RequestedLength::LongestThatFits, ..EngineMemory::default() }
        );
    }

    #[test]
    fn values_that_the_engine_rejects_are_errors() {
        for args in [
            ["--max-model-len", "25.6K"],
            ["--max-model-len", "many"],
            ["--gpu-memory-utilization", "1.5"],
            ["--gpu-memory-utilization", "NaN"],
            ["--cpu-offload-gb", "-1"],
            ["--cpu-offload-gb", "inf"],
            ["--block-size", "0"],
            ["--dtype", "fp8"],
            ["--hf-overrides", "{"],
            ["--kv-cache-memory-bytes", "much"],
        ] {
            let error = read(&args).expect_err("invalid");
            assert!(matches!(error, EngineFlagError::Invalid { .. }), "{error}");
        }
        let error = read(&["--kv-cache-dtype", "int2"]).expect_err("unknown");
        assert_eq!(error.to_string(), "the memory use of engine flag --kv-cache-dtype int2 is unknown");
    }

    #[test]
    fn flags_without_a_value_are_read() {
        assert_eq!(read(&["--disable-sliding-window"]).expect("valid").windows, SlidingWindows::LimitLength);
        let memory =
            read(&["--disable-hybrid-kv-cache-manager", "--no-enable-prefix-caching"]).expect("valid");
        assert_eq!(memory.windows, SlidingWindows::Unbounded);
        assert_eq!(memory.prefix_caching, PrefixCaching::Disabled);
    }
}
