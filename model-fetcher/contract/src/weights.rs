//! Decides which files of a model are its weights: which copy the engine loads, and which files only repeat it.
//!
//! `fetch` leaves out what repeats the weights, and `fit` counts what the engine loads; both use
//! [`classify_files`]. A file repeats the weights only if the same folder has a complete copy of the same part of
//! the model. Rules of vLLM 0.14 to 0.31, `default_loader.py` (`_prepare_weights`) and `weight_utils.py`. This
//! module is pure.

mod index;
mod name;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use self::name::{WeightFormat, WeightName, parent_folder};

/// The part of a folder's weights that is the model itself, under whichever name a library gives it.
const MODEL_PART: &str = "model";
/// The part with a LoRA adapter. The engine does not load it as the model.
const ADAPTER_PART: &str = "adapter_model";

/// Which copy of the weights the engine loads, as in vLLM's `--load-format`.
///
/// vLLM's `auto` loads Mistral's `consolidated*.safetensors` if the folder has them, and Hugging Face's copy
/// otherwise. A fetch therefore decides by what it leaves out: if both are complete, it keeps Hugging Face's copy and
/// leaves out Mistral's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LoadFormat {
    /// Safetensors in Hugging Face's layout, or the copy that exists.
    #[default]
    Auto,
    /// `consolidated*.safetensors`.
    Mistral,
    /// `*.pt` and `*.pth`.
    Pt,
    /// `*.bin`.
    NpCache,
    /// `*.gguf`.
    Gguf,
}

/// Values of `--load-format` with which the engine reads safetensors, or no weights at all.
const SAFETENSORS_FORMATS: [&str; 12] = [
    "auto",
    "hf",
    "safetensors",
    "fastsafetensors",
    "instanttensor",
    "dummy",
    "tensorizer",
    "sharded_state",
    "bitsandbytes",
    "runai_streamer",
    "runai_streamer_sharded",
    "modelexpress",
];

impl LoadFormat {
    /// Parses a value of `--load-format`. Formats that read safetensors, and unknown ones, are
    /// [`LoadFormat::Auto`].
    pub fn parse(value: &str) -> Self {
        Self::parse_known(value).unwrap_or_default()
    }

    /// Parses a value of `--load-format` that some release of vLLM knows (the documentation of its `LoadConfig`).
    /// Returns `None` for others, such as those of a plugin.
    pub fn parse_known(value: &str) -> Option<Self> {
        Some(match value {
            "mistral" => LoadFormat::Mistral,
            "pt" => LoadFormat::Pt,
            "npcache" => LoadFormat::NpCache,
            "gguf" => LoadFormat::Gguf,
            _ if SAFETENSORS_FORMATS.contains(&value) => LoadFormat::Auto,
            _ => return None,
        })
    }

    /// Returns the value of `--load-format`.
    pub fn name(self) -> &'static str {
        match self {
            LoadFormat::Auto => "auto",
            LoadFormat::Mistral => "mistral",
            LoadFormat::Pt => "pt",
            LoadFormat::NpCache => "npcache",
            LoadFormat::Gguf => "gguf",
        }
    }

    /// The formats of a model's copies, the preferred one first. Only a complete copy in one of them makes
    /// others duplicates.
    fn preferred(self) -> &'static [WeightFormat] {
        use WeightFormat::{Bin, Consolidated, Gguf, Pt, Safetensors};
        match self {
            LoadFormat::Auto => &[Safetensors, Consolidated],
            LoadFormat::Mistral => &[Consolidated, Safetensors],
            LoadFormat::Pt => &[Pt, Safetensors, Consolidated],
            LoadFormat::NpCache => &[Bin, Safetensors, Consolidated],
            LoadFormat::Gguf => &[Gguf, Safetensors, Consolidated],
        }
    }

    /// The formats that the engine searches if no copy is complete, in its order.
    fn searched(self) -> &'static [&'static [WeightFormat]] {
        use WeightFormat::{Bin, Consolidated, Gguf, Pt, Safetensors};
        match self {
            LoadFormat::Auto => &[&[Safetensors, Consolidated], &[Bin], &[Pt]],
            LoadFormat::Mistral => &[&[Consolidated]],
            LoadFormat::Pt => &[&[Pt]],
            LoadFormat::NpCache => &[&[Bin]],
            LoadFormat::Gguf => &[&[Gguf]],
        }
    }
}

/// The shards that an index file (`model.safetensors.index.json`) names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightIndex {
    /// Path of the index.
    pub path: String,
    /// Paths of its shards, in the same tree as the index.
    pub shards: BTreeSet<String>,
}

/// The content of a file that is not an index.
#[derive(Debug)]
pub struct WeightIndexError(serde_json::Error);

impl std::fmt::Display for WeightIndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "is not a valid index: {}", self.0)
    }
}

impl std::error::Error for WeightIndexError {}

impl WeightIndex {
    /// Parses the content of the index at `path`.
    ///
    /// # Errors
    /// [`WeightIndexError`].
    pub fn parse(path: &str, json: &[u8]) -> Result<Self, WeightIndexError> {
        let content: index::Content<'_> = serde_json::from_slice(json).map_err(WeightIndexError)?;
        let folder = parent_folder(path);
        let shards = content.weight_map.files.iter().map(|name| join(folder, name)).collect();
        Ok(Self { path: path.to_owned(), shards })
    }

    /// Returns a shard that this index names, a complete copy needs, and `paths` does not contain.
    pub fn missing_shard(&self, paths: &[&str], load_format: LoadFormat) -> Option<String> {
        find_missing_shard(paths, std::slice::from_ref(self), load_format)
            .filter(|shard| self.shards.contains(shard))
    }
}

/// Returns whether `path` is the name of an index of weights.
pub fn is_weight_index(path: &str) -> bool {
    name::indexed_part(path).is_some()
}

/// What a file of a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// The engine loads it as the model's weights.
    Loaded,
    /// It repeats weights of its folder in another format, or in one file instead of shards.
    Duplicate,
    /// State of a training run. No engine loads it.
    TrainingState,
    /// Anything else: configuration, the tokenizer, and weights of other parts of the model.
    Other,
}

/// Returns the use of each of `paths`, in their order. `indexes` are the indexes whose content is known; without
/// them, shards are recognized by their numbers.
pub fn classify_files(paths: &[&str], indexes: &[WeightIndex], load_format: LoadFormat) -> Vec<FileUse> {
    let model = ModelTree::new(paths, indexes, load_format);
    let loaded = model.loaded();
    paths.iter().map(|path| model.use_of(path, &loaded)).collect()
}

/// Returns a shard that a complete copy needs and `paths` does not contain: one that an index names, or the
/// number that is missing next to an index. An index does not count if another copy is loaded.
pub fn find_missing_shard(
    paths: &[&str],
    indexes: &[WeightIndex],
    load_format: LoadFormat,
) -> Option<String> {
    let model = ModelTree::new(paths, indexes, load_format);
    let needed = model.index_paths.iter().filter(|((key, format), _)| model.needs_index(*key, *format));
    let mut missing = needed.filter_map(|((key, format), path)| match model.indexes.get(path) {
        Some(index) => index.shards.iter().find(|shard| !model.paths.contains(shard.as_str())).cloned(),
        None => model.missing_number(*key, *format),
    });
    missing.next()
}

/// A folder and a part of the model in it.
type PartKey<'a> = (&'a str, &'a str);
/// Files of one part in one folder, by format.
type Copies<'a> = BTreeMap<WeightFormat, Vec<WeightName<'a>>>;

/// The files of a model, grouped by folder and part.
struct ModelTree<'a> {
    load_format: LoadFormat,
    paths: HashSet<&'a str>,
    weights: HashMap<&'a str, WeightName<'a>>,
    /// Folders with weights that are neither conversions nor training state.
    weight_folders: HashSet<&'a str>,
    parts: HashMap<PartKey<'a>, Copies<'a>>,
    index_paths: BTreeMap<(PartKey<'a>, WeightFormat), &'a str>,
    /// The indexes whose content is known.
    indexes: HashMap<&'a str, &'a WeightIndex>,
    /// The complete copy of each part that has one.
    complete: HashMap<PartKey<'a>, (WeightFormat, BTreeSet<&'a str>)>,
}

impl<'a> ModelTree<'a> {
    fn new(paths: &[&'a str], indexes: &'a [WeightIndex], load_format: LoadFormat) -> Self {
        let mut model = Self {
            load_format,
            paths: paths.iter().copied().collect(),
            weights: paths.iter().filter_map(|path| Some((*path, WeightName::parse(path)?))).collect(),
            weight_folders: HashSet::new(),
            parts: HashMap::new(),
            index_paths: BTreeMap::new(),
            indexes: indexes.iter().map(|index| (index.path.as_str(), index)).collect(),
            complete: HashMap::new(),
        };
        for weight in model.weights.values() {
            let copies = model.parts.entry((weight.folder, weight.part)).or_default();
            copies.entry(weight.format).or_default().push(weight.clone());
            if !weight.is_converted && !name::is_training_state(weight.path) {
                model.weight_folders.insert(weight.folder);
            }
        }
        for path in paths {
            let Some(index) = name::indexed_part(path) else { continue };
            let key = (index.folder, index.part);
            // The shards of an index may have names of their own, so an index also names a part.
            model.parts.entry(key).or_default().entry(index.format).or_default();
            model.index_paths.insert((key, index.format), path);
        }
        let complete =
            model.parts.iter().filter_map(|(key, copies)| Some((*key, model.complete_copy(*key, copies)?)));
        model.complete = complete.collect();
        model
    }

    /// Returns the complete copy of a part that the load format prefers.
    fn complete_copy(
        &self,
        key: PartKey<'a>,
        copies: &Copies<'a>,
    ) -> Option<(WeightFormat, BTreeSet<&'a str>)> {
        self.load_format.preferred().iter().find_map(|format| {
            let files = copies.get(format)?;
            let copy = match format {
                WeightFormat::Safetensors | WeightFormat::Consolidated => {
                    self.complete_safetensors(key, *format, files)
                }
                _ => complete_files(files),
            };
            Some((*format, copy?))
        })
    }

    /// Returns a complete copy in safetensors: the shards of its index, one file, or all numbers of a set.
    fn complete_safetensors(
        &self,
        key: PartKey<'a>,
        format: WeightFormat,
        files: &[WeightName<'a>],
    ) -> Option<BTreeSet<&'a str>> {
        let index_path = self.index_paths.get(&(key, format));
        if let Some(index) = index_path.and_then(|path| self.indexes.get(path)) {
            return index.shards.iter().map(|shard| self.paths.get(shard.as_str()).copied()).collect();
        }
        let whole = files.iter().filter(|file| file.shard.is_none());
        let whole = whole.min_by_key(|file| (file.stem != MODEL_PART, file.path));
        let whole = whole.map(|file| BTreeSet::from([file.path]));
        let sharded = complete_sets(files).into_iter().next();
        // With an index the engine loads its shards, also next to a copy in one file.
        if index_path.is_some() { sharded.or(whole) } else { whole.or(sharded) }
    }

    /// Returns the files that the engine loads: weights of the model in its own folder.
    fn loaded(&self) -> BTreeSet<&'a str> {
        let is_model = |weight: &&WeightName<'a>| {
            weight.folder.is_empty()
                && !weight.is_converted
                && weight.part != ADAPTER_PART
                && !name::is_training_state(weight.path)
        };
        let root = || self.weights.values().filter(is_model);
        if let Some((format, files)) = self.complete.get(&("", MODEL_PART)) {
            let has_index = self.index_paths.contains_key(&(("", MODEL_PART), *format));
            let mut loaded = files.clone();
            // Without an index the engine reads every safetensors file of the folder.
            if *format == WeightFormat::Safetensors && !has_index {
                let more = root()
                    .filter(|weight| weight.format == WeightFormat::Safetensors && weight.part != MODEL_PART);
                loaded.extend(more.map(|weight| weight.path));
            }
            return loaded;
        }
        let search = |formats: &&[WeightFormat]| {
            let found = root().filter(|weight| formats.contains(&weight.format)).cloned();
            let found: Vec<WeightName<'_>> = found.collect();
            (!found.is_empty()).then_some(found)
        };
        let found = self.load_format.searched().iter().find_map(search).unwrap_or_default();
        without_whole_copies(&found)
    }

    fn use_of(&self, path: &'a str, loaded: &BTreeSet<&str>) -> FileUse {
        if loaded.contains(path) {
            return FileUse::Loaded;
        }
        if name::is_training_state(path) {
            return match self.weight_folders.contains(parent_folder(path)) {
                true => FileUse::TrainingState,
                false => FileUse::Other,
            };
        }
        let Some(weight) = self.weights.get(path) else { return FileUse::Other };
        match self.complete.get(&(weight.folder, weight.part)) {
            Some((_, files)) if !files.contains(path) => FileUse::Duplicate,
            _ => FileUse::Other,
        }
    }

    /// Returns whether the shards of this index must be complete: they are the copy that the engine prefers, or
    /// there is no other.
    fn needs_index(&self, key: PartKey<'a>, format: WeightFormat) -> bool {
        match self.complete.get(&key) {
            Some((complete, _)) => {
                *complete == format || self.load_format.preferred().first() == Some(&format)
            }
            // The engine reads the other formats without their index.
            None if !matches!(format, WeightFormat::Safetensors | WeightFormat::Consolidated) => {
                let copies = self.parts.get(&key);
                copies.and_then(|copies| complete_files(copies.get(&format)?)).is_none()
            }
            None => true,
        }
    }

    /// Returns a number that is missing next to an index whose content is not known.
    fn missing_number(&self, key: PartKey<'a>, format: WeightFormat) -> Option<String> {
        let files = self.parts.get(&key)?.get(&format)?;
        if files.iter().any(|file| file.shard.is_none()) || !complete_sets(files).is_empty() {
            return None;
        }
        let file =
            files.iter().max_by_key(|file| (file.shard.as_ref().map(|shard| shard.total), file.path))?;
        let total = file.shard.as_ref()?.total;
        (1..=total).map(|number| file.with_number(number)).find(|name| !self.paths.contains(name.as_str()))
    }
}

/// Returns the files of a format without an index: those in one file, and complete sets of shards.
fn complete_files<'a>(files: &[WeightName<'a>]) -> Option<BTreeSet<&'a str>> {
    let whole = files.iter().filter(|file| file.shard.is_none()).map(|file| file.path);
    let all: BTreeSet<&str> = whole.chain(complete_sets(files).into_iter().flatten()).collect();
    (!all.is_empty()).then_some(all)
}

/// Returns the complete sets of numbered shards, the one with the most shards first.
fn complete_sets<'a>(files: &[WeightName<'a>]) -> Vec<BTreeSet<&'a str>> {
    let mut sets: BTreeMap<(u32, &str), BTreeSet<&'a str>> = BTreeMap::new();
    for file in files {
        if let Some(shard) = &file.shard {
            sets.entry((shard.total, file.stem)).or_default().insert(file.path);
        }
    }
    let complete =
        sets.into_iter().rev().filter(|((total, _), files)| files.len() as u64 == u64::from(*total));
    complete.map(|(_, files)| files).collect()
}

/// Returns the files without a copy in one file next to its shards.
fn without_whole_copies<'a>(files: &[WeightName<'a>]) -> BTreeSet<&'a str> {
    let sharded: HashSet<&str> = complete_sets(files).into_iter().flatten().collect();
    let has_shards = |file: &WeightName<'_>| {
        files.iter().any(|other| {
            sharded.contains(other.path) && other.part == file.part && other.format == file.format
        })
    };
    files.iter().filter(|file| file.shard.is_some() || !has_shards(file)).map(|file| file.path).collect()
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
