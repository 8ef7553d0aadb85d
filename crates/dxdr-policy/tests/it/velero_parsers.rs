//! `velero-parsers.tsv`: an expression, its first firings in UTC as robfig/cron 3.0.1 finds them, and as go-cron 0.15.0 does (`=`: the
//! same), in minutes since the beginning of 2024. Searched from 2024-01-30T22:58:00Z.

use dxdr_policy::{Schedule, ScheduleError};
use jiff::Timestamp;

const RECORDED: &str = include_str!("velero-parsers.tsv");

fn recorded() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    RECORDED.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [expression, older, newer] = columns.as_slice() else { panic!("not three columns: {line}") };
        (*expression, *older, if *newer == "=" { *older } else { *newer })
    })
}

fn ours(schedule: &Schedule, count: usize) -> String {
    let year: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    let from: Timestamp = "2024-01-30T22:58:00Z".parse().unwrap();
    let minutes = schedule.firings(from).take(count).map(|firing| firing.duration_since(year).as_mins());
    minutes.map(|minute| minute.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_accepted_fires_as_it_does_in_every_version_of_velero() {
    let mut accepted = 0;
    for (expression, older, newer) in recorded() {
        if let Ok(schedule) = Schedule::parse(expression, None) {
            accepted += 1;
            assert_eq!(older, newer, "`{expression}` is accepted, and means two things");
            assert_eq!(ours(&schedule, older.split(' ').count()), older, "`{expression}`");
        }
    }
    assert!(accepted > 150, "only {accepted} expressions were compared");
}

#[test]
fn what_is_refused_means_two_things_or_nothing_or_is_known_to_be_left_out() {
    // Both parsers read these alike. They are not schedules by the clock, name a zone that belongs elsewhere, or are slips of the pen.
    let left_out = |expression: &str| {
        let slip = |part: &str| part.is_empty() || part.starts_with('+') || part.starts_with("*-");
        expression.starts_with("@every")
            || expression.contains("TZ=")
            || expression.split(' ').any(|field| field.split(',').any(slip))
    };
    // A difference about both days or about Sunday need not show among a few firings, or in a list that holds every day anyway.
    for (expression, older, newer) in recorded() {
        let Err(error) = Schedule::parse(expression, None) else { continue };
        let agree = older == newer && !matches!(older, "error" | "never");
        if agree && !left_out(expression) {
            let hidden = match &error {
                ScheduleError::BothDays { .. } => true,
                ScheduleError::Field { error, .. } => error.field == "day of week",
                _ => false,
            };
            assert!(hidden, "`{expression}` is refused: {error}");
        }
    }
}

#[test]
fn what_is_written_instead_means_what_some_version_of_velero_read() {
    for (expression, older, newer) in recorded() {
        let Err(error) = Schedule::parse(expression, None) else { continue };
        if let (ScheduleError::Field { .. }, [instead]) = (&error, error.rewrites().as_slice())
            && let Ok(schedule) = Schedule::parse(instead, None)
        {
            let fires = |recorded: &str| ours(&schedule, recorded.split(' ').count()) == recorded;
            assert!(fires(older) || fires(newer), "`{expression}` is not `{instead}`");
        }
    }
}
