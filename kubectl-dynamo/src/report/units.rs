//! Formats sizes and durations for the screen.
//! JSON output does not use it: it contains plain numbers.

use std::time::Duration;

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The index of the unit for this size, as a power of 1024.
fn unit(bytes: u64) -> usize {
    let fits = |unit: &usize| bytes >> (10 * unit) < 1024;
    (0..UNITS.len()).find(fits).unwrap_or(UNITS.len() - 1)
}

/// Formats with one decimal, rounded down so that an incomplete transfer is never shown as complete.
fn in_unit(bytes: u64, unit: usize) -> String {
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Formats bytes with a suitable unit and one decimal: `21.3 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    format!("{} {}", in_unit(bytes, unit(bytes)), UNITS[unit(bytes)])
}

/// Formats a part of a total in the unit of the total: `21.3/32.9 GiB`.
pub(crate) fn part_of_total(part: u64, total: u64) -> String {
    format!("{}/{} {}", in_unit(part, unit(total)), in_unit(total, unit(total)), UNITS[unit(total)])
}

/// Formats a duration as minutes and seconds, or with hours: `0:29`, `4:02`, `1:05:00`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_sizes_and_times() {
        assert_eq!(bytes(22_870_720_512), "21.3 GiB");
        assert_eq!(bytes(0), "0.0 B");
        assert_eq!(bytes(1023 << 20), "1023.0 MiB");
        assert_eq!(bytes(12_345_678), "11.7 MiB");
        assert_eq!(part_of_total(22_870_720_512, 35_326_106_009), "21.3/32.8 GiB");
        for (seconds, text) in [(29, "0:29"), (242, "4:02"), (3900, "1:05:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
