//! Names and values in SQL and in connection strings. Names come from manifests and servers, and may hold anything but a NUL.

pub(crate) use dxdr_provider::quoting::{identifier, literal};

/// A server that has gone without a word is noticed within a minute, also by who only waits for its answer. The system's own default is two hours.
const KEEPALIVES: &str = "keepalives_idle=30 keepalives_interval=10 keepalives_count=3";

/// `dbname='na\'me'`: a connection string that names a database and no server. The name alone would be taken for a connection string
/// itself if it had an `=` in it.
pub(crate) fn database_argument(name: &str) -> String {
    format!("dbname='{}' {KEEPALIVES}", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_quotation_is_quoted() {
        let argument = database_argument(r"host=evil a'b\");
        assert_eq!(argument.strip_suffix(KEEPALIVES), Some(r"dbname='host=evil a\'b\\' "));
    }
}
