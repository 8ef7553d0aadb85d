//! Tables without lines: columns as wide as their widest cell.

use comfy_table::{ContentArrangement, Table, presets};

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
