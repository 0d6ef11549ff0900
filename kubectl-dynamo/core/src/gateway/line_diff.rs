//! The lines that differ between two texts, for the change that a command shows before it writes.

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffLine<'a> {
    Kept(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// Unchanged lines that are shown before and after a change.
const CONTEXT_LINES: usize = 3;

/// Compares two texts by lines and returns the changed ones with a few lines around them.
pub fn diff_lines<'a>(before: &'a str, after: &'a str) -> Vec<DiffLine<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[same_start..], &new[same_start..]);
    let same_end =
        old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    if old_rest.len() == same_end && new_rest.len() == same_end {
        return Vec::new();
    }
    let (changed_old, end) = old_rest.split_at(old_rest.len() - same_end);
    let changed_new = &new_rest[..new_rest.len() - same_end];
    let mut lines: Vec<DiffLine<'a>> = Vec::new();
    lines.extend(
        old[same_start.saturating_sub(CONTEXT_LINES)..same_start].iter().map(|line| DiffLine::Kept(line)),
    );
    lines.extend(changes(changed_old, changed_new));
    lines.extend(end.iter().take(CONTEXT_LINES).map(|line| DiffLine::Kept(line)));
    lines
}

/// The shortest list of changes, by the longest common subsequence.
fn changes<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<DiffLine<'a>> {
    // common[i][j] is the length of the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, old_line) in old.iter().enumerate().rev() {
        for (j, new_line) in new.iter().enumerate().rev() {
            common[i][j] = match old_line == new_line {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(DiffLine::Kept(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(DiffLine::Removed(old[i]));
            i += 1;
        } else {
            lines.push(DiffLine::Added(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str) -> String {
        let line = |line: &DiffLine<'_>| match line {
            DiffLine::Kept(line) => format!(" {line}"),
            DiffLine::Removed(line) => format!("-{line}"),
            DiffLine::Added(line) => format!("+{line}"),
        };
        diff_lines(before, after).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn changed_lines_are_shown_with_their_surroundings() {
        let before = "1\n2\n3\n4\n5\na\nb\nc\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\n5\na\nx\nc\nd\n6\n7\n8\n9\n";
        assert_eq!(text(before, after), " 4\n 5\n a\n-b\n+x\n c\n+d\n 6\n 7\n 8");
        assert_eq!(text(before, before), "");
        assert_eq!(text("", "a\n"), "+a");
        assert_eq!(text("a\n", ""), "-a");
        assert_eq!(text("a\nb\n", "a\n"), " a\n-b");
    }
}
