//! The text of a value as kubectl prints it, with the number format of Go.

use serde_json::{Number, Value};

/// Returns the text of a value: a string without quotes, and an object or a list as compact JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number, &FloatStyle::TEXT),
        other => json(other),
    }
}

/// Returns compact JSON. `<`, `>`, and `&` are escaped, as Go does.
fn json(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) => value.to_string(),
        Value::Number(number) => number_text(number, &FloatStyle::JSON),
        Value::String(text) => json_string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{}:{}", json_string(key), json(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn json_string(text: &str) -> String {
    let mut escaped = Value::from(text).to_string();
    for letter in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        if escaped.contains(letter) {
            escaped = escaped.replace(letter, &format!("\\u{:04x}", u32::from(letter)));
        }
    }
    escaped
}

/// When Go writes a fraction with an exponent, and with how many digits.
struct FloatStyle {
    without_exponent: std::ops::Range<f64>,
    exponent_digits: usize,
}

impl FloatStyle {
    /// `%v` of the package fmt.
    const TEXT: Self = Self { without_exponent: 1e-4..1e6, exponent_digits: 2 };
    /// The package encoding/json.
    const JSON: Self = Self { without_exponent: 1e-6..1e21, exponent_digits: 1 };
}

fn number_text(number: &Number, style: &FloatStyle) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let magnitude = float.abs();
    if magnitude == 0.0 || style.without_exponent.contains(&magnitude) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}e{sign}{digits:0>width$}", width = style.exponent_digits)
}
