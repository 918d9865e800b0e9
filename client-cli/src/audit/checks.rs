//! The parts of the HTML report on what is checked beside the attacks. Pure.

use std::fmt::Write;

use shared::audit::report::AuditReport;
use shared::audit::thresholds;

use super::report::{escaped, percent, verdict};

/// Writes what is no attack on single texts: the promise, several observations, lengths, zeros.
pub(super) fn html(report: &AuditReport) -> String {
    let mut out = String::new();
    if !report.claim.is_empty() {
        out += "<h2>Is the promise kept?</h2>\n<p>Counted from many releases of the same words, \
                with limits that are wrong in one of 200 cases. What was found must not exceed what \
                the promise allows.</p>\n<div class=\"scroll\"><table>\n<thead><tr>\
                <th scope=\"col\">Check</th><th scope=\"col\" class=\"n\">Found, at least</th>\
                <th scope=\"col\" class=\"n\">Allowed</th><th scope=\"col\" class=\"n\">Draws</th>\
                <th scope=\"col\">Verdict</th></tr></thead>\n<tbody>\n";
        for check in &report.claim {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{:.3}</td><td class=\"n\">{:.3}</td>\
                 <td class=\"n\">{}</td><td>{}</td></tr>",
                escaped(&check.what),
                check.found,
                check.allowed,
                check.draws,
                verdict(check.passed)
            );
        }
        out += "</tbody></table></div>\n";
    }
    if let Some(averaging) = &report.averaging {
        let _ = writeln!(
            out,
            "<h2>Several observations of one text</h2>\n<p>From one observation an averaging \
             attack recovers {}. From {} observations of the same release, which is all that this \
             client ever gives within a session, {}. Under fresh noise each time it would be \
             {}.</p>",
            percent(averaging.single),
            averaging.observations,
            percent(averaging.one_release),
            percent(averaging.fresh_noise)
        );
    }
    if let Some(side) = &report.side {
        let found = match side.p_value < thresholds::SIDE_P_MAX {
            true => "more than chance explains",
            false => "no more than chance explains",
        };
        let _ = writeln!(
            out,
            "<h2>What lengths tell</h2>\n<p>No mechanism hides how long a text is. Of {} texts, {} \
             have a length that no other has ({} lengths occur). A length tells {:.3} bits of the \
             class, of {:.3}; shuffled classes give {:.3}: {found} (p = {:.3}).</p>",
            side.examples,
            percent(side.unique_by_length),
            side.lengths,
            side.information_bits,
            side.class_bits,
            side.information_bits_by_chance,
            side.p_value
        );
    }
    if let Some(pattern) = &report.pattern {
        let _ = writeln!(
            out,
            "<h2>Zeros, padding and batches</h2>\n<p>The bottom was trained here, and its activations \
             travelled batch by batch: {} batches, {} rows in both directions. Rows that are exactly \
             zero: {}. Rows that belong to no word of a text: {}. Batches of another size than the \
             others, the last of each pass aside: {}. Each would tell something, and none may be there. \
             {}</p>",
            pattern.batches,
            pattern.rows,
            pattern.zero_rows,
            pattern.foreign_rows,
            pattern.odd_batches,
            verdict(pattern.passed)
        );
    }
    out
}
