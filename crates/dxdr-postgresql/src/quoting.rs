//! Names and values in SQL and in connection strings. Names come from manifests and servers, and may hold anything but a NUL.

pub(crate) use dxdr_provider::quoting::{identifier, literal};

/// `dbname='na\'me'`: a connection string that names a database and nothing else. The name alone would be taken for a connection string
/// itself if it had an `=` in it.
pub(crate) fn database_argument(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_quotation_is_quoted() {
        assert_eq!(database_argument(r"host=evil a'b\"), r"dbname='host=evil a\'b\\'");
    }
}
