//! Kubernetes' grammar of quantities: whether a text is one. What one amounts to is asked elsewhere.

/// Whether a text is a quantity above zero: a decimal number with an optional binary, decimal or exponent suffix.
pub fn is_quantity(given: &str) -> bool {
    let digits = given.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(given.len());
    let (number, suffix) = given.split_at(digits);
    let known = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].contains(&suffix)
        || suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    known && number.parse::<f64>().is_ok_and(|number| number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for given in ["1", "20Gi", "20G", "0.5Ti", "1e9", "500M"] {
            assert!(is_quantity(given), "{given}");
        }
        for given in ["", "0", "0Gi", "12Q", "-1Gi", "Gi", "1 Gi", "1gi", "1.2.3"] {
            assert!(!is_quantity(given), "{given}");
        }
    }
}
