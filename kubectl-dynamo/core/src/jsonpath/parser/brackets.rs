//! Parses brackets: indexes, slices, quoted keys, unions, and filters.

use super::super::{Condition, Operator, Selector, Step, SyntaxProblem};
use super::scanner::Scanner;
use super::{Parsed, all_steps, error, field};

/// Parses one pair of brackets, at whose start the scanner is.
pub(super) fn steps(scanner: &mut Scanner) -> Parsed<Vec<Step>> {
    let position = scanner.position();
    if scanner.skip("[?(") {
        let selector = Selector::Filter(filter(scanner, position)?);
        return Ok(vec![Step { position, selector }]);
    }
    scanner.skip("[");
    let rest = scanner.rest();
    let length = rest.find([']', '\n']).filter(|end| rest[*end..].starts_with(']'));
    let length = length.ok_or_else(|| error(position, SyntaxProblem::UnclosedBracket))?;
    let content = scanner.take(length);
    scanner.skip("]");
    let elements = elements(content);
    match <[Scanner; 1]>::try_from(elements) {
        Ok([only]) => element(only),
        Err(elements) => {
            let alternatives = elements.into_iter().map(|one| element(one.trimmed()));
            let selector = Selector::Union(alternatives.collect::<Parsed<_>>()?);
            Ok(vec![Step { position, selector }])
        }
    }
}

/// Splits the content of brackets at its commas.
fn elements(mut content: Scanner) -> Vec<Scanner> {
    let mut elements = Vec::new();
    loop {
        let length = content.rest().find(',');
        elements.push(content.take(length.unwrap_or(content.rest().len())));
        if !content.skip(",") {
            return elements;
        }
    }
}

/// Parses one element of brackets: `*`, a quoted key, an index, or a slice.
fn element(scanner: Scanner) -> Parsed<Vec<Step>> {
    let position = scanner.position();
    let text = scanner.rest();
    let invalid = || error(position, SyntaxProblem::InvalidIndex(text.to_owned()));
    let is_key = text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'');
    if is_key {
        return key(scanner);
    }
    let number = |text: &str| match text {
        "" => Ok(None),
        text if text.starts_with('+') => Err(invalid()),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    let mut bounds = if text == "*" { ":" } else { text }.split(':').map(number);
    let start = bounds.next().transpose()?.flatten().unwrap_or_default();
    let selector = match (bounds.next().transpose()?, bounds.next().transpose()?, bounds.next()) {
        (None, ..) => Selector::Index(start),
        (Some(end), step, None) => match usize::try_from(step.flatten().unwrap_or(1)) {
            Ok(step) if step > 0 => Selector::Slice { start, end, step },
            _ => return Err(error(position, SyntaxProblem::InvalidSliceStep)),
        },
        _ => return Err(invalid()),
    };
    Ok(vec![Step { position, selector }])
}

/// Parses a quoted key. As in kubectl, it can be a path, such as `'metadata.name'`.
fn key(mut scanner: Scanner) -> Parsed<Vec<Step>> {
    let content = scanner.rest().len() - 2;
    scanner.skip("'");
    let mut path = scanner.take(content);
    let mut steps = vec![field(&mut path)];
    steps.extend(all_steps(path)?);
    Ok(steps)
}

/// Parses the condition of a filter, and the end of its brackets.
fn filter(scanner: &mut Scanner, position: usize) -> Parsed<Condition> {
    let unclosed = || error(position, SyntaxProblem::UnclosedFilter);
    let length = condition_length(scanner.rest()).ok_or_else(unclosed)?;
    let content = scanner.take(length);
    if !scanner.skip(")]") {
        return Err(unclosed());
    }
    condition(content)
}

/// Returns the bytes before the parenthesis that ends a filter. One in quotes does not.
fn condition_length(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match (letter, quote) {
            ('\n', _) => return None,
            (')', None) => return Some(at),
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open && !is_escaped => quote = None,
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    None
}

fn condition(mut scanner: Scanner) -> Parsed<Condition> {
    let is_operator = |letter: char| matches!(letter, '!' | '<' | '>' | '=');
    let length = scanner.rest().find(is_operator).unwrap_or(scanner.rest().len());
    let left = all_steps(scanner.take(length))?;
    let position = scanner.position();
    let operator = match scanner.take_while(is_operator) {
        "" => return Ok(Condition::Exists(left)),
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        other => return Err(error(position, SyntaxProblem::InvalidOperator(other.to_owned()))),
    };
    Ok(Condition::Comparison { left, operator, right: all_steps(scanner)? })
}
