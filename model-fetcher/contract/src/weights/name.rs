//! Parses the name of a file with weights: its folder, its part of the model, its format, and its number.
//! Names follow the libraries that write them: transformers, diffusers, safetensors, llama.cpp, and Mistral.

use super::MODEL_PART;

/// Format of a file with weights, and, for safetensors, whose layout it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum WeightFormat {
    /// Safetensors in Hugging Face's layout.
    Safetensors,
    /// Mistral's `consolidated*.safetensors`.
    Consolidated,
    Bin,
    Pt,
    Gguf,
    /// A format of another framework: Keras, Flax, ONNX, Rust.
    Foreign,
}

/// Number and count in `-00001-of-00002`, with the widths that the name uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) total: u32,
    widths: (usize, usize),
}

/// The parsed name of a file with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WeightName<'a> {
    pub(super) path: &'a str,
    /// Folder of the weights. Folders of conversions (`onnx`, `original`) belong to the folder above.
    pub(super) folder: &'a str,
    /// Part of the model in this folder: `model`, or the name that this repository gives it.
    pub(super) part: &'a str,
    /// The name without number and extension.
    pub(super) stem: &'a str,
    pub(super) format: WeightFormat,
    pub(super) shard: Option<Shard>,
    /// It is in a folder of conversions.
    pub(super) is_converted: bool,
    extension: &'a str,
}

/// Folders with conversions of the weights of the folder above.
const CONVERSION_FOLDERS: [&str; 6] = ["onnx", "openvino", "metal", "gguf", "coreml", "tflite"];
/// The folder of Meta's format. Everything in it repeats the repository.
const ORIGINAL_FOLDER: &str = "original/";

impl<'a> WeightName<'a> {
    /// Parses a path. Returns `None` for a file without weights.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path.starts_with(ORIGINAL_FOLDER) {
            let (folder, part, stem) = ("", MODEL_PART, name);
            let (format, is_converted) = (WeightFormat::Foreign, true);
            return Some(Self { path, folder, part, stem, format, shard: None, is_converted, extension: "" });
        }
        let (stem, extension) = split_extension(name)?;
        let mut format = format_of(extension)?;
        let (stem, shard) = split_shard(stem);
        if format == WeightFormat::Safetensors && stem.starts_with("consolidated") {
            format = WeightFormat::Consolidated;
        }
        let folder = parent_folder(path);
        let last_folder = folder.rsplit('/').next().unwrap_or_default();
        if format != WeightFormat::Safetensors && CONVERSION_FOLDERS.contains(&last_folder) {
            let folder = parent_folder(folder);
            let format = if format == WeightFormat::Gguf { format } else { WeightFormat::Foreign };
            let part = MODEL_PART;
            return Some(Self { path, folder, part, stem, format, shard, is_converted: true, extension });
        }
        let part = part_of(stem, format, extension);
        Some(Self { path, folder, part, stem, format, shard, is_converted: false, extension })
    }

    /// Returns the path of the shard `number` of the same set.
    pub(super) fn with_number(&self, number: u32) -> String {
        let Some(shard) = &self.shard else { return self.path.to_owned() };
        let (width, total_width) = shard.widths;
        let name =
            format!("{}-{number:0width$}-of-{:0total_width$}.{}", self.stem, shard.total, self.extension);
        super::join(parent_folder(self.path), &name)
    }
}

/// Returns the part of the model whose shards the index at `path` names. `None` for other files.
pub(super) fn indexed_part(path: &str) -> Option<WeightName<'_>> {
    let parsed = WeightName::parse(path.strip_suffix(".index.json")?)?;
    (!parsed.is_converted && parsed.format != WeightFormat::Foreign).then_some(parsed)
}

/// Returns whether the file has the name of a trainer's state. The first names are those that vLLM skips
/// (`filter_files_not_needed_for_inference`), the others those of transformers and accelerate.
pub(super) fn is_training_state(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_numbered = |prefix: &str, suffix: &str| name.starts_with(prefix) && name.ends_with(suffix);
    matches!(
        name,
        "training_args.bin"
            | "optimizer.bin"
            | "optimizer.pt"
            | "scheduler.bin"
            | "scheduler.pt"
            | "scaler.pt"
    ) || is_numbered("rng_state", ".pth")
        || is_numbered("optimizer_", ".bin")
}

/// Returns the folder of a path; empty for the repository itself.
pub(super) fn parent_folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Splits `name` at its extension. ONNX keeps large weights in a second file.
fn split_extension(name: &str) -> Option<(&str, &str)> {
    let two = ["onnx.data", "onnx_data"].into_iter().find_map(|extension| {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        Some((stem, &name[stem.len() + 1..]))
    });
    two.or_else(|| name.rsplit_once('.')).filter(|(stem, _)| !stem.is_empty())
}

fn format_of(extension: &str) -> Option<WeightFormat> {
    Some(match extension {
        "safetensors" => WeightFormat::Safetensors,
        "bin" => WeightFormat::Bin,
        "pt" | "pth" => WeightFormat::Pt,
        "gguf" => WeightFormat::Gguf,
        "h5" | "msgpack" | "onnx" | "onnx_data" | "onnx.data" | "ot" => WeightFormat::Foreign,
        _ => return None,
    })
}

/// Splits `-00001-of-00002`, and the number in Meta's `consolidated.00`, from a stem.
fn split_shard(stem: &str) -> (&str, Option<Shard>) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((rest, total)) = stem.rsplit_once("-of-")
        && let Some((base, number)) = rest.rsplit_once('-')
        && is_number(number)
        && let Some(total_number) = total.parse().ok().filter(|_| is_number(total))
    {
        return (base, Some(Shard { total: total_number, widths: (number.len(), total.len()) }));
    }
    match stem.rsplit_once('.') {
        Some((base, number)) if is_number(number) => (base, None),
        _ => (stem, None),
    }
}

/// Returns the part of the model that a stem names. Libraries write the same part under different names.
fn part_of<'a>(stem: &'a str, format: WeightFormat, extension: &str) -> &'a str {
    match stem {
        "model" | "pytorch_model" | "tf_model" | "flax_model" | "rust_model" | "consolidated" => MODEL_PART,
        "diffusion_flax_model" => "diffusion_pytorch_model",
        _ if format == WeightFormat::Gguf || format == WeightFormat::Consolidated => MODEL_PART,
        // `model_quantized.onnx`, `model_O4.onnx`.
        _ if extension.starts_with("onnx") && stem.starts_with("model") => MODEL_PART,
        _ => stem,
    }
}
