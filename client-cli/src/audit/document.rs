//! What a report says, for people and for programs; the texts of the owner are not in it.

use client_wasm::client::PrivacyReport;
use serde::Serialize;
use shared::audit::report::AuditReport;
use shared::audit::{NoiseLaw, thresholds};

use super::recorded::Recorded;

/// An audit with what it was made of.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    /// Year, month and day, UTC.
    pub(super) date: String,
    /// Of this program.
    pub(super) version: &'static str,
    /// Name of the model.
    pub(super) model: String,
    /// Blocks at the client.
    pub(super) cut: usize,
    /// Mechanism, parameter and what they mean.
    pub(super) privacy: PrivacyReport,
    /// What is promised, in words.
    pub(super) guarantee: &'static str,
    /// Where the attacker's text came from, in words.
    pub(super) attacker: String,
    /// Whether recorded traffic was attacked.
    pub(super) recorded: bool,
    /// The start of the attacker's randomness.
    pub(super) seed: u64,
    /// The numbers.
    pub(super) report: AuditReport,
    /// Whether every control and check passed.
    pub(super) passed: bool,
    /// What the numbers do not speak of.
    pub(super) not_covered: Vec<&'static str>,
}

/// A text beside what was recovered of it, for the owner's own report.
pub(super) struct Shown {
    pub(super) original: String,
    pub(super) recovered: String,
}

/// What a law of noise promises.
pub(super) fn guarantee(law: &NoiseLaw, other: &'static str) -> &'static str {
    match law {
        NoiseLaw::None => {
            "Nothing is promised: whoever has the client's part of the model can read the texts."
        }
        NoiseLaw::Embedding { .. } => {
            "Metric differential privacy for each word by itself: from what is sent, no observer \
             can tell the word from another at distance d (between their vectors in the model) by \
             more than the factor e^(eta d). The closer two words, the better they are hidden from \
             each other; words far apart may stay easy to tell apart. For a text of n words the \
             promise is n times weaker. The number of words is not hidden."
        }
        NoiseLaw::Cut { .. } => {
            "Metric differential privacy for each position of a text by itself: from what is sent, \
             no observer can tell its activation from another at distance d by more than the \
             factor e^(eta d). Above the embeddings one word moves all positions of its text, so \
             the promise for a word is weaker. The number of positions is not hidden."
        }
        NoiseLaw::Other => other,
    }
}

/// What no audit of this kind measures, and what this one left out.
pub(super) fn not_covered(report: &AuditReport, recorded: Option<&Recorded>) -> Vec<&'static str> {
    let mut list = vec![
        "Attacks that are not in the table. A stronger attacker, with more public text, a larger \
         model or more time, may recover more than what is measured here.",
        "Attributes of the authors (sex, age, health, origin), which can show in many words and in \
         style, unless an attack in the table names them.",
        labels_not_covered(report, recorded),
        "The time and the size of each frame.",
        "Several sessions over the same texts: each draws noise of its own, and what they reveal \
         adds up.",
        "A server that does not follow the protocol, or that serves a model made to reveal text.",
        "This machine, its memory and its files; and what is cut off of texts that are too long, \
         which is not sent.",
        "The choice of the attacked rows: intervals are over noise and attacker, not over rows.",
    ];
    if report.averaging.is_none() {
        list.push("Several observations of one text: not measured in this run.");
    }
    if report.claim.is_empty() {
        list.push("The guarantee itself was not checked in this run.");
    }
    if recorded.is_some() {
        list.push("Other noise than that of the recorded run: seeds vary the attacker only.");
    }
    if report.examples < thresholds::EXAMPLES_MIN {
        list.push("Too few rows were attacked for these numbers to mean much.");
    }
    list
}

fn labels_not_covered(report: &AuditReport, recorded: Option<&Recorded>) -> &'static str {
    let kept = recorded.is_some_and(Recorded::kept_labels);
    match (kept, report.labels.labels.is_empty()) {
        (true, false) => {
            "Labels, to somebody who takes what several epochs told together: noise on gradients is \
             new in each, and averages out. Labels of the validation examples."
        }
        (true, true) => {
            "Labels: they stayed here, and what gradients tell of them was not looked at."
        }
        (false, _) => {
            "Labels. They travel openly unless they are kept here; what a run that keeps them tells \
             can be recorded and attacked."
        }
    }
}

/// Year, month and day of a number of days since 1970. Source: Howard Hinnant, chrono-compatible
/// low-level date algorithms, `civil_from_days`.
pub(super) fn date(days: i64) -> String {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_454), "2026-01-01");
    }
}
