//! Kubernetes quantities of memory and storage: parsing, addition, and the canonical notation of Kubernetes.
//! An operator that reads an object and writes it back must not change a quantity.

use std::fmt;

use crate::quantity::{BINARY, DECIMAL, ExactQuantity, SuffixStyle};

/// A number of bytes and the suffix style of its notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    pub bytes: u64,
    suffix_style: SuffixStyle,
}

impl Quantity {
    /// Creates a quantity of `count` GiB.
    pub fn gibibytes(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 30), suffix_style: SuffixStyle::Binary }
    }

    /// Parses a quantity of bytes. `None` if Kubernetes would reject it or if it is negative. Fractions of a
    /// byte are rounded up, as in Kubernetes.
    pub fn parse(text: &str) -> Option<Self> {
        let exact = ExactQuantity::parse(text)?;
        Some(Self { bytes: exact.units().try_into().ok()?, suffix_style: exact.suffix_style })
    }

    /// Size in gigabytes (10⁹ bytes), rounded down. Dynamo uses this unit.
    pub fn to_gigabytes(self) -> u64 {
        self.bytes / 1_000_000_000
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Adds two quantities. The sum has the suffix style of the left operand.
    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), ..self }
    }
}

impl fmt::Display for Quantity {
    /// Writes the quantity with the largest suffix that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.suffix_style {
            SuffixStyle::Binary => &BINARY,
            SuffixStyle::Decimal => &DECIMAL,
        };
        let bytes = u128::from(self.bytes);
        match table.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)) {
            Some((suffix, factor)) => write!(f, "{}{suffix}", bytes / factor),
            None => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_like_kubernetes() {
        for (given, bytes, canonical) in [
            ("20Gi", 20 << 30, "20Gi"),
            ("1024Mi", 1 << 30, "1Gi"),
            ("1.5Gi", 3 << 29, "1536Mi"),
            ("20G", 20_000_000_000, "20G"),
            ("1e3", 1_000, "1k"),
            ("0", 0, "0"),
            ("500m", 1, "1"),
            ("12E6", 12_000_000, "12M"),
            ("1.", 1, "1"),
        ] {
            let quantity = Quantity::parse(given).expect(given);
            assert_eq!((quantity.bytes, quantity.to_string().as_str()), (bytes, canonical), "{given}");
            assert_eq!(Quantity::parse(canonical), Some(quantity), "{given}");
        }
    }

    #[test]
    fn rejects_invalid_and_oversized_quantities() {
        for given in
            ["", "Gi", "-1", "1GiB", "1 Gi", "1.2.3", ".", "20Ei", "1e99", "abc", "9999999999999999999999999"]
        {
            assert_eq!(Quantity::parse(given), None, "{given}");
        }
    }

    #[test]
    fn to_gigabytes_uses_decimal_units() {
        assert_eq!(Quantity::gibibytes(20).to_gigabytes(), 21);
        assert_eq!(Quantity::parse("200G").map(Quantity::to_gigabytes), Some(200));
    }
}
