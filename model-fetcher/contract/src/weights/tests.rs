//! The table of layouts: which files the engine loads, and which a fetch leaves out.

use super::*;

/// One layout: each file with the first letter of its use (`L`oaded, `D`uplicate, `T`raining state, `O`ther).
struct Layout {
    name: &'static str,
    format: LoadFormat,
    /// Content of `model.safetensors.index.json`, if it is known.
    index: &'static [&'static str],
    files: &'static [(&'static str, char)],
}

const fn layout(name: &'static str, files: &'static [(&'static str, char)]) -> Layout {
    Layout { name, format: LoadFormat::Auto, index: &[], files }
}

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

#[rustfmt::skip]
const LAYOUTS: &[Layout] = &[
    layout("one file", &[("config.json", 'O'), ("model.safetensors", 'L'), ("tokenizer.json", 'O')]),
    layout("other frameworks next to it", &[
        ("model.safetensors", 'L'), ("pytorch_model.bin", 'D'), ("tf_model.h5", 'D'), ("flax_model.msgpack", 'D'),
        ("rust_model.ot", 'D'), ("model.onnx", 'D'), ("x.gguf", 'D'), ("config.json", 'O')]),
    layout("shards and their index", &[(SHARDS[0], 'L'), (SHARDS[1], 'L'), (INDEX, 'O'),
        ("pytorch_model-00001-of-00002.bin", 'D'), ("pytorch_model-00002-of-00002.bin", 'D'),
        ("pytorch_model.bin.index.json", 'O')]),
    layout("a whole copy next to shards", &[("model.safetensors", 'D'), (SHARDS[0], 'L'), (SHARDS[1], 'L'), (INDEX, 'O')]),
    layout("a whole copy next to shards without an index", &[("model.safetensors", 'L'), (SHARDS[0], 'D'), (SHARDS[1], 'D')]),
    Layout { name: "an index with names of its own", format: LoadFormat::Auto, index: &["part-a.safetensors", "sub/part-b.safetensors"],
        files: &[(INDEX, 'O'), ("part-a.safetensors", 'L'), ("sub/part-b.safetensors", 'L'), ("pytorch_model.bin", 'D'), ("model.safetensors", 'D')] },
    Layout { name: "an index that names an absent shard", format: LoadFormat::Auto, index: &SHARDS,
        files: &[(INDEX, 'O'), (SHARDS[0], 'L'), ("pytorch_model.bin", 'O')] },
    layout("an incomplete set of shards", &[(SHARDS[0], 'L'), ("pytorch_model.bin", 'O'), ("model.onnx", 'O')]),
    layout("shards of an earlier upload", &[("model-00001-of-00003.safetensors", 'D'), (SHARDS[0], 'L'), (SHARDS[1], 'L'), (INDEX, 'O')]),
    layout("zero-based shards", &[("model-00000-of-00002.safetensors", 'L'), ("model-00001-of-00002.safetensors", 'L'), ("pytorch_model.bin", 'D')]),
    layout("Mistral's copy next to Hugging Face's", &[
        (SHARDS[0], 'L'), (SHARDS[1], 'L'), (INDEX, 'O'), ("consolidated.safetensors", 'D'), ("params.json", 'O'), ("config.json", 'O')]),
    layout("Mistral's sharded copy", &[("model.safetensors", 'L'),
        ("consolidated-00001-of-00002.safetensors", 'D'), ("consolidated-00002-of-00002.safetensors", 'D'), ("consolidated.safetensors.index.json", 'O')]),
    layout("only Mistral's copy", &[("consolidated.safetensors", 'L'), ("params.json", 'O'), ("tekken.json", 'O')]),
    layout("Mistral's copy next to incomplete shards", &[("consolidated.safetensors", 'L'), (SHARDS[0], 'D'), ("params.json", 'O')]),
    Layout { name: "--load-format mistral", format: LoadFormat::Mistral, index: &[],
        files: &[("model.safetensors", 'D'), ("consolidated.safetensors", 'L'), ("params.json", 'O'), ("pytorch_model.bin", 'D')] },
    Layout { name: "--load-format mistral without that copy", format: LoadFormat::Mistral, index: &[],
        files: &[("model.safetensors", 'L'), ("pytorch_model.bin", 'D')] },
    Layout { name: "--load-format pt", format: LoadFormat::Pt, index: &[],
        files: &[("model.safetensors", 'D'), ("consolidated.00.pth", 'L'), ("params.json", 'O')] },
    Layout { name: "--load-format npcache", format: LoadFormat::NpCache, index: &[],
        files: &[("model.safetensors", 'D'), ("pytorch_model.bin", 'L'), ("training_args.bin", 'T')] },
    Layout { name: "--load-format gguf", format: LoadFormat::Gguf, index: &[],
        files: &[("model.safetensors", 'D'), ("m-Q4_K_M-00001-of-00002.gguf", 'L'), ("m-Q4_K_M-00002-of-00002.gguf", 'L')] },
    layout("Meta's copy", &[("model.safetensors", 'L'), ("original/consolidated.00.pth", 'D'), ("original/params.json", 'D'), ("original/tokenizer.model", 'D')]),
    layout("only Meta's copy", &[("original/consolidated.00.pth", 'O'), ("original/params.json", 'O'), ("config.json", 'O')]),
    layout("conversions in folders", &[("model.safetensors", 'L'), ("onnx/model.onnx", 'D'), ("onnx/model.onnx_data", 'D'),
        ("onnx/decoder_model_merged.onnx", 'D'), ("onnx/config.json", 'O'), ("openvino/openvino_model.bin", 'D'), ("metal/model.bin", 'D')]),
    layout("only conversions", &[("onnx/model.onnx", 'O'), ("onnx/model.onnx_data", 'O'), ("config.json", 'O')]),
    layout("safetensors in another folder", &[("llm.pt", 'L'), ("flow.pt", 'L'), ("BlankEN/model.safetensors", 'O'), ("campplus.onnx", 'O')]),
    layout("weights of another layer", &[("model.safetensors", 'L'), ("2_Dense/pytorch_model.bin", 'O'), ("2_Dense/config.json", 'O'), ("modules.json", 'O')]),
    layout("another layer in two formats", &[("model.safetensors", 'L'), ("2_Dense/model.safetensors", 'O'), ("2_Dense/pytorch_model.bin", 'D')]),
    layout("other parts in the same folder", &[("model.safetensors", 'L'), ("llm.pt", 'O'), ("spk2info.pt", 'O'), ("campplus.onnx", 'O'), ("vocab.bin", 'O')]),
    layout("an adapter", &[("adapter_model.safetensors", 'O'), ("adapter_model.bin", 'D'), ("adapter_config.json", 'O')]),
    layout("an adapter next to a model", &[("model.safetensors", 'L'), ("adapter_model.bin", 'O'), ("adapter_config.json", 'O')]),
    layout("an adapter only as bin", &[("adapter_model.bin", 'O'), ("adapter_config.json", 'O')]),
    layout("diffusion", &[("unet/diffusion_pytorch_model.safetensors", 'O'), ("unet/diffusion_pytorch_model.bin", 'D'),
        ("unet/diffusion_pytorch_model.fp16.safetensors", 'O'), ("unet/diffusion_flax_model.msgpack", 'D'),
        ("vae/diffusion_pytorch_model.bin", 'O')]),
    layout("another name of the model", &[("open_clip_pytorch_model.bin", 'D'), ("open_clip_pytorch_model.safetensors", 'L')]),
    layout("only bin", &[("pytorch_model.bin", 'L'), ("config.json", 'O')]),
    layout("bin with training state", &[("pytorch_model-00001-of-00002.bin", 'L'), ("pytorch_model-00002-of-00002.bin", 'L'),
        ("training_args.bin", 'T'), ("optimizer.bin", 'T'), ("pytorch_model.bin.index.json", 'O')]),
    layout("bin as shards and whole", &[("pytorch_model-00001-of-00002.bin", 'L'), ("pytorch_model-00002-of-00002.bin", 'L'), ("pytorch_model.bin", 'O')]),
    layout("safetensors with training state", &[("model.safetensors", 'L'), ("optimizer.pt", 'T'), ("scheduler.pt", 'T'), ("rng_state_0.pth", 'T')]),
    layout("only training state", &[("optimizer.bin", 'O'), ("config.json", 'O')]),
    layout("only GGUF", &[("m-Q4_K_M.gguf", 'O'), ("m-Q8_0.gguf", 'O')]),
    layout("only Keras", &[("tf_model.h5", 'O'), ("config.json", 'O')]),
    layout("without an index, every safetensors file", &[("model.safetensors", 'L'), ("mtp.safetensors", 'L'), ("adapter_model.safetensors", 'O')]),
];

#[test]
fn files_of_each_layout_have_their_use() {
    for Layout { name, format, index, files } in LAYOUTS {
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        let shards = index.iter().map(|shard| (*shard).to_owned()).collect();
        let indexes =
            if index.is_empty() { vec![] } else { vec![WeightIndex { path: INDEX.into(), shards }] };
        let letters = classify_files(&paths, &indexes, *format).into_iter().map(|file_use| match file_use {
            FileUse::Loaded => 'L',
            FileUse::Duplicate => 'D',
            FileUse::TrainingState => 'T',
            FileUse::Other => 'O',
        });
        let actual: Vec<(&str, char)> = paths.iter().copied().zip(letters).collect();
        assert_eq!(actual, *files, "{name}");
    }
}

#[test]
fn order_of_paths_does_not_matter() {
    for Layout { name, format, files, .. } in LAYOUTS {
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        let reversed: Vec<&str> = paths.iter().rev().copied().collect();
        let mut uses = classify_files(&reversed, &[], *format);
        uses.reverse();
        assert_eq!(uses, classify_files(&paths, &[], *format), "{name}");
    }
}

#[test]
fn missing_shards_are_found_with_and_without_the_content_of_the_index() {
    let index = |path: &str, shards: &[&str]| WeightIndex {
        path: path.into(),
        shards: shards.iter().map(|shard| (*shard).to_owned()).collect(),
    };
    let known = [index(INDEX, &SHARDS)];
    let find = |paths: &[&str], indexes: &[WeightIndex]| find_missing_shard(paths, indexes, LoadFormat::Auto);
    let missing = Some(SHARDS[1].to_owned());
    assert_eq!(find(&[INDEX, SHARDS[0]], &known), missing);
    assert_eq!(find(&[INDEX, SHARDS[0]], &[]), missing);
    assert_eq!(find(&[INDEX, SHARDS[0], "pytorch_model.bin"], &known), missing);
    assert_eq!(find(&[INDEX, "model.safetensors"], &known), Some(SHARDS[0].to_owned()));
    assert_eq!(find(&[INDEX, SHARDS[0], SHARDS[1]], &known), None);
    assert_eq!(find(&[INDEX, SHARDS[0], SHARDS[1], "model-00001-of-00003.safetensors"], &[]), None);
    // Without an index, and with an index of a copy that is not loaded, nothing is missing.
    assert_eq!(find(&[SHARDS[0]], &[]), None);
    let bin = [index("pytorch_model.bin.index.json", &["pytorch_model-00001-of-00002.bin"])];
    assert_eq!(find(&["model.safetensors", "pytorch_model.bin.index.json"], &bin), None);
    assert_eq!(find(&["pytorch_model.bin.index.json"], &bin), bin[0].shards.first().cloned());
    assert_eq!(find(&["pytorch_model.bin.index.json", "pytorch_model.bin"], &bin), None);
    let consolidated = "consolidated.safetensors.index.json";
    let mistral = [index(consolidated, &["consolidated-00001-of-00001.safetensors"])];
    assert_eq!(find(&["model.safetensors", consolidated], &mistral), None);
    let paths = ["model.safetensors", consolidated];
    assert!(find_missing_shard(&paths, &mistral, LoadFormat::Mistral).is_some());
    let folder = ["sub/model.safetensors.index.json", "sub/model-00001-of-00002.safetensors"];
    assert_eq!(find(&folder, &[]).as_deref(), Some("sub/model-00002-of-00002.safetensors"));
}

#[test]
fn index_is_parsed_relative_to_its_folder() {
    let json =
        br#"{"metadata":{},"weight_map":{"a":"x.safetensors","b":"y.safetensors","c":"x.safetensors"}}"#;
    let index = WeightIndex::parse("text_encoder/model.safetensors.index.json", json).unwrap();
    assert_eq!(
        index.shards.iter().collect::<Vec<_>>(),
        ["text_encoder/x.safetensors", "text_encoder/y.safetensors"]
    );
    for invalid in ["[]", r#"{"weight_map":[]}"#, r#"{"weight_map":{"a":1}}"#, "{}", ""] {
        assert!(
            WeightIndex::parse("x", invalid.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("not a valid index"),
            "{invalid}"
        );
    }
    let escaped = WeightIndex::parse("x", br#"{"weight_map":{"\u0061":"x\u0031"}}"#).unwrap();
    assert!(escaped.shards.contains("x1"), "{escaped:?}");
    assert!(
        is_weight_index("model.safetensors.index.json") && is_weight_index("a/pytorch_model.bin.index.json")
    );
    assert!(!is_weight_index("config.json") && !is_weight_index("faiss.index.json"));
}

#[test]
fn load_formats_of_the_engine_are_parsed() {
    let formats = ["auto", "safetensors", "mistral", "pt", "npcache", "gguf", "runai_streamer", "dummy"];
    let parsed = formats.map(LoadFormat::parse);
    use LoadFormat::{Auto, Gguf, Mistral, NpCache, Pt};
    assert_eq!(parsed, [Auto, Auto, Mistral, Pt, NpCache, Gguf, Auto, Auto]);
    assert!(parsed.iter().all(|format| LoadFormat::parse(format.name()) == *format));
    assert_eq!((LoadFormat::parse("mistrl"), LoadFormat::parse_known("mistrl")), (LoadFormat::Auto, None));
    assert!(formats.iter().all(|format| LoadFormat::parse_known(format).is_some()));
}
