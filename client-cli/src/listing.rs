//! Jobs, adapters and events of a server as text for people. Pure: nothing here prints.
//!
//! What a server says is shown without control characters, and what it does not say as "-".

use serde_json::Value;

use crate::tables::plain;

/// Jobs, a row each.
pub(crate) fn jobs(jobs: &[Value]) -> String {
    let rows = jobs.iter().map(|job| {
        vec![
            text(&job["id"]),
            text(&job["state"]),
            time(&job["created_millis"]),
            text(&job["agreed"]["cut"]),
            text(&job["agreed"]["n_classes"]),
            text(&job["examples"]["train"]),
            text(&job["examples"]["validation"]),
        ]
    });
    let header = [
        "job",
        "state",
        "created (UTC)",
        "cut",
        "classes",
        "train",
        "validation",
    ];
    table(&header, rows.collect())
}

/// One job.
pub(crate) fn job(job: &Value) -> String {
    let settings = &job["agreed"]["settings"];
    facts(&[
        ("job", text(&job["id"])),
        ("state", text(&job["state"])),
        ("failure", text(&job["failure"])),
        ("created", time(&job["created_millis"])),
        ("started", time(&job["started_millis"])),
        ("ended", time(&job["ended_millis"])),
        ("cut", text(&job["agreed"]["cut"])),
        ("classes", text(&job["agreed"]["n_classes"])),
        ("labels", text(&job["agreed"]["labels"])),
        ("bottom", text(&job["agreed"]["bottom"])),
        ("rank", text(&job["agreed"]["adapter"]["rank"])),
        ("epochs", text(&settings["epochs"])),
        ("batch size", text(&settings["batch_size"])),
        ("train", text(&job["examples"]["train"])),
        ("validation", text(&job["examples"]["validation"])),
        ("bytes", text(&job["examples"]["bytes"])),
    ])
}

/// What went with a job.
pub(crate) fn removed_job(removed: &Value) -> String {
    format!(
        "Deleted the job, {} events and {} adapters.\n",
        text(&removed["events"]),
        text(&removed["adapters"])
    )
}

/// Adapters, a row each.
pub(crate) fn adapters(adapters: &[Value]) -> String {
    let rows = adapters.iter().map(|adapter| {
        vec![
            text(&adapter["id"]),
            text(&adapter["name"]),
            time(&adapter["created_millis"]),
            text(&adapter["cut"]),
            text(&adapter["n_classes"]),
            percent(&adapter["metrics"]["accuracy"]),
            text(&adapter["bytes"]),
            if adapter["is_default"] == true {
                "default"
            } else {
                ""
            }
            .to_owned(),
        ]
    });
    let header = [
        "adapter",
        "name",
        "created (UTC)",
        "cut",
        "classes",
        "accuracy",
        "bytes",
        "",
    ];
    table(&header, rows.collect())
}

/// One adapter.
pub(crate) fn adapter(adapter: &Value) -> String {
    let metrics = &adapter["metrics"];
    facts(&[
        ("adapter", text(&adapter["id"])),
        ("name", text(&adapter["name"])),
        ("default", text(&adapter["is_default"])),
        ("model", text(&adapter["model_id"])),
        ("cut", text(&adapter["cut"])),
        ("classes", text(&adapter["n_classes"])),
        ("job", text(&adapter["job"])),
        ("created", time(&adapter["created_millis"])),
        ("step", text(&metrics["step"])),
        ("accuracy", percent(&metrics["accuracy"])),
        ("macro-F1", number(&metrics["macro_f1"])),
        ("loss", number(&metrics["loss"])),
        ("bytes", text(&adapter["bytes"])),
    ])
}

/// What went with an adapter.
pub(crate) fn removed_adapter(removed: &Value) -> String {
    format!(
        "Deleted the adapter {} and {} files, {} bytes.\n",
        text(&removed["adapter"]["name"]),
        text(&removed["files"]),
        text(&removed["adapter"]["bytes"])
    )
}

/// One event of a job.
pub(crate) fn event(event: &Value) -> String {
    let data = &event["data"];
    let said = match event["kind"].as_str() {
        Some("started") => format!("{} steps", text(&data["steps_total"])),
        Some("step") => format!(
            "step {}, loss {}",
            text(&data["step"]),
            number(&data["loss"])
        ),
        Some("validation") => format!(
            "step {}, accuracy {}, macro-F1 {}{}",
            text(&data["step"]),
            percent(&data["accuracy"]),
            number(&data["macro_f1"]),
            if data["best"] == true { ", best" } else { "" }
        ),
        Some("done") => format!(
            "{} steps, the adapter of step {} is the best ({})",
            text(&data["steps"]),
            text(&data["best_step"]),
            text(&data["reason"])
        ),
        Some("failed") => text(&data["failure"]),
        _ => String::new(),
    };
    let line = format!(
        "{}  {:<10}  {said}",
        time(&event["time_millis"]),
        text(&event["kind"])
    );
    format!("{}\n", line.trim_end())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

fn number(value: &Value) -> String {
    value
        .as_f64()
        .map_or("-".to_owned(), |number| format!("{number:.4}"))
}

fn percent(value: &Value) -> String {
    value
        .as_f64()
        .map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// Milliseconds since 1970 as a date and a time, UTC.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn time(value: &Value) -> String {
    let Some(millis) = value
        .as_i64()
        .filter(|millis| (0..=MILLIS_MAX).contains(millis))
    else {
        return "-".to_owned();
    };
    let (days, seconds) = (millis / 86_400_000, millis / 1000 % 86_400);
    // From the first of March of the year 0, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + 400 * era + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The end of the year 9999.
const MILLIS_MAX: i64 = 253_402_300_799_999;

/// Names and values, one a line; what is not there is left out.
fn facts(facts: &[(&str, String)]) -> String {
    let there = facts.iter().filter(|(_, value)| value != "-");
    there
        .map(|(name, value)| format!("{name:<11} {value}\n"))
        .collect()
}

/// Columns as wide as they must be.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = [vec![header], rows].concat();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_read_as_people_do() {
        let of = |millis: i64| time(&json!(millis));
        assert_eq!(of(0), "1970-01-01 00:00:00");
        assert_eq!(of(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(of(1_709_251_199_999), "2024-02-29 23:59:59");
        assert_eq!(of(MILLIS_MAX), "9999-12-31 23:59:59");
        assert_eq!(of(MILLIS_MAX + 1), "-");
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let jobs = jobs(&[
            json!({ "id": "0a", "state": "running", "created_millis": 0,
                "agreed": { "cut": 1, "n_classes": 2 },
                "examples": { "train": 8, "validation": 2 } }),
            json!({ "id": "0b" }),
        ]);
        let expected = "\
job  state    created (UTC)        cut  classes  train  validation
0a   running  1970-01-01 00:00:00  1    2        8      2
0b   -        -                    -    -        -      -
";
        assert_eq!(jobs, expected);
        assert_eq!(adapters(&[]), "none\n");
    }

    #[test]
    fn of_one_adapter_what_is_known_is_said() {
        let shown = adapter(
            &json!({ "id": "0a", "name": "n", "is_default": true, "cut": 1,
            "job": null, "metrics": { "accuracy": 0.75 } }),
        );
        let expected = "adapter     0a\nname        n\ndefault     true\ncut         1\n\
                        accuracy    75.0 %\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_event_is_one_line() {
        let done = json!({ "kind": "done", "time_millis": 0,
            "data": { "steps": 6, "best_step": 2, "reason": "Finished" } });
        let expected = "1970-01-01 00:00:00  done        6 steps, the adapter of step 2 is the best \
                        (Finished)\n";
        assert_eq!(event(&done), expected);
        let queued = json!({ "kind": "queued", "time_millis": 0, "data": {} });
        assert_eq!(event(&queued), "1970-01-01 00:00:00  queued\n");
        let odd = json!({ "kind": "a\u{1b}[31m\nb" });
        let shown = event(&odd);
        assert_eq!(shown.lines().count(), 1);
        assert!(!shown.contains('\u{1b}'));
    }
}
