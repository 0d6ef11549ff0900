//! Reads the file names of an index. An index of a large model has 100,000 tensors in a few hundred files, and every
//! start of a pod reads it, so the names of tensors are skipped and each file name is kept once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The part of an index that names files.
#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) weight_map: WeightMap<'a>,
}

/// The values of `weight_map`.
pub(super) struct WeightMap<'a> {
    pub(super) files: HashSet<Cow<'a, str>>,
}

/// A text that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct FileName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for WeightMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = HashSet<Cow<'de, str>>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut files = HashSet::new();
                while let Some((_, FileName(file))) = map.next_entry::<IgnoredAny, FileName<'de>>()? {
                    files.insert(file);
                }
                Ok(files)
            }
        }

        Ok(Self { files: deserializer.deserialize_map(Values)? })
    }
}
