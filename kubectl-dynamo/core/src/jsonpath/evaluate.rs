//! Applies a template to a document.

use std::cmp::Ordering;

use serde_json::Value;

use super::text::text;
use super::{Condition, EvaluationProblem, JsonPathError, Operator, Part, RangeEnd, Selector, Step};

type Evaluated<T> = Result<T, JsonPathError>;

/// Returns the text of all parts.
pub(super) fn render(parts: &[Part], document: &Value) -> Evaluated<String> {
    let mut output = String::new();
    write_parts(parts, document, &mut output)?;
    Ok(output)
}

fn write_parts(parts: &[Part], current: &Value, output: &mut String) -> Evaluated<()> {
    for part in parts {
        match part {
            Part::Text(text) => output.push_str(text),
            Part::Action(steps) => {
                let results = results(steps, current)?;
                output.push_str(&results.into_iter().map(text).collect::<Vec<_>>().join(" "));
            }
            Part::Range { source, body, end } => {
                for item in results(source, current)? {
                    write_parts(body, item, output)?;
                }
                if *end == RangeEnd::EndOfTemplate {
                    write_parts(body, current, output)?;
                }
            }
        }
    }
    Ok(())
}

fn results<'v>(steps: &'v [Step], value: &'v Value) -> Evaluated<Vec<&'v Value>> {
    apply(steps, vec![value])
}

fn apply<'v>(steps: &'v [Step], values: Vec<&'v Value>) -> Evaluated<Vec<&'v Value>> {
    steps.iter().try_fold(values, |values, step| step.apply(values))
}

impl Step {
    fn apply<'v>(&'v self, values: Vec<&'v Value>) -> Evaluated<Vec<&'v Value>> {
        match &self.selector {
            Selector::Field(name) => Ok(values.into_iter().filter_map(|value| value.get(name)).collect()),
            Selector::Wildcard => Ok(values.into_iter().flat_map(children).collect()),
            Selector::Descendants => {
                let mut found = Vec::new();
                values.into_iter().for_each(|value| push_descendants(value, &mut found));
                Ok(found)
            }
            Selector::Text(text) => Ok(vec![text]),
            Selector::Constant(constant) => Ok(values.iter().map(|_| constant).collect()),
            Selector::Union(alternatives) => {
                let results = alternatives.iter().map(|steps| apply(steps, values.clone()));
                Ok(results.collect::<Evaluated<Vec<_>>>()?.concat())
            }
            Selector::Index(_) | Selector::Slice { .. } | Selector::Filter(_) => {
                let mut found = Vec::new();
                for list in values.into_iter().filter(|value| !value.is_null()) {
                    found.extend(self.items(list)?);
                }
                Ok(found)
            }
        }
    }

    /// Returns the items of a list that an index, a slice, or a filter selects.
    fn items<'v>(&'v self, list: &'v Value) -> Evaluated<Vec<&'v Value>> {
        let items =
            list.as_array().ok_or_else(|| self.error(EvaluationProblem::NotAList { kind: kind(list) }))?;
        match &self.selector {
            Selector::Index(index) => {
                let item = items.get(self.place(*index, items.len())?);
                let out_of_range = EvaluationProblem::OutOfRange { index: *index, length: items.len() };
                item.map(|item| vec![item]).ok_or_else(|| self.error(out_of_range))
            }
            Selector::Slice { start, end, step } => self.slice(items, (*start, *end), *step),
            Selector::Filter(condition) => {
                let mut found = Vec::new();
                for item in items {
                    if self.is_met(condition, item)? {
                        found.push(item);
                    }
                }
                Ok(found)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn slice<'v>(
        &self,
        items: &'v [Value],
        (start, end): (i64, Option<i64>),
        step: usize,
    ) -> Evaluated<Vec<&'v Value>> {
        let length = items.len();
        let first = self.place(start, length)?;
        let after_last = end.map_or(Ok(length), |end| self.place(end, length))?;
        if first == after_last {
            return Ok(Vec::new());
        }
        if first >= length {
            return Err(self.error(EvaluationProblem::OutOfRange { index: start, length }));
        }
        if after_last > length {
            let index = end.unwrap_or_default();
            return Err(self.error(EvaluationProblem::OutOfRange { index, length }));
        }
        match items.get(first..after_last) {
            Some(slice) => Ok(slice.iter().step_by(step).collect()),
            None => Err(self.error(EvaluationProblem::StartAfterEnd)),
        }
    }

    /// Returns the place of an index, which counts from the end if it is negative.
    fn place(&self, index: i64, length: usize) -> Evaluated<usize> {
        let place = match usize::try_from(index.unsigned_abs()) {
            Ok(distance) if index < 0 => length.checked_sub(distance),
            Ok(place) => Some(place),
            Err(_) => None,
        };
        place.ok_or_else(|| self.error(EvaluationProblem::OutOfRange { index, length }))
    }

    fn is_met(&self, condition: &Condition, item: &Value) -> Evaluated<bool> {
        let (left, operator, right) = match condition {
            Condition::Exists(steps) => return Ok(!results(steps, item)?.is_empty()),
            Condition::Comparison { left, operator, right } => (left, operator, right),
        };
        match (results(left, item)?.as_slice(), results(right, item)?.as_slice()) {
            ([], _) | (_, []) => Ok(false),
            ([left], [right]) => self.compare(left, *operator, right),
            _ => Err(self.error(EvaluationProblem::SeveralValues)),
        }
    }

    fn compare(&self, left: &Value, operator: Operator, right: &Value) -> Evaluated<bool> {
        let ordering = match (left, right) {
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => {
                let equality = Some(Ordering::Equal).filter(|_| left == right).or(Some(Ordering::Less));
                equality.filter(|_| matches!(operator, Operator::Equal | Operator::NotEqual))
            }
            (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => one.as_f64().zip(other.as_f64()).and_then(|(left, right)| left.partial_cmp(&right)),
            },
            _ => None,
        };
        let incompatible = EvaluationProblem::IncompatibleTypes { left: kind(left), right: kind(right) };
        let ordering = ordering.ok_or_else(|| self.error(incompatible))?;
        Ok(match operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            Operator::GreaterOrEqual => ordering.is_ge(),
        })
    }

    fn error(&self, problem: EvaluationProblem) -> JsonPathError {
        JsonPathError { position: self.position, problem }
    }
}

/// Returns the values of an object, sorted by key, or the items of a list.
fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    }
}

/// Adds a value and the values below it that are not empty. kubectl counts the characters of a string as values below.
fn push_descendants<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    let children = children(value);
    if !children.is_empty() || value.as_str().is_some_and(|text| !text.is_empty()) {
        found.push(value);
    }
    children.into_iter().for_each(|child| push_descendants(child, found));
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
