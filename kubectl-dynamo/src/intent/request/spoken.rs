//! Leaves as the flags that say them: the one-line command that repeats a request.

use super::{Kind, Leaf};

/// The words of a command line that say just these leaves; the model stands first and `--` last.
pub fn command_words(leaves: &[Leaf]) -> Vec<String> {
    let mut words = Vec::new();
    let mut last = Vec::new();
    let text = |leaf: &Leaf| leaf.value.as_str().map_or_else(|| leaf.value.to_string(), Into::into);
    let disk = leaves.iter().find(|leaf| leaf.field.path == "kvOffload.disk").map(text);
    for leaf in leaves {
        let flag = leaf.field.flag;
        match (leaf.field.path, leaf.field.kind) {
            ("model", _) if text(leaf).contains('/') => words.insert(0, text(leaf)),
            ("engineArgs", _) => last.extend(arguments(leaf)),
            ("kvOffload.disk", _) => {}
            ("kvOffload.cpu", _) if text(leaf) == "none" => words.extend([flag.into(), text(leaf)]),
            ("kvOffload.cpu", _) => {
                let disk = disk.as_ref().map(|size| format!(",disk={size}")).unwrap_or_default();
                words.extend([flag.into(), format!("cpu={}{disk}", text(leaf))]);
            }
            (_, Kind::Arguments) => words.extend(arguments(leaf).iter().map(|arg| format!("{flag}={arg}"))),
            (_, Kind::Switch) if leaf.value == true => words.push(flag.into()),
            (_, Kind::Switch) => words.push(format!("{flag}=false")),
            (_, Kind::Map) => {
                words.extend([
                    flag.into(),
                    format!("{}={}", leaf.key.as_deref().unwrap_or_default(), text(leaf)),
                ]);
            }
            _ => words.extend([flag.into(), text(leaf)]),
        }
    }
    if !last.is_empty() {
        words.push("--".into());
        words.extend(last);
    }
    words
}

fn arguments(leaf: &Leaf) -> Vec<String> {
    let args = leaf.value.as_array().into_iter().flatten();
    args.filter_map(|arg| arg.as_str().map(Into::into)).collect()
}

/// Words as a shell takes them, in quotes where they need some.
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |word: &String| {
        let is_plain = !word.is_empty() && word.chars().all(plain);
        if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::request::{Layer, Source};

    #[test]
    fn a_request_is_said_in_one_line() {
        let mut layer = Layer::of(Source::Set);
        for said in [
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
            layer.set(said).expect("a field and a value");
        }
        assert_eq!(
            quoted(&command_words(&layer.leaves)),
            r"Qwen/Qwen3-0.6B --mode disagg --decode-tp 4 --decode-arg=--seed=1 --kv-offload cpu=20Gi,disk=200Gi --label 'team=it'\''s us' --trust-remote-code -- --block-size 128"
        );
    }
}
