//! Parses `Link` headers (RFC 8288), to find the next page of a listing.
//!
//! A header can have several links, a link several relation types, and a response several headers. Where servers
//! differ from the RFC without ambiguity (single quotes, a missing `>`), the link is accepted. This module is pure.

/// One link of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link<'a> {
    /// The target as written, possibly relative.
    target: &'a str,
    /// The relation types, separated by white space.
    rel: Option<String>,
    /// The link is about another resource than the response.
    has_anchor: bool,
}

impl Link<'_> {
    /// Returns whether the link has this relation type to the response.
    fn has_relation(&self, name: &str) -> bool {
        let types = self.rel.iter().flat_map(|rel| rel.split_ascii_whitespace());
        !self.has_anchor && types.into_iter().any(|word| word.eq_ignore_ascii_case(name))
    }
}

/// Returns the target of the first link with `rel=next` in the values of all `Link` headers.
pub(crate) fn next_target<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut links = headers.into_iter().flat_map(parse);
    links.find(|link| link.has_relation("next")).map(|link| link.target)
}

/// Parses the links of one header. What is not a link is skipped.
fn parse(header: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let after = &rest[start + 1..];
        let Some(end) = after.find('>') else { break };
        let mut link = Link { target: after[..end].trim(), rel: None, has_anchor: false };
        rest = after[end + 1..].trim_start();
        while let Some(parameters) = rest.strip_prefix(';') {
            let (name, value, remaining) = split_parameter(parameters);
            match name.to_ascii_lowercase().as_str() {
                // Only the first `rel` counts (RFC 8288, section 3.3).
                "rel" => link.rel = link.rel.or(Some(value)),
                "anchor" => link.has_anchor = true,
                _ => {}
            }
            rest = remaining;
        }
        links.push(link);
    }
    links
}

/// Splits the first parameter, after its `;`: its name, its value without quotes, and the rest, which starts with
/// `;`, `,`, or something else that is not part of the parameter.
fn split_parameter(text: &str) -> (&str, String, &str) {
    let text = text.trim_start();
    let end = text.find(|character: char| character.is_whitespace() || "=;,\"".contains(character));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(value) = rest.trim_start().strip_prefix('=') else {
        return (name, String::new(), rest.trim_start());
    };
    let value = value.trim_start();
    let (value, rest) = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => split_quoted(&value[1..], quote),
        _ => {
            let end = value.find([';', ',']).unwrap_or(value.len());
            (value[..end].trim_end().to_owned(), &value[end..])
        }
    };
    (name, value, rest.trim_start())
}

/// Splits at the closing `quote`. A backslash escapes the next character.
fn split_quoted(text: &str, quote: char) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ if character == quote => return (value, &text[at + 1..]),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page_in_every_legal_form() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[r#"<https://hub/x?cursor=3>; rel="next""#], Some("https://hub/x?cursor=3")),
            (&["<https://hub/x?cursor=3>; rel=next"], Some("https://hub/x?cursor=3")),
            (&[r#"<x>; Rel="next""#], Some("x")),
            (&[r#"<x>; REL="NEXT""#], Some("x")),
            (&[r#"<x>;rel="next""#], Some("x")),
            (&[r#"<x> ; rel = "next""#], Some("x")),
            (&["<x>\t;\trel\t=\tnext"], Some("x")),
            (&[r#"<x>; rel="next last""#], Some("x")),
            (&[r#"<x>; rel="last  next""#], Some("x")),
            (&["<x>; rel='next'"], Some("x")),
            (&[r#"<x>; title="a, b; rel=prev"; rel="next""#], Some("x")),
            (&[r#"<x>; title="a \"quoted\" word"; rel="next""#], Some("x")),
            (&[r#"<x>; crossorigin; rel="next""#], Some("x")),
            (&[r#"<x>; rel="next"; rel="prev""#], Some("x")),
            (&[r#"<x>; rel="prev"; rel="next""#], None),
            (&[r#"</style.css>; rel="preload"; as=style, <x>; rel="next""#], Some("x")),
            (&[r#"</style.css>; rel=preload, <x>; rel=next, <y>; rel=last"#], Some("x")),
            (&["<a>; rel=prev", "<x>; rel=next"], Some("x")),
            (&["", "<x>; rel=next"], Some("x")),
            (&["<x?a=1,2&b=>; rel=next"], Some("x?a=1,2&b=")),
            (&["<?cursor=3>; rel=next"], Some("?cursor=3")),
            (&[r#"<x>; rel="next"; anchor="/other""#], None),
            (&[r#"<x>; rel="nextpage""#], None),
            (&[r#"<x>; title="rel=next""#], None),
            (&["<x>"], None),
            (&["nonsense, <x>; rel=next"], Some("x")),
            (&["<x; rel=next"], None),
            (&[r#"<x>; rel="next"#], Some("x")),
            (&[], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(next_target(headers.iter().copied()), *expected, "{headers:?}");
        }
    }
}
