//! Kubernetes quantities: CPU cores, bytes of memory and storage, and counts. Values are parsed exactly; the caller
//! rounds CPU to millicores and everything else to whole units.

/// The exact value of a quantity, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactQuantity {
    numerator: u128,
    denominator: u128,
    pub suffix_style: SuffixStyle,
}

/// The suffix style of a quantity: binary (`Ki`, `Mi`, …) or decimal (`k`, `M`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuffixStyle {
    Binary,
    Decimal,
}

/// SuffixStyle for powers of 1024, the largest first.
pub const BINARY: [(&str, u128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
/// SuffixStyle for powers of 1000, the largest first.
pub const DECIMAL: [(&str, u128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl ExactQuantity {
    /// Parses a quantity. `None` if Kubernetes would reject it, if it is negative, or if it is larger than any
    /// machine.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (factor, divisor, suffix_style) = scale(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || all.len() > 24 || fraction.contains('.') {
            return None;
        }
        let places = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let numerator = all.parse::<u128>().ok()?.checked_mul(factor)?;
        Some(Self { numerator, denominator: places.checked_mul(divisor)?, suffix_style })
    }

    /// Returns whole units, such as bytes. Fractions are rounded up, as in Kubernetes.
    pub fn units(self) -> u128 {
        self.numerator.div_ceil(self.denominator)
    }

    /// Returns thousandths of a unit, such as millicores. Fractions are rounded up, as in Kubernetes.
    pub fn thousandths(self) -> Option<u128> {
        Some(self.numerator.checked_mul(1_000)?.div_ceil(self.denominator))
    }
}

/// Formats millicores as Kubernetes does: `500m`, or whole cores.
pub fn format_cpu(millicores: u32) -> String {
    match millicores {
        millicores if millicores.is_multiple_of(1000) => (millicores / 1000).to_string(),
        millicores => format!("{millicores}m"),
    }
}

/// Returns the factor, the divisor, and the style of a suffix.
fn scale(suffix: &str) -> Option<(u128, u128, SuffixStyle)> {
    let listed =
        |table: &[(&str, u128)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor);
    match (suffix, listed(&BINARY), listed(&DECIMAL)) {
        ("", ..) => Some((1, 1, SuffixStyle::Decimal)),
        ("m", ..) => Some((1, 1_000, SuffixStyle::Decimal)),
        ("u", ..) => Some((1, 1_000_000, SuffixStyle::Decimal)),
        ("n", ..) => Some((1, 1_000_000_000, SuffixStyle::Decimal)),
        (_, Some(factor), _) => Some((factor, 1, SuffixStyle::Binary)),
        (_, _, Some(factor)) => Some((factor, 1, SuffixStyle::Decimal)),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
            let exponent: i32 = exponent.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            let (factor, divisor) = if exponent < 0 { (1, power) } else { (power, 1) };
            Some((factor, divisor, SuffixStyle::Decimal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_fractions_of_a_core() {
        for (text, millicores) in [
            ("0.5", 500),
            ("500m", 500),
            (".25", 250),
            ("1.5", 1500),
            ("2", 2000),
            ("2.", 2000),
            ("5e-1", 500),
        ] {
            assert_eq!(
                ExactQuantity::parse(text).and_then(ExactQuantity::thousandths),
                Some(millicores),
                "{text}"
            );
        }
        // Kubernetes rounds fractions of a millicore up.
        assert_eq!(ExactQuantity::parse("100u").and_then(ExactQuantity::thousandths), Some(1));
    }

    #[test]
    fn rounds_bytes_up() {
        for (text, bytes) in [("1.5Ki", 1536), ("1k", 1000), ("500m", 1), ("0", 0), ("12E6", 12_000_000)] {
            assert_eq!(ExactQuantity::parse(text).map(ExactQuantity::units), Some(bytes), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_quantities() {
        for text in ["", ".", "m", "-1", "1.2.3", "1 Gi", "1GiB", "0x1", "1e99"] {
            assert_eq!(ExactQuantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn formats_millicores_like_kubernetes() {
        assert_eq!(
            (format_cpu(500).as_str(), format_cpu(2000).as_str(), format_cpu(0).as_str()),
            ("500m", "2", "0")
        );
    }
}
