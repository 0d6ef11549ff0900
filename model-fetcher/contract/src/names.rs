//! Names of repositories and revisions, as the hub allows them.

/// Returns whether `name` is a repository: `NAME` or `ORG/NAME`. Each part has 1 to 96 letters, digits, `-`, `_`, and `.`,
/// without `--` or `..` inside and without `-` or `.` at either end. This is the rule of `validate_repo_id` in
/// huggingface_hub.
pub fn is_repository_name(name: &str) -> bool {
    name.split('/').count() <= 2 && name.split('/').all(is_repository_part)
}

fn is_repository_part(part: &str) -> bool {
    (1..=96).contains(&part.len())
        && part.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
        && !part.contains("--")
        && !part.contains("..")
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
}

/// Returns whether `revision` can be a branch, a tag, or a commit: letters, digits, and punctuation that neither git nor a
/// shell gives a meaning, without `..`, and without `-` or `/` at the start.
pub fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && revision
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "-_./+@=,%".contains(character))
        && !revision.contains("..")
        && !revision.starts_with(['-', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_stay_in_the_folder_and_follow_the_hub() {
        for name in ["Qwen/Qwen3-0.6B", "gpt2", "a/b_c.d"] {
            assert!(is_repository_name(name), "{name}");
        }
        let long = "a".repeat(97);
        for name in [
            "",
            "/",
            "a/",
            "../x",
            "a/..",
            "a/b/c",
            "a b/c",
            "a/.hidden",
            "/a",
            "a/b\0",
            "o/a--b",
            "o/a.",
            "-a/b",
            &long,
        ] {
            assert!(!is_repository_name(name), "{name:?}");
        }
    }

    #[test]
    fn revisions_are_references_of_git() {
        for revision in ["main", "refs/pr/1", "v1.0+cu12", "release/2026-01", "feature@2", "8f3c2d1a"] {
            assert!(is_revision(revision), "{revision}");
        }
        for revision in ["", "a..b", "a b", "--upload", "/main", "a\\b", "a:b", "a~1", "a^", "x;y", "$x", "ä"]
        {
            assert!(!is_revision(revision), "{revision:?}");
        }
    }
}
