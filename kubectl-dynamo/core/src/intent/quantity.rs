//! Syntax check for Kubernetes quantities in settings. `crate::quantity` computes values.

use crate::quantity::ExactQuantity;

/// Whether a string is a quantity above zero: a decimal number with an optional binary, decimal, or exponent
/// suffix.
pub fn is_quantity(given: &str) -> bool {
    // Parts of a byte are not a size.
    let is_whole = !given.ends_with(['m', 'u', 'n']);
    is_whole && ExactQuantity::parse(given).is_some_and(|exact| exact.units() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_quantity_follows_kubernetes_grammar() {
        for given in ["1", "20Gi", "20G", "0.5Ti", "1e9", "500M"] {
            assert!(is_quantity(given), "{given}");
        }
        for given in ["", "0", "0Gi", "12Q", "-1Gi", "Gi", "1 Gi", "1gi", "1.2.3"] {
            assert!(!is_quantity(given), "{given}");
        }
    }
}
