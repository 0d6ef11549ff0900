//! Image references: their syntax, and variables that were not replaced. Recipes contain names such as
//! `vllm-runtime:${VERSION}`, which `envsubst` or a chart replaces. The kubelet would report such a name only after the
//! pod is scheduled. It does not ask a registry.

/// What is wrong with an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// It contains a variable, such as `${VERSION}`.
    #[error("the variable {0} was not replaced")]
    Variable(String),
    /// It is not of the form `registry/name:tag@digest`.
    #[error("an image has the form REGISTRY/NAME:TAG")]
    Syntax,
}

/// Checks the syntax of an image reference.
///
/// # Errors
/// The variable that it contains, or a syntax that no container runtime accepts.
pub fn check_image_reference(image: &str) -> Result<(), ImageReferenceError> {
    if let Some(variable) = find_variable(image) {
        return Err(ImageReferenceError::Variable(variable.into()));
    }
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before the last slash belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => {
            (Some(registry), path)
        }
        _ => (None, name),
    };
    let is_valid = registry.is_none_or(is_registry)
        && path.split('/').all(is_path_part)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    if is_valid { Ok(()) } else { Err(ImageReferenceError::Syntax) }
}

/// Returns the first variable of a template: `${NAME}`, `$(NAME)`, `$NAME`, `{{ name }}`, or `<name>`.
pub fn find_variable(text: &str) -> Option<&str> {
    let start = text.find(['$', '{', '<'])?;
    let variable = &text[start..];
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = [("${", "}"), ("$(", ")"), ("{{", "}}"), ("<", ">")].into_iter().find_map(|(open, close)| {
        let inner = variable.strip_prefix(open)?;
        Some(open.len() + inner.find(close)? + close.len())
    });
    let end = end.or_else(|| {
        let name = variable.strip_prefix('$')?;
        let length = name.find(|letter| !is_name(letter)).unwrap_or(name.len());
        (length > 0).then_some(1 + length)
    });
    end.map(|end| &variable[..end])
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = registry.rsplit_once(':').unwrap_or((registry, "0"));
    let is_address = host.starts_with('[') && host.ends_with(']');
    let is_name = host.split('.').all(|part| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    });
    (is_address || is_name) && !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit())
}

fn is_path_part(part: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    part.starts_with(is_letter)
        && part.ends_with(is_letter)
        && part.chars().all(|letter| is_letter(letter) || "._-".contains(letter))
}

fn is_tag(tag: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (1..=128).contains(&tag.len())
        && tag.starts_with(is_letter)
        && tag.chars().all(|letter| is_letter(letter) || ".-".contains(letter))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && !hex.is_empty() && hex.chars().all(|digit| digit.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_form_of_a_reference() {
        for image in [
            "busybox",
            "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1",
            "localhost:5000/mine",
            "LOCALHOST.example:5000/a_b/c.d-e:v1.2_3",
            "10.0.0.1:5000/a/b@sha256:00ff",
            "nvcr.io/a/vllm-runtime:1.4.1-a.x-k2-post.1@sha256:2aa1db2002f58d2a821f27908ef0e25e86b7c14b",
            "[::1]:5000/a",
        ] {
            assert_eq!(check_image_reference(image), Ok(()), "{image}");
        }
    }

    #[test]
    fn variables_that_were_not_replaced_are_found() {
        for (image, variable) in [
            ("nvcr.io/nvidia/ai-dynamo/vllm-runtime:${VERSION}", "${VERSION}"),
            ("${VLLM_IMAGE}", "${VLLM_IMAGE}"),
            ("registry/a:$TAG", "$TAG"),
            ("$REGISTRY/a:1", "$REGISTRY"),
            ("a:$(VERSION)", "$(VERSION)"),
            ("a:{{ .Values.tag }}", "{{ .Values.tag }}"),
            ("<registry>/a:1", "<registry>"),
            ("a:${VERSION:-1.6.1}", "${VERSION:-1.6.1}"),
        ] {
            assert_eq!(
                check_image_reference(image),
                Err(ImageReferenceError::Variable(variable.into())),
                "{image}"
            );
        }
    }

    #[test]
    fn rejects_other_invalid_references() {
        for image in [
            "",
            " ",
            "a b",
            "a:",
            "a:b c",
            "Upper/a",
            "a//b",
            "a@",
            "a@sha256:xyz",
            "a:{b",
            "a:$",
            "a\n",
            "a/:1",
            "/a",
            "é",
        ] {
            assert_eq!(check_image_reference(image), Err(ImageReferenceError::Syntax), "{image:?}");
        }
    }
}
