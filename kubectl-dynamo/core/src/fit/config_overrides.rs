//! Applies `--hf-overrides` to a configuration, as JSON or as single fields (`--hf-overrides.field value`).

use serde_json::{Map, Value};

use super::engine_flag_error::{EngineFlagError, FlagValueError};
use super::token_count::parse_token_count;
use crate::intent::engine_flags;

/// The flag with replaced fields of `config.json`.
const OVERRIDES_FLAG: &str = "--hf-overrides";

/// Replaced fields of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigOverrides(Map<String, Value>);

impl ConfigOverrides {
    /// Collects the overrides from engine arguments.
    ///
    /// # Errors
    /// The value is not a JSON object.
    pub(super) fn from_args(args: &[String]) -> Result<Self, EngineFlagError> {
        let mut fields = Map::new();
        if let Some(text) = engine_flags::value(args, OVERRIDES_FLAG) {
            match serde_json::from_str(&text) {
                Ok(Value::Object(given)) => fields = given,
                _ => {
                    let (flag, reason) = (OVERRIDES_FLAG, FlagValueError::NotObject);
                    return Err(EngineFlagError::Invalid { flag, given: text, reason });
                }
            }
        }
        for (position, arg) in args.iter().enumerate() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg.as_str(), None),
            };
            let Some((flag, path)) = name.split_once('.') else { continue };
            if flag.replace('_', "-") != OVERRIDES_FLAG {
                continue;
            }
            let Some(text) = inline.or(args.get(position + 1).map(String::as_str)) else { continue };
            let parsed =
                serde_json::from_str(text).ok().or_else(|| parse_token_count(text).ok().map(Value::from));
            insert(&mut fields, path, parsed.unwrap_or_else(|| text.into()));
        }
        Ok(Self(fields))
    }

    /// Returns the configuration with the replaced fields. A nested configuration is changed field by field;
    /// any other value is replaced.
    pub fn apply(&self, config: &Value) -> Value {
        let mut changed = config.clone();
        if let Value::Object(fields) = &mut changed {
            for (name, value) in &self.0 {
                match fields.get_mut(name) {
                    Some(nested) if name.ends_with("_config") && name != "quantization_config" => {
                        merge(nested, value);
                    }
                    _ => {
                        fields.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        changed
    }
}

/// Sets a field by its dotted path.
fn insert(fields: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        fields.insert(path.to_owned(), value);
        return;
    };
    let nested = fields.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !nested.is_object() {
        *nested = Value::Object(Map::new());
    }
    if let Value::Object(nested) = nested {
        insert(nested, rest, value);
    }
}

fn merge(target: &mut Value, update: &Value) {
    match (target, update) {
        (Value::Object(target), Value::Object(update)) => {
            for (name, value) in update {
                merge(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (target, update) => *target = update.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overrides(args: &[&str]) -> Result<ConfigOverrides, EngineFlagError> {
        ConfigOverrides::from_args(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn fields_are_replaced_and_nested_configurations_are_merged() {
        let config = json!({
            "max_position_embeddings": 8192,
            "rope_scaling": { "type": "yarn", "factor": 2.0 },
            "text_config": { "hidden_size": 4096, "num_hidden_layers": 2 },
        });
        let changed = json!({
            "max_position_embeddings": 25600,
            "rope_scaling": { "rope_type": "linear" },
            "text_config": { "hidden_size": 4096, "num_hidden_layers": 3 },
        });
        let json = r#"{"max_position_embeddings":25600,"rope_scaling":{"rope_type":"linear"},"text_config":{"num_hidden_layers":3}}"#;
        for args in [
            vec!["--hf-overrides", json],
            vec![
                "--hf_overrides.max_position_embeddings=25.6k",
                "--hf-overrides.rope_scaling.rope_type",
                "linear",
                "--hf-overrides.text_config.num_hidden_layers",
                "3",
            ],
        ] {
            assert_eq!(overrides(&args).expect("valid").apply(&config), changed, "{args:?}");
        }
        assert_eq!(overrides(&[]).expect("none").apply(&config), config);
        assert!(overrides(&["--hf-overrides", "[1]"]).is_err());
    }
}
