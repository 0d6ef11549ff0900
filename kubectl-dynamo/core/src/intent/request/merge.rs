//! The merge of layers of settings: for each setting the source with the highest precedence wins, and every
//! value keeps its source. Variables and config files do not apply to a live deployment, also not to fields that it
//! leaves unset: it stores every value that was resolved for it. The merge also decides the order of the elements of
//! lists and maps: a live deployment keeps its order, because some operators restart every worker if only the order
//! of variables changes.

use serde_json::Value;

use super::{FieldType, Setting, SettingSource, SettingsLayer};

/// Merges layers and returns the setting with the highest precedence for each path.
pub fn merge(layers: impl IntoIterator<Item = SettingsLayer>) -> Vec<Setting> {
    MergedSettings::from_layers(layers).settings.into_iter().map(|setting| setting.setting).collect()
}

/// A setting and its source.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedSetting {
    pub setting: Setting,
    pub source: SettingSource,
}

impl ResolvedSetting {
    /// Describes where the user can find and change the setting.
    pub fn describe(&self) -> String {
        self.source.describe(self.setting.field, self.setting.key.as_deref())
    }

    /// The string value, or an empty string if the value is not a string.
    pub fn text(&self) -> &str {
        self.setting.value.as_str().unwrap_or_default()
    }

    /// Whether the setting must be honored or rejected although `deciding` makes it inapplicable: its source
    /// is specific to this deployment and has at least the precedence of `deciding`.
    pub fn is_explicit(&self, deciding: Option<&Self>) -> bool {
        self.source.is_deployment_specific()
            && deciding.is_none_or(|deciding| self.has_at_least_precedence_of(deciding))
    }

    /// Whether the source has at least the precedence of the other setting's source.
    pub fn has_at_least_precedence_of(&self, other: &Self) -> bool {
        self.source.precedence() >= other.source.precedence()
    }
}

/// The merged settings of all layers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MergedSettings {
    settings: Vec<ResolvedSetting>,
    overridden: Vec<ResolvedSetting>,
}

impl MergedSettings {
    /// Merges layers. Their order does not matter.
    pub fn from_layers(layers: impl IntoIterator<Item = SettingsLayer>) -> Self {
        let mut layers: Vec<SettingsLayer> = layers.into_iter().collect();
        // The live layer is first, so that its elements keep their order.
        layers.sort_by_key(|layer| (!layer.source.is_live(), layer.source.precedence()));
        let live = layers.first().filter(|layer| layer.source.is_live());
        let has_live = live.is_some();
        let live = live.map(|live| live.settings.clone()).unwrap_or_default();
        let mut merged = Self::default();
        for SettingsLayer { source, settings } in layers {
            if has_live && source.is_for_new_deployments() {
                let is_set = settings.into_iter().filter(|setting| !setting.value.is_null());
                let overridden = is_set.map(|setting| ResolvedSetting { setting, source: source.clone() });
                merged.overridden.extend(overridden);
                continue;
            }
            for setting in settings.clone() {
                merged.insert(ResolvedSetting { setting, source: source.clone() });
            }
            merged.remove_further_occurrences(&source, &settings);
        }
        merged.order_elements(&live);
        merged
    }

    fn insert(&mut self, new: ResolvedSetting) {
        let Setting { field, key, value } = &new.setting;
        if value.is_null() {
            self.settings.retain(|known| {
                known.setting.field != *field
                    || (key.is_some() && known.setting.key != *key)
                    || !new.has_at_least_precedence_of(known)
            });
            return;
        }
        // One source may contain an engine flag several times.
        let is_replaced = |known: &ResolvedSetting| {
            is_same_setting(&known.setting, &new.setting)
                && (field.kind != FieldType::Args || known.source != new.source)
        };
        match self.settings.iter_mut().find(|known| is_replaced(known)) {
            None => self.settings.push(new),
            Some(known) if !new.has_at_least_precedence_of(known) => self.overridden.push(new),
            Some(known) => {
                let previous = std::mem::replace(known, new);
                self.overridden.push(previous);
            }
        }
    }

    /// Removes occurrences of an engine flag of weaker sources that a source did not replace one by one.
    fn remove_further_occurrences(&mut self, source: &SettingSource, settings: &[Setting]) {
        let is_further = |known: &ResolvedSetting| {
            known.source != *source
                && source.precedence() >= known.source.precedence()
                && settings.iter().any(|new| is_same_setting(new, &known.setting))
        };
        let all = std::mem::take(&mut self.settings);
        let (further, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_further);
        self.settings = kept;
        self.overridden.extend(further);
    }

    /// Sorts the map entries that the live deployment does not have by key, after those that it has. The order
    /// in which a user types them then does not matter. Lists and engine flags are never sorted, because their
    /// order may have a meaning. Arguments before the first flag stay first: behind a flag of another source,
    /// they would become its values.
    fn order_elements(&mut self, live: &[Setting]) {
        let position = |setting: &Setting| match (setting.field.kind, setting.key.as_deref()) {
            (FieldType::Map, key) => {
                let at = live.iter().position(|one| is_same_setting(one, setting));
                (at.unwrap_or(usize::MAX), key.map(str::to_owned))
            }
            (FieldType::Args, Some("")) => (0, None),
            _ => (1, None),
        };
        let ordered = super::fields().filter(|field| matches!(field.kind, FieldType::Map | FieldType::Args));
        for path in ordered.map(|field| field.path) {
            let is_of_field = |found: &ResolvedSetting| found.setting.field.path == path;
            let mut entries: Vec<ResolvedSetting> =
                self.settings.iter().filter(|found| is_of_field(found)).cloned().collect();
            entries.sort_by_key(|found| position(&found.setting));
            let slots = self.settings.iter_mut().filter(|found| is_of_field(found));
            slots.zip(entries).for_each(|(slot, entry)| *slot = entry);
        }
    }

    /// The setting of a field that is neither a list nor a map.
    pub fn get(&self, path: &str) -> Option<&ResolvedSetting> {
        self.settings.iter().find(|setting| setting.setting.field.path == path)
    }

    /// All settings of a field.
    pub fn all<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a ResolvedSetting> {
        self.settings.iter().filter(move |setting| setting.setting.field.path == path)
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = &ResolvedSetting> {
        self.settings.iter()
    }

    /// Whether the deployment exists and its settings are among the layers.
    pub fn has_live_deployment(&self) -> bool {
        self.settings.iter().chain(&self.overridden).any(|found| found.source.is_live())
    }

    /// Removes all settings of a field.
    pub fn remove(&mut self, path: &str) {
        self.settings.retain(|setting| setting.setting.field.path != path);
    }

    /// Settings of the live deployment that override a different value of another source, as pairs of the
    /// kept and the overridden setting.
    pub fn conflicts(&self) -> Vec<(&ResolvedSetting, &ResolvedSetting)> {
        let first_live = |(at, found): &(usize, &ResolvedSetting)| {
            let is_same = |one: &ResolvedSetting| is_same_setting(&one.setting, &found.setting);
            found.source.is_live() && self.settings.iter().position(is_same) == Some(*at)
        };
        let live_settings = self.settings.iter().enumerate().filter(first_live);
        live_settings
            .filter_map(|(_, live)| {
                let has_other_value = |other: &&ResolvedSetting| {
                    is_same_setting(&other.setting, &live.setting)
                        && values(&self.overridden, other) != values(&self.settings, live)
                };
                Some((live, self.overridden.iter().rev().find(has_other_value)?))
            })
            .collect()
    }

    /// Settings of variables and config files for fields and elements that the live deployment leaves unset, the
    /// strongest source of each.
    pub fn not_applied(&self) -> Vec<&ResolvedSetting> {
        let mut found: Vec<&ResolvedSetting> = Vec::new();
        for one in self.overridden.iter().rev().filter(|one| one.source.is_for_new_deployments()) {
            let is_same = |other: &ResolvedSetting| is_same_setting(&other.setting, &one.setting);
            if !self.settings.iter().any(is_same) && !found.iter().any(|other| is_same(other)) {
                found.push(one);
            }
        }
        found.reverse();
        found
    }
}

/// Whether both are values of the same field and the same element.
fn is_same_setting(one: &Setting, other: &Setting) -> bool {
    one.field == other.field && one.key == other.key
}

/// The values that the source of a setting has for it. An engine flag may have several.
fn values<'a>(settings: &'a [ResolvedSetting], of: &ResolvedSetting) -> Vec<&'a Value> {
    let of_source =
        settings.iter().filter(|one| one.source == of.source && is_same_setting(&one.setting, &of.setting));
    of_source.map(|one| &one.setting.value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: SettingSource, assignments: &[&str]) -> SettingsLayer {
        let mut layer = SettingsLayer::new(source);
        for assignment in assignments {
            layer.set(assignment).expect("a valid assignment");
        }
        layer
    }

    fn live() -> SettingSource {
        SettingSource::Live("qwen".into())
    }

    #[test]
    fn higher_precedence_wins_per_setting_in_any_layer_order() {
        let merged = MergedSettings::from_layers([
            layer(SettingSource::Flag, &["decode.replicas=2", "labels.team=a"]),
            layer(SettingSource::Environment, &["router.mode=kv", "labels.team=c", "labels.stage=test"]),
            layer(live(), &["decode.replicas=1", "router.mode=random", "mode=disagg"]),
        ]);
        let value_and_source = |path: &str| {
            merged.get(path).map(|found| (found.setting.value.to_string(), found.source.to_string()))
        };
        assert_eq!(value_and_source("decode.replicas"), Some(("2".into(), "flag".into())));
        assert_eq!(value_and_source("router.mode"), Some(("\"random\"".into(), "live object".into())));
        let labels: Vec<String> =
            merged.all("labels").map(|found| format!("{} {}", found.setting.path(), found.text())).collect();
        assert_eq!(labels, ["labels.team a"]);
        let not_applied: Vec<String> =
            merged.not_applied().iter().map(|found| found.setting.path()).collect();
        assert_eq!(not_applied, ["labels.stage"]);
        let conflicts = merged.conflicts();
        assert_eq!(conflicts.len(), 1);
        assert_eq!((conflicts[0].0.text(), conflicts[0].1.text()), ("random", "kv"));
    }

    #[test]
    fn variables_and_config_files_do_not_change_what_a_live_deployment_leaves_unset() {
        let assignments = ["priorityClass=low", "env.A=1", "tolerations=a", "engineArgs=--seed 1"];
        let weaker = || {
            [
                layer(SettingSource::Environment, &assignments),
                layer(SettingSource::UserConfig("c".into()), &["priorityClass=lowest", "serviceAccount=s"]),
                layer(SettingSource::ProjectFile("p".into()), &["labels.team=a"]),
            ]
        };
        let paths = |found: Vec<&ResolvedSetting>| -> Vec<String> {
            found.iter().map(|found| format!("{} {}", found.setting.path(), found.source)).collect()
        };
        let new = MergedSettings::from_layers(weaker());
        assert_eq!((new.iter().count(), new.not_applied().len()), (6, 0));
        let lived =
            [layer(live(), &["decode.replicas=1"]), layer(SettingSource::Flag, &["serviceAccount=x"])];
        let merged = MergedSettings::from_layers(weaker().into_iter().chain(lived));
        assert_eq!(paths(merged.iter().collect()), ["decode.replicas live object", "serviceAccount flag"]);
        let not_applied = merged.not_applied();
        assert!(not_applied.iter().any(|one| one.setting.path() == "priorityClass" && one.text() == "low"));
        assert_eq!(not_applied.len(), 5, "{:?}", paths(not_applied));
    }

    #[test]
    fn changing_one_engine_flag_preserves_the_others() {
        let merged = MergedSettings::from_layers([
            layer(SettingSource::Flag, &["decode.args=--max-model-len=900000"]),
            layer(live(), &["decode.args=--seed 1 --max-model-len 8192", "engineArgs=--quantization fp8"]),
        ]);
        let args: Vec<String> =
            merged.all("decode.args").map(|found| found.setting.value.to_string()).collect();
        assert_eq!(args, [r#"["--seed","1"]"#, r#"["--max-model-len=900000"]"#]);
    }

    #[test]
    fn null_unsets_lower_precedence_value() {
        let assignments = ["priorityClass=low", "labels.a=1", "labels.b=2", "decode.args=--seed 1"];
        let merged = MergedSettings::from_layers([
            layer(SettingSource::Set, &["priorityClass=null", "labels.a=null", "decode.args=null"]),
            layer(live(), &assignments),
        ]);
        let remaining: Vec<String> = merged.iter().map(|found| found.setting.path()).collect();
        assert_eq!(remaining, ["labels.b"]);
    }

    #[test]
    fn escaped_dots_belong_to_the_label_key() {
        let merged =
            MergedSettings::from_layers([layer(SettingSource::Set, &["labels.example\\.com/team=a"])]);
        let found = merged.get("labels").expect("the label is set");
        assert_eq!(found.setting.key.as_deref(), Some("example.com/team"));
        assert_eq!(found.setting.path(), "labels.example\\.com/team");
    }

    fn assigned(merged: &MergedSettings, path: &str) -> Vec<String> {
        merged
            .all(path)
            .map(|found| format!("{}={}", found.setting.key.as_deref().unwrap_or_default(), found.text()))
            .collect()
    }

    #[test]
    fn new_map_entries_are_sorted_and_live_ones_keep_their_order() {
        let flags = ["env.C=1", "env.A=1", "env.Y=2", "env.B=1"];
        let merged = MergedSettings::from_layers([layer(SettingSource::Flag, &flags)]);
        assert_eq!(assigned(&merged, "env"), ["A=1", "B=1", "C=1", "Y=2"]);
        let merged = MergedSettings::from_layers([
            layer(SettingSource::Flag, &flags),
            layer(SettingSource::Environment, &["env.X=9", "env.0=9"]),
            layer(live(), &["env.Z=1", "env.Y=1", "env.X=1"]),
        ]);
        assert_eq!(assigned(&merged, "env"), ["Z=1", "Y=2", "X=1", "A=1", "B=1", "C=1"]);
    }

    #[test]
    fn live_order_of_lists_and_engine_arguments_is_independent_of_weaker_sources() {
        let merged = MergedSettings::from_layers([
            layer(SettingSource::UserConfig("c".into()), &["tolerations=b,c", "engineArgs=--b 2 --c 3"]),
            layer(live(), &["tolerations=a,b", "engineArgs=--a 1 --b 1 --a 2"]),
            layer(SettingSource::Flag, &["tolerations=z,y"]),
        ]);
        let tolerations: Vec<&str> = merged.all("tolerations").map(ResolvedSetting::text).collect();
        assert_eq!(tolerations, ["a", "b", "z", "y"]);
        let args = |merged: &MergedSettings| -> Vec<String> {
            let groups = merged.all("engineArgs").filter_map(|found| found.setting.value.as_array());
            groups.flatten().filter_map(|arg| arg.as_str().map(Into::into)).collect()
        };
        assert_eq!(args(&merged), ["--a", "1", "--b", "1", "--a", "2"]);
        assert_eq!(merged.conflicts().len(), 1, "only --b differs");
        let merged = MergedSettings::from_layers([
            layer(live(), &["engineArgs=--a 1 --b 1 --a 2"]),
            layer(SettingSource::Flag, &["engineArgs=--a 3 --d --a 4"]),
        ]);
        assert_eq!(args(&merged), ["--a", "3", "--b", "1", "--a", "4", "--d"]);
        let merged = MergedSettings::from_layers([
            layer(live(), &["engineArgs=--a 1 --b 1 --a 2"]),
            layer(SettingSource::Flag, &["engineArgs=--a 3"]),
        ]);
        assert_eq!(args(&merged), ["--a", "3", "--b", "1"]);
    }
}
