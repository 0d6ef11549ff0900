//! Sizes and times as screens show them.

use std::time::Duration;

/// Bytes in the unit that fits, with one digit: `21.3 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// `0:29`, `4:02`, `1:05:00`.
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
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(22_870_720_512), "21.3 GiB");
        assert_eq!(bytes(0), "0.0 B");
        for (seconds, text) in [(29, "0:29"), (242, "4:02"), (3900, "1:05:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
