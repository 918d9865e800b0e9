//! Results as text for people. Pure: nothing here prints.

use std::fmt::Write;

use client_wasm::client::Answer;
use client_wasm::preview::{Preview, PreviewToken};

use crate::output::Line;

/// Above the rows of [`validation_row`].
pub(crate) const VALIDATION_HEADER: &str = "  step    loss  accuracy  macro-F1\n";

/// Classes up to which a confusion matrix can be read on a screen.
const CONFUSION_CLASSES_MAX: usize = 12;

/// Characters of a label in a table.
const LABEL_CHARS_MAX: usize = 16;

/// Rows that were left out and are named.
const BAD_ROWS_SHOWN: usize = 5;

/// One validation.
pub(crate) fn validation_row(
    step: u32,
    loss: f32,
    accuracy: f32,
    macro_f1: f32,
    best: bool,
) -> String {
    let mark = if best { "  best" } else { "" };
    let accuracy = 100.0 * accuracy;
    format!("{step:>6}  {loss:>6.4}  {accuracy:>6.1} %  {macro_f1:>8.3}{mark}\n")
}

/// How a run ended.
pub(crate) fn done_sentence(steps: u32, best_step: u32, reason: &str) -> String {
    let ended = match reason {
        "Cancelled" => "Stopped",
        "StoppedEarly" => "Ended early, without improvement,",
        _ => "Done",
    };
    format!("{ended} after {steps} steps; the adapter of step {best_step} is kept.")
}

/// What was read of a file.
pub(crate) fn file_summary(line: &Line<'_>) -> String {
    let Line::File {
        format,
        rows,
        text_column,
        pair_column,
        label_column,
        labels,
        bad_rows,
        bad_rows_total,
    } = line
    else {
        return String::new();
    };
    let quoted = |name: &str| format!("{:?}", plain(name));
    let mut summary = format!("{rows} rows ({format}); text: {}", quoted(text_column));
    if let Some(pair) = pair_column {
        summary += &format!(", second text: {}", quoted(pair));
    }
    if let Some(label) = label_column {
        summary += &format!(", label: {}", quoted(label));
    }
    let counts = labels.iter().take(CONFUSION_CLASSES_MAX);
    let counts: Vec<_> = counts
        .map(|label| format!("{} ({})", short(&label.name), label.count))
        .collect();
    if !counts.is_empty() {
        let all = labels.len();
        let more = all.saturating_sub(CONFUSION_CLASSES_MAX);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        summary += &format!("\n{all} classes: {}{more}", counts.join(", "));
    }
    if *bad_rows_total > 0 {
        summary += &format!("\n{bad_rows_total} rows are left out:");
        for bad in bad_rows.iter().take(BAD_ROWS_SHOWN) {
            summary += &format!("\n  line {}: {}", bad.row, bad.reason);
        }
        if *bad_rows_total > bad_rows.len().min(BAD_ROWS_SHOWN) {
            summary += "\n  ...";
        }
    }
    summary
}

/// Rows are the truth, columns the answers.
pub(crate) fn confusion(labels: &[String], counts: &[u32]) -> String {
    let classes = labels.len();
    if classes == 0 || classes > CONFUSION_CLASSES_MAX || counts.len() != classes * classes {
        return format!("(the matrix of {classes} classes is printed with --json only)\n");
    }
    let names: Vec<String> = labels.iter().map(|label| short(label)).collect();
    let chars = |name: &String| name.chars().count();
    let first = names.iter().map(chars).max().unwrap_or(0).max(5);
    let digits = counts.iter().map(|count| count.to_string().len()).max();
    let width = |name: &String| chars(name).max(digits.unwrap_or(1));
    let mut table = format!("{:<first$}", "truth");
    for name in &names {
        let width = width(name);
        table += &format!("  {name:>width$}");
    }
    table += "  (answer)\n";
    for (truth, row) in names.iter().zip(counts.chunks_exact(classes)) {
        table += &format!("{truth:<first$}");
        for (name, count) in names.iter().zip(row) {
            let width = width(name);
            table += &format!("  {count:>width$}");
        }
        table.push('\n');
    }
    table
}

/// The class of a text and how probable it is.
pub(crate) fn answer(answer: &Answer) -> String {
    let probability = 100.0 * probability(answer);
    format!("{} ({probability:.1} %)\n", plain(&answer.label))
}

/// The probability of the answer itself.
pub(crate) fn probability(answer: &Answer) -> f32 {
    let classes = answer.probabilities.iter();
    classes
        .map(|class| class.probability)
        .fold(0.0, |best, probability| {
            if probability > best {
                probability
            } else {
                best
            }
        })
}

/// Each text token by token, then the shares.
pub(crate) fn preview(preview: &Preview, coloured: bool) -> String {
    let mut text = String::new();
    for (at, example) in preview.examples.iter().enumerate() {
        let tokens = example
            .tokens
            .iter()
            .filter(|token| token.kind != "special");
        if coloured {
            let (yours, seen): (String, String) = tokens.map(coloured_token).unzip();
            text += &format!("{}. yours: {yours}\n   server: {seen}\n\n", at + 1);
        } else {
            text += &format!("# {}\n", at + 1);
            for token in tokens {
                let joint = if token.continues { "##" } else { "" };
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{joint}{} -> {}",
                    plain(&token.text),
                    plain(&token.seen)
                );
            }
            text.push('\n');
        }
    }
    let shares = preview.shares;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    text += &format!(
        "Of {} tokens: {} unchanged, {} near, {} far, {} removed.\n",
        preview.tokens_counted,
        percent(shares.unchanged),
        percent(shares.near),
        percent(shares.far),
        percent(shares.removed)
    );
    text
}

/// A token as its owner wrote it, and as the server would read it: yellow is near, red is far, a
/// grey blank is removed.
fn coloured_token(token: &PreviewToken) -> (String, String) {
    let space = if token.continues { "" } else { " " };
    let yours = format!("{space}{}", plain(&token.text));
    let seen = plain(&token.seen);
    let seen = match token.kind {
        "near" => format!("{space}\x1b[33m{seen}\x1b[0m"),
        "far" => format!("{space}\x1b[31m{seen}\x1b[0m"),
        "removed" => format!("{space}\x1b[90m__\x1b[0m"),
        _ => format!("{space}{seen}"),
    };
    (yours, seen)
}

/// A name in a table.
fn short(name: &str) -> String {
    let name = plain(name);
    if name.chars().count() <= LABEL_CHARS_MAX {
        return name;
    }
    let cut: String = name.chars().take(LABEL_CHARS_MAX - 1).collect();
    cut + "…"
}

/// What a file holds must not steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// One line of a CSV file (RFC 4180).
pub(crate) fn csv_line(fields: &[&str]) -> String {
    let quoted = |field: &&str| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            (*field).to_owned()
        }
    };
    let fields: Vec<String> = fields.iter().map(quoted).collect();
    fields.join(",") + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use client_wasm::client::ClassProbability;
    use client_wasm::preview::{PreviewExample, Shares};

    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn rows_stand_under_their_header() {
        assert_eq!(
            validation_row(150, 0.42514, 0.875, 0.5, true),
            "   150  0.4251    87.5 %     0.500  best\n"
        );
        let plain = validation_row(150, 0.42514, 0.875, 0.5, false);
        assert_eq!(plain.len(), VALIDATION_HEADER.len());
    }

    #[test]
    fn a_confusion_matrix_is_aligned_by_its_longest_words() {
        let labels = labels(&["no", "perhaps"]);
        let expected = "truth     no  perhaps  (answer)\n\
                        no       100        2\n\
                        perhaps    3       45\n";
        assert_eq!(confusion(&labels, &[100, 2, 3, 45]), expected);
    }

    #[test]
    fn a_matrix_that_nobody_can_read_is_not_printed() {
        let many = vec![String::new(); 13];
        assert!(confusion(&many, &[0; 169]).contains("13 classes"));
    }

    #[test]
    fn the_end_of_a_run_is_a_sentence() {
        assert_eq!(
            done_sentence(7, 5, "Cancelled"),
            "Stopped after 7 steps; the adapter of step 5 is kept."
        );
        assert!(done_sentence(7, 5, "Finished").starts_with("Done after"));
    }

    #[test]
    fn labels_cannot_steer_the_terminal_or_break_a_table() {
        assert_eq!(plain("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(short("abcdefghijklmnop"), "abcdefghijklmnop");
        assert_eq!(short("abcdefghijklmnopq"), "abcdefghijklmno…");
    }

    #[test]
    fn csv_fields_are_quoted_where_needed_and_only_there() {
        assert_eq!(
            csv_line(&["1", "a \"b\", c", "d\ne"]),
            "1,\"a \"\"b\"\", c\",\"d\ne\"\n"
        );
    }

    #[test]
    fn an_answer_names_its_own_probability() {
        let class = |label: &str, probability| ClassProbability {
            label: label.to_owned(),
            probability,
        };
        let given = Answer {
            label: "b".to_owned(),
            probabilities: vec![class("a", 0.25), class("b", 0.75)],
        };
        assert_eq!(answer(&given), "b (75.0 %)\n");
    }

    fn shown() -> Preview {
        let token = |text: &str, seen: &str, kind, continues| PreviewToken {
            text: text.to_owned(),
            seen: seen.to_owned(),
            kind,
            continues,
        };
        let tokens = vec![
            token("[CLS]", "[CLS]", "special", false),
            token("un", "un", "unchanged", false),
            token("kind", "fair", "far", true),
        ];
        let shares = Shares {
            unchanged: 0.5,
            near: 0.0,
            far: 0.5,
            removed: 0.0,
        };
        Preview {
            examples: vec![PreviewExample { tokens }],
            shares,
            tokens_counted: 2,
        }
    }

    #[test]
    fn a_preview_shows_every_ordinary_token_and_no_special_one() {
        let expected = "# 1\nun -> un\n##kind -> fair\n\n\
                        Of 2 tokens: 50.0 % unchanged, 0.0 % near, 50.0 % far, 0.0 % removed.\n";
        assert_eq!(preview(&shown(), false), expected);
    }

    #[test]
    fn on_a_terminal_words_stand_in_a_line_and_changes_are_marked() {
        let text = preview(&shown(), true);
        let marked = "1. yours:  unkind\n   server:  un\x1b[31mfair\x1b[0m\n\n";
        assert!(text.starts_with(marked), "{text:?}");
    }

    #[test]
    fn a_file_is_summarized_with_what_was_left_out() {
        use client_wasm::file::{BadRowSummary, LabelSummary};
        let labels = [LabelSummary {
            name: "yes".to_owned(),
            count: 3,
        }];
        let bad_rows = [BadRowSummary {
            row: 9,
            reason: "no label",
        }];
        let line = Line::File {
            format: "CSV, comma",
            rows: 4,
            text_column: "text",
            pair_column: None,
            label_column: Some("label"),
            labels: &labels,
            bad_rows: &bad_rows,
            bad_rows_total: 1,
        };
        let expected = "4 rows (CSV, comma); text: \"text\", label: \"label\"\n\
                        1 classes: yes (3)\n1 rows are left out:\n  line 9: no label";
        assert_eq!(file_summary(&line), expected);
    }
}
