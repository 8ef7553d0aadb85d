//! Tables without lines: columns as wide as their widest cell.

use comfy_table::{ContentArrangement, Table, presets};

/// The same in lines of `width` characters, where that is known: columns named in `expendable` are left out one after the other, the
/// first one first, until the rest fits or none of them is left. The last line says which.
pub fn fitting(header: &[&str], rows: Vec<Vec<String>>, width: Option<usize>, expendable: &[&str]) -> String {
    let mut header = header.to_vec();
    let mut rows = rows;
    let mut left_out = Vec::new();
    for name in expendable {
        let text = table(&header, rows.clone());
        if width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width)) {
            break;
        }
        if let Some(place) = header.iter().position(|column| column == name) {
            header.remove(place);
            rows.iter_mut().for_each(|row| drop(row.remove(place)));
            left_out.push(name.to_lowercase());
        }
    }
    let mut text = table(&header, rows);
    if !left_out.is_empty() {
        text.push_str(&format!("(for want of room without {})\n", left_out.join(", ")));
    }
    text
}

/// Rows under a header. Empty without rows.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_can_be_spared_go_first_and_are_named() {
        let rows = || vec![vec!["name".to_owned(), "a long detail".to_owned(), "5".to_owned()]];
        let header = ["NAME", "DETAIL", "COUNT"];
        assert_eq!(fitting(&header, rows(), None, &["DETAIL"]), table(&header, rows()));
        assert_eq!(fitting(&header, rows(), Some(80), &["DETAIL"]), table(&header, rows()));
        assert_eq!(
            fitting(&header, rows(), Some(12), &["DETAIL", "COUNT"]),
            "NAME  COUNT\nname  5\n(for want of room without detail)\n"
        );
        assert!(fitting(&header, rows(), Some(3), &["DETAIL"]).starts_with("NAME  COUNT\n"));
    }
}
