//! Kubernetes quantities of memory and storage, as numbers: to add them up, and to write them as Kubernetes
//! itself would. An operator that reads and writes an object back must change no letter of it.

use std::fmt;

/// An amount of bytes, with the kind of suffix it was given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    pub bytes: u64,
    suffixes: Suffixes,
}

/// `Ki`, `Mi`, … or `k`, `M`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffixes {
    Binary,
    Decimal,
}

const BINARY: [(&str, u128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Quantity {
    /// So many GiB.
    pub fn gibibytes(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 30), suffixes: Suffixes::Binary }
    }

    /// Reads what Kubernetes takes as an amount of bytes; `None` where it would not, or where it is below zero.
    /// Parts of a byte are rounded up, as Kubernetes does.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (factor, divisor, suffixes) = scale(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{whole}{fraction}");
        if all.len() > 24 || !all.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let places = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let bytes = all.parse::<u128>().ok()?.checked_mul(factor)?.div_ceil(places.checked_mul(divisor)?);
        Some(Self { bytes: bytes.try_into().ok()?, suffixes })
    }

    /// Whole gigabytes of 10⁹ bytes in it: what Dynamo counts in.
    pub fn whole_gigabytes(self) -> u64 {
        self.bytes / 1_000_000_000
    }
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(u128, u128, Suffixes)> {
    let listed =
        |table: &[(&str, u128)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor);
    match (suffix, listed(&BINARY), listed(&DECIMAL)) {
        ("", ..) => Some((1, 1, Suffixes::Decimal)),
        ("m", ..) => Some((1, 1_000, Suffixes::Decimal)),
        ("u", ..) => Some((1, 1_000_000, Suffixes::Decimal)),
        ("n", ..) => Some((1, 1_000_000_000, Suffixes::Decimal)),
        (_, Some(factor), _) => Some((factor, 1, Suffixes::Binary)),
        (_, _, Some(factor)) => Some((factor, 1, Suffixes::Decimal)),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
            let exponent: i32 = exponent.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            let (factor, divisor) = if exponent < 0 { (1, power) } else { (power, 1) };
            Some((factor, divisor, Suffixes::Decimal))
        }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// The sum, written like the left one.
    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), ..self }
    }
}

impl fmt::Display for Quantity {
    /// With the largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.suffixes {
            Suffixes::Binary => &BINARY,
            Suffixes::Decimal => &DECIMAL,
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
    fn reads_and_writes_as_kubernetes_does() {
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
    fn refuses_what_kubernetes_refuses_and_what_no_machine_has() {
        for given in
            ["", "Gi", "-1", "1GiB", "1 Gi", "1.2.3", ".", "20Ei", "1e99", "abc", "9999999999999999999999999"]
        {
            assert_eq!(Quantity::parse(given), None, "{given}");
        }
    }

    #[test]
    fn dynamo_counts_in_decimal_gigabytes() {
        assert_eq!(Quantity::gibibytes(20).whole_gigabytes(), 21);
        assert_eq!(Quantity::parse("200G").map(Quantity::whole_gigabytes), Some(200));
    }
}
