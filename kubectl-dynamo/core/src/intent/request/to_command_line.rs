//! Converts settings to command-line arguments: the one-line command that repeats a request.
//! Quoting is for display only; the plugin never passes the line to a shell.

use super::{FieldType, Setting};

/// Converts settings to arguments. The model comes first, and engine flags come last, after `--`.
pub fn to_args(settings: &[Setting]) -> Vec<String> {
    let mut args = Vec::new();
    let mut engine_args = Vec::new();
    let text =
        |setting: &Setting| setting.value.as_str().map_or_else(|| setting.value.to_string(), Into::into);
    let disk = settings.iter().find(|setting| setting.field.path == "kvOffload.disk").map(text);
    for setting in settings {
        let flag = setting.field.flag;
        match (setting.field.path, setting.field.kind) {
            ("model", _) if text(setting).contains('/') => args.insert(0, text(setting)),
            ("engineArgs", _) => engine_args.extend(string_values(setting)),
            ("kvOffload.disk", _) => {}
            ("kvOffload.cpu", _) if text(setting) == "none" => args.extend([flag.into(), text(setting)]),
            ("kvOffload.cpu", _) => {
                let disk = disk.as_ref().map(|size| format!(",disk={size}")).unwrap_or_default();
                args.extend([flag.into(), format!("cpu={}{disk}", text(setting))]);
            }
            (_, FieldType::Args) => {
                args.extend(string_values(setting).iter().map(|arg| format!("{flag}={arg}")))
            }
            (_, FieldType::Bool) if setting.value == true => args.push(flag.into()),
            (_, FieldType::Bool) => args.push(format!("{flag}=false")),
            (_, FieldType::Map) => {
                args.extend([
                    flag.into(),
                    format!("{}={}", setting.key.as_deref().unwrap_or_default(), text(setting)),
                ]);
            }
            _ => args.extend([flag.into(), text(setting)]),
        }
    }
    if !engine_args.is_empty() {
        args.push("--".into());
        args.extend(engine_args);
    }
    args
}

fn string_values(setting: &Setting) -> Vec<String> {
    let args = setting.value.as_array().into_iter().flatten();
    args.filter_map(|arg| arg.as_str().map(Into::into)).collect()
}

/// Joins arguments to a shell command line, with quotes where a POSIX shell needs them.
pub fn shell_quote(args: &[String]) -> String {
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |arg: &String| {
        let is_plain = !arg.is_empty() && arg.chars().all(is_plain_char);
        if is_plain { arg.clone() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
    };
    args.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::request::{SettingSource, SettingsLayer};

    #[test]
    fn request_converts_to_one_command_line() {
        let mut layer = SettingsLayer::new(SettingSource::Set);
        for assignment in [
            "mode=disagg",
            "model=Qwen/Qwen3-0.6B",
            "engineArgs=--block-size 128",
            "decode.tensorParallelSize=4",
            "decode.args=--seed=1",
            "kvOffload.cpu=20Gi",
            "kvOffload.disk=200Gi",
            "labels.team=it's us",
            "trustRemoteCode=true",
        ] {
            layer.set(assignment).expect("a valid assignment");
        }
        assert_eq!(
            shell_quote(&to_args(&layer.settings)),
            r"Qwen/Qwen3-0.6B --mode disagg --decode-tp 4 --decode-arg=--seed=1 --kv-offload cpu=20Gi,disk=200Gi --label 'team=it'\''s us' --trust-remote-code -- --block-size 128"
        );
    }
}
