//! The audit as text for a terminal. Pure: nothing here prints.

use std::fmt::Write;

use shared::audit::labels::LabelControl;
use shared::audit::report::AuditReport;
use shared::audit::score::Scores;
use shared::audit::statistics::Interval;

use super::document::Document;
use super::labels;

/// What a person reads after the run.
pub(super) fn table(document: &Document) -> String {
    let report = &document.report;
    let mut out = format!(
        "\n{:<18} {:>14} {:>9} {:>8} {:>9} {:>8}\n",
        "attack", "recovered", "without", "chance", "named", "seconds"
    );
    for attack in &report.attacks {
        if let Some(reason) = &attack.not_run {
            let _ = writeln!(out, "{:<18} not run: {reason}", attack.id);
            continue;
        }
        let found = &attack.defended;
        let without = attack.undefended.as_ref().map(Scores::success);
        let _ = writeln!(
            out,
            "{:<18} {:>14} {:>9} {:>8} {:>9} {:>8.1}",
            attack.id,
            interval(found.success),
            share(without),
            share(attack.chance),
            share(found.named.map(|named| named.mean)),
            attack.seconds
        );
    }
    out += &labels::text(&report.labels);
    out += &conclusions(report);
    out += &failures(report);
    out
}

fn conclusions(report: &AuditReport) -> String {
    let mut out = String::new();
    if let (Some(id), Some(privacy)) = (report.strongest, report.empirical_privacy) {
        let privacy = interval(Some(privacy));
        let _ = writeln!(
            out,
            "\nEmpirical privacy {privacy} (strongest attack: {id})."
        );
    }
    if let Some(averaging) = &report.averaging {
        let _ = writeln!(
            out,
            "{} observations of one release: {} of the words, as one observation ({}); under fresh \
             noise it would be {}.",
            averaging.observations,
            share(Some(averaging.one_release)),
            share(Some(averaging.single)),
            share(Some(averaging.fresh_noise))
        );
    }
    if let Some(side) = &report.side {
        let _ = writeln!(
            out,
            "Lengths: {} of the texts are alone with theirs; {:.3} bits of the class ({:.3} by \
             chance, p = {:.3}).",
            share(Some(side.unique_by_length)),
            side.information_bits,
            side.information_bits_by_chance,
            side.p_value
        );
    }
    out
}

fn failures(report: &AuditReport) -> String {
    let mut out = String::new();
    let mut all = 0;
    for attack in &report.attacks {
        for control in &attack.controls {
            all += 1;
            if !control.passed {
                let _ = writeln!(
                    out,
                    "FAIL {}: {}: {} where {} {} is needed",
                    attack.id,
                    control.name,
                    share(Some(control.value)),
                    if control.at_least {
                        "at least"
                    } else {
                        "at most"
                    },
                    share(Some(control.bound))
                );
            }
        }
    }
    for control in report.averaging.iter().map(|averaging| &averaging.control) {
        all += 1;
        if !control.passed {
            let _ = writeln!(
                out,
                "FAIL avg: {}: {}",
                control.name,
                share(Some(control.value))
            );
        }
    }
    for LabelControl { evidence, control } in &report.labels.label_controls {
        all += 1;
        if !control.passed {
            let _ = writeln!(
                out,
                "FAIL labels, {}: {}: {}",
                evidence.name(),
                control.name,
                share(Some(control.value))
            );
        }
    }
    if let Some(pattern) = &report.pattern {
        all += 1;
        if !pattern.passed {
            let _ = writeln!(
                out,
                "FAIL pattern: {} zero rows, {} foreign rows, {} odd batches",
                pattern.zero_rows, pattern.foreign_rows, pattern.odd_batches
            );
        }
    }
    for check in &report.claim {
        all += 1;
        if !check.passed {
            let _ = writeln!(
                out,
                "FAIL claim: {}: {:.3} where {:.3} is allowed",
                check.what, check.found, check.allowed
            );
        }
    }
    if out.is_empty() {
        let _ = writeln!(out, "PASS: all {all} controls and checks.");
    }
    out
}

fn share(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn interval(value: Option<Interval>) -> String {
    let half = value.and_then(|value| value.half_width);
    let half = half.map_or(String::new(), |half| format!(" ± {:.1}", 100.0 * half));
    format!("{}{half}", share(value.map(|value| value.mean)))
}
