//! As much SQL as it takes to see, mark and rename the databases of an instance. Everything else is kept as it is, and evaluated by nobody.

use jiff::Timestamp;

use crate::{instance::Machine, state::Rows};

/// Executes a text of such statements at `now`, all or none, in `database`; `None` when it is something else. An error is the server's message.
pub(super) fn administer(machine: &mut Machine, database: &str, text: &str, now: Timestamp) -> Option<Result<Rows, String>> {
    let text = behind_settings(text);
    if text.starts_with("SELECT datname AS name, ") && text.contains(" FROM pg_database d ") {
        return Some(Ok(catalogue(machine)));
    }
    if text.starts_with("SELECT count(*) AS relations FROM pg_class ") {
        let count = machine.databases.get(database).map_or(0, Vec::len);
        return Some(Ok((vec!["relations".to_owned()], vec![vec![count.to_string()]])));
    }
    if text.starts_with("SELECT 'owner' AS kind, ") {
        return Some(Ok(owner(machine, text)));
    }
    if text.starts_with("WITH objects AS (") {
        return Some(Ok((["kind", "name", "owner", "follows", "rights"].map(str::to_owned).to_vec(), Vec::new())));
    }
    if text.starts_with("SELECT current_user AS account, ") {
        return Some(Ok(described(machine, database)));
    }
    let changes: Vec<Change> = statements(text).into_iter().map(Change::read).collect::<Option<_>>()?;
    let mut changed = machine.clone();
    changed.keep(now);
    for change in changes {
        if let Err(message) = change.make(&mut changed) {
            return Some(Err(message));
        }
    }
    *machine = changed;
    Some(Ok((Vec::new(), Vec::new())))
}

/// What stands behind settings of the session, which change nothing here.
fn behind_settings(mut text: &str) -> &str {
    while let Some((setting, behind)) = text.split_once(';')
        && setting.trim_start().starts_with("SET ")
    {
        text = behind.trim_start();
    }
    text
}

/// Nobody is ever connected.
fn catalogue(machine: &Machine) -> Rows {
    let row = |name: &String| vec![name.clone(), machine.comments.get(name).cloned().unwrap_or_default(), "0".to_owned()];
    let columns = ["name", "comment", "connections"].map(str::to_owned).to_vec();
    (columns, machine.databases.keys().map(row).collect())
}

/// All databases belong to the one role, and nobody has changed anything about them.
fn owner(machine: &Machine, text: &str) -> Rows {
    let columns = ["kind", "role", "name", "value"].map(str::to_owned).to_vec();
    let asked = text.rsplit_once("datname = ").and_then(|(_, behind)| quoted(behind, '\''));
    let is_there = asked.is_some_and(|(name, _)| machine.databases.contains_key(&name));
    let row = ["owner", "", "cloudsqlsuperuser", "yes"].map(str::to_owned).to_vec();
    (columns, if is_there { vec![row] } else { Vec::new() })
}

/// Who asks, and what the database is like.
fn described(machine: &Machine, database: &str) -> Rows {
    let columns = ["account", "administrator", "version", "size", "extensions"].map(str::to_owned).to_vec();
    let size: usize = machine.databases.get(database).into_iter().flatten().map(|statement| statement.text.len()).sum();
    let version = machine.instance.version.strip_prefix("POSTGRES_").unwrap_or_default();
    let row = ["postgres", "yes", version, &size.to_string(), "plpgsql 1.0"].map(str::to_owned).to_vec();
    (columns, vec![row])
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Rename(String, String),
    Comment(String, Option<String>),
}

impl Change {
    fn read(statement: &str) -> Option<Self> {
        if matches!(statement, "BEGIN" | "BEGIN READ WRITE" | "COMMIT")
            || statement.starts_with("SELECT pg_terminate_backend(pid) FROM pg_stat_activity ")
            || statement.starts_with("GRANT CONNECT ON DATABASE ")
        {
            return Some(Self::Nothing);
        }
        if let Some(rest) = statement.strip_prefix("ALTER DATABASE ") {
            let (from, rest) = quoted(rest, '"')?;
            // Who owns it is the same for all.
            if rest == " OWNER TO \"cloudsqlsuperuser\"" {
                return Some(Self::Nothing);
            }
            let (to, rest) = quoted(rest.strip_prefix(" RENAME TO ")?, '"')?;
            return rest.is_empty().then_some(Self::Rename(from, to));
        }
        let (database, rest) = quoted(statement.strip_prefix("COMMENT ON DATABASE ")?, '"')?;
        match rest.strip_prefix(" IS ")? {
            "NULL" => Some(Self::Comment(database, None)),
            rest => {
                let (comment, rest) = quoted(rest, '\'')?;
                rest.is_empty().then_some(Self::Comment(database, Some(comment)))
            }
        }
    }

    fn make(self, machine: &mut Machine) -> Result<(), String> {
        let missing = |name: &str| format!("ERROR:  database \"{name}\" does not exist");
        match self {
            Self::Nothing => {}
            Self::Rename(from, to) => {
                if machine.databases.contains_key(&to) {
                    return Err(format!("ERROR:  database \"{to}\" already exists"));
                }
                let statements = machine.databases.remove(&from).ok_or_else(|| missing(&from))?;
                machine.databases.insert(to.clone(), statements);
                if let Some(comment) = machine.comments.remove(&from) {
                    machine.comments.insert(to, comment);
                }
            }
            Self::Comment(name, _) if !machine.databases.contains_key(&name) => return Err(missing(&name)),
            Self::Comment(name, Some(comment)) => {
                machine.comments.insert(name, comment);
            }
            Self::Comment(name, None) => {
                machine.comments.remove(&name);
            }
        }
        Ok(())
    }
}

/// What stands between the semicolons that are in no quotation.
fn statements(text: &str) -> Vec<&str> {
    let (mut statements, mut begin, mut within) = (Vec::new(), 0, None);
    for (index, letter) in text.char_indices() {
        match (within, letter) {
            (None, '"' | '\'') => within = Some(letter),
            (Some(quote), letter) if quote == letter => within = None,
            (None, ';') => {
                statements.push(&text[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    statements.push(&text[begin..]);
    statements.into_iter().map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// What is quoted at the beginning, and what is behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix(quote)?;
    let mut value = String::new();
    loop {
        let (part, behind) = rest.split_once(quote)?;
        value.push_str(part);
        match behind.strip_prefix(quote) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return Some((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instance, instance::Statement};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn machine() -> Machine {
        let mut machine = Machine::new(Instance::default(), Timestamp::UNIX_EPOCH);
        for name in ["orders", "new"] {
            let statement = Statement { at: Timestamp::UNIX_EPOCH, text: format!("create table {name} (n int)") };
            machine.databases.insert(name.to_owned(), vec![statement]);
        }
        machine
    }

    fn texts(machine: &Machine, name: &str) -> Vec<String> {
        machine.databases[name].iter().map(|statement| statement.text.clone()).collect()
    }

    #[test]
    fn databases_change_names_and_comments_all_at_once_or_not_at_all() {
        let mut machine = machine();
        let swap = "BEGIN;\nCOMMENT ON DATABASE \"orders\" IS 'it''s; ours';\nALTER DATABASE \"orders\" RENAME TO \"o\"\"ld\";\n\
                    ALTER DATABASE \"new\" RENAME TO \"orders\";\nCOMMIT;";
        assert!(administer(&mut machine, "postgres", swap, NOW).unwrap().is_ok());
        assert_eq!(texts(&machine, "orders"), ["create table new (n int)"]);
        assert_eq!(machine.comments.get("o\"ld").map(String::as_str), Some("it's; ours"));
        let before = machine.clone();
        let refused = "ALTER DATABASE \"orders\" RENAME TO \"x\"; ALTER DATABASE \"nothing\" RENAME TO \"orders\"";
        let message = administer(&mut machine, "postgres", refused, NOW).unwrap().unwrap_err();
        assert_eq!(message, "ERROR:  database \"nothing\" does not exist");
        assert_eq!(machine.databases, before.databases);
        let taken = administer(&mut machine, "postgres", "ALTER DATABASE \"orders\" RENAME TO \"postgres\"", NOW);
        assert_eq!(taken.unwrap().unwrap_err(), "ERROR:  database \"postgres\" already exists");
    }

    #[test]
    fn what_is_no_administration_is_left_to_others() {
        let mut machine = machine();
        for text in
            ["insert into a values (';')", "ALTER DATABASE orders RENAME TO x", "COMMENT ON DATABASE \"orders\" IS 'a' or so"]
        {
            assert_eq!(administer(&mut machine, "orders", text, NOW), None, "{text}");
        }
    }
}
