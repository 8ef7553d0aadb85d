//! The known name that a misspelt one was probably meant to be.

/// The nearest of `names`, if it is near enough: at most a third of the letters differ and at least one is the same, or more than
/// half of the shorter name begins the other one, too.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given_lower = given.to_lowercase();
    let length = given.chars().count();
    names
        .into_iter()
        .filter_map(|name| {
            let (lower, name_length) = (name.to_lowercase(), name.chars().count());
            let distance = distance(&given_lower, &lower);
            let common = given_lower.chars().zip(lower.chars()).take_while(|(left, right)| left == right).count();
            let few_letters = distance <= (length.max(name_length) / 3).max(1) && distance < name_length;
            let same_beginning = common >= 4 && common * 2 > length.min(name_length);
            (few_letters || same_beginning).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters added, left out, changed, or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let width = right.len() + 1;
    let mut cells: Vec<usize> = vec![0; (left.len() + 1) * width];
    for row in 0..=left.len() {
        for column in 0..width {
            let cell = if row == 0 || column == 0 {
                row + column
            } else {
                let changed = usize::from(left[row - 1] != right[column - 1]);
                let above = cells[(row - 1) * width + column] + 1;
                let before = cells[row * width + column - 1] + 1;
                let diagonal = cells[(row - 1) * width + column - 1] + changed;
                let swapped = row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1];
                let swap = if swapped { cells[(row - 2) * width + column - 2] + 1 } else { usize::MAX };
                above.min(before).min(diagonal).min(swap)
            };
            cells[row * width + column] = cell;
        }
    }
    cells[cells.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        let names = ["tolerations", "nodeSelector", "affinity"];
        assert_eq!(nearest("tolerence", names), Some("tolerations"));
        assert_eq!(nearest("nodeselector", names), Some("nodeSelector"));
        assert_eq!(nearest("afinity", names), Some("affinity"));
        assert_eq!(nearest("affniity", names), Some("affinity"));
    }

    #[test]
    fn a_name_like_none_of_them_finds_nothing() {
        assert_eq!(nearest("image", ["tolerations", "nodeSelector"]), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
    }
}
