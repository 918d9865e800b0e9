//! What a run told of labels, epoch by epoch, for the HTML report and for a terminal. Pure.

use std::fmt::Write;

use shared::audit::attacks::label::Method;
use shared::audit::labels::{LabelEvidence, LabelLeakage, LabelsReport};
use shared::audit::thresholds::LABELS_KNOWN_AUC_MIN;

use super::report::{control_row, escaped};

/// Writes the part of the report; nothing where the labels were not attacked.
pub(super) fn html(report: &LabelsReport) -> String {
    if is_empty(report) {
        return String::new();
    }
    let mut out = String::from("<h2>What the run told of the labels</h2>\n");
    out += "<p>The labels stayed at the client. Its gradients told the server how to move its outputs, \
            and with that something of the labels. An attacker who knows one label in five guesses \
            the others; AUC is how often it tells two texts of different classes apart: 50&nbsp;% \
            is guessing, 100&nbsp;% is knowing.</p>\n";
    for sentence in sentences(report) {
        let _ = writeln!(out, "<p>{}</p>", escaped(&sentence));
    }
    if !report.labels.is_empty() {
        out += &chart(report);
        out += &table(report);
        out += &controls(report);
    }
    out
}

/// What a person reads in a terminal.
pub(super) fn text(report: &LabelsReport) -> String {
    if is_empty(report) {
        return String::new();
    }
    let mut out = format!("\n{:<12} {:>5}", "labels", "epoch");
    for method in Method::ALL {
        let _ = write!(out, " {:>8}", method.name());
    }
    out += "   (AUC; 0.5 is guessing)\n";
    for (evidence, epoch) in lines(report) {
        let _ = write!(out, "{:<12} {epoch:>5}", evidence.name());
        for method in Method::ALL {
            let auc = auc(report, evidence, epoch, method);
            let auc = auc.map_or("-".to_owned(), |auc| format!("{auc:.3}"));
            let _ = write!(out, " {auc:>8}");
        }
        out.push('\n');
    }
    for sentence in sentences(report) {
        out += &sentence;
        out.push('\n');
    }
    out
}

fn is_empty(report: &LabelsReport) -> bool {
    report.labels.is_empty() && report.labels_not_run.is_none()
}

/// Kinds of evidence with their epochs.
fn lines(report: &LabelsReport) -> impl Iterator<Item = (LabelEvidence, usize)> {
    LabelEvidence::ALL.into_iter().flat_map(|evidence| {
        let epochs = report.epochs(evidence).into_iter();
        epochs.map(move |epoch| (evidence, epoch))
    })
}

fn auc(
    report: &LabelsReport,
    evidence: LabelEvidence,
    epoch: usize,
    method: Method,
) -> Option<f64> {
    let is_meant = |leak: &&LabelLeakage| {
        (leak.evidence, leak.epoch, leak.method) == (evidence, epoch, method)
    };
    report.labels.iter().find(is_meant).map(|leak| leak.auc)
}

/// What it means, for somebody who signs.
fn sentences(report: &LabelsReport) -> Vec<String> {
    let mut sentences = Vec::new();
    let worst = |evidence| {
        let epochs = report.epochs(evidence).into_iter();
        let strongest = epochs.filter_map(|epoch| report.strongest(evidence, epoch));
        strongest.max_by(|a, b| a.auc.total_cmp(&b.auc))
    };
    for evidence in LabelEvidence::ALL {
        if let Some(leak) = worst(evidence) {
            sentences.push(sentence(&leak));
        }
    }
    let known = report
        .labels
        .iter()
        .any(|leak| leak.auc >= LABELS_KNOWN_AUC_MIN);
    if known {
        let advice = "Count the labels of this run as known to the server.";
        sentences.push(advice.to_owned());
    }
    if let Some(reason) = &report.labels_not_run {
        sentences.push(format!("Not all of it could be attacked: {reason}."));
    }
    sentences
}

fn sentence(leak: &LabelLeakage) -> String {
    let percent = 100.0 * leak.auc;
    let from = match leak.evidence {
        LabelEvidence::Gradients => "From the gradients that this client sent,",
        LabelEvidence::Outputs => "From the outputs of its own part of the model,",
        LabelEvidence::Activations => "From the activations that this client sent,",
    };
    let when = match leak.epoch {
        0 => "before training, by what the texts themselves say of them".to_owned(),
        epoch => format!("in epoch {epoch}"),
    };
    format!(
        "{from} the server could tell two texts of different classes apart in {percent:.1} % of the \
         cases ({when}; method {}).",
        leak.method.name()
    )
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// The strongest method of each kind of evidence, epoch by epoch.
fn chart(report: &LabelsReport) -> String {
    let last = lines(report).map(|(_, epoch)| epoch).max().unwrap_or(0);
    let x = |epoch: usize| {
        let share = epoch as f64 / last.max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * share
    };
    // An AUC below 0.4 is chance, too.
    let y = |auc: f64| {
        let share = (auc.clamp(0.4, 1.0) - 0.4) / 0.6;
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    };
    let mut shapes = String::new();
    for mark in [0.5, 0.75, 1.0] {
        let class = if mark == 0.5 { "chance" } else { "axis" };
        let (at, right) = (y(mark), WIDTH - RIGHT);
        let _ = write!(
            shapes,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            LEFT - 6.0,
            at + 3.0,
            100.0 * mark
        );
    }
    for epoch in 0..=last {
        let name = match epoch {
            0 => "upload".to_owned(),
            epoch => epoch.to_string(),
        };
        let (at, bottom) = (x(epoch), HEIGHT - 6.0);
        let _ = write!(
            shapes,
            "<text x=\"{at:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{name}</text>"
        );
    }
    let mut title = String::from("AUC of the strongest method by epoch");
    for evidence in LabelEvidence::ALL {
        let epochs = report.epochs(evidence).into_iter();
        let strongest = epochs.filter_map(|epoch| report.strongest(evidence, epoch));
        let points: Vec<(f64, f64)> = strongest
            .inspect(|leak| {
                let percent = 100.0 * leak.auc;
                let _ = write!(
                    title,
                    "; {} {}: {percent:.1} %",
                    evidence.name(),
                    leak.epoch
                );
            })
            .map(|leak| (x(leak.epoch), y(leak.auc)))
            .collect();
        let class = evidence.name();
        let line: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        if let Some((last_x, last_y)) = points.last() {
            let _ = write!(
                shapes,
                "<polyline class=\"line {class}\" points=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{class}</text>",
                line.join(" "),
                last_x + 8.0,
                last_y + 3.0
            );
        }
        for (x, y) in points {
            let _ = write!(
                shapes,
                "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"
            );
        }
    }
    format!(
        "<svg role=\"img\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
         <title>{title}</title>{shapes}</svg>\n"
    )
}

fn table(report: &LabelsReport) -> String {
    let heads = Method::ALL.map(|method| {
        let name = method.name();
        format!("<th scope=\"col\" class=\"n\">{name}</th>")
    });
    let mut out = format!(
        "<div class=\"scroll\"><table>\n<caption>AUC by method; 0.5 is guessing. Epoch 0 is the upload, \
         before any training: what it tells, the texts tell. One draw of the labels that the attacker \
         knows.</caption>\n<thead><tr><th scope=\"col\">Seen by the server</th>\
         <th scope=\"col\" class=\"n\">Epoch</th>{}</tr></thead>\n<tbody>\n",
        heads.concat()
    );
    for (evidence, epoch) in lines(report) {
        let cells = Method::ALL.map(|method| {
            let auc = auc(report, evidence, epoch, method);
            let auc = auc.map_or("–".to_owned(), |auc| format!("{auc:.3}"));
            format!("<td class=\"n\">{auc}</td>")
        });
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{epoch}</td>{}</tr>",
            evidence.name(),
            cells.concat()
        );
    }
    out += "</tbody></table></div>\n";
    out
}

fn controls(report: &LabelsReport) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table>\n<caption>Controls on the last epoch, with bounds that were set \
         before the run: with shuffled labels nothing may be found; with the label added to every vector \
         it has to be.</caption>\n<thead><tr><th scope=\"col\">Seen by the server</th>\
         <th scope=\"col\">Control</th><th scope=\"col\" class=\"n\">Measured</th>\
         <th scope=\"col\" class=\"n\">Bound</th><th scope=\"col\">Verdict</th></tr></thead>\n<tbody>\n",
    );
    for control in &report.label_controls {
        out += &control_row(control.evidence.name(), &control.control);
    }
    out += "</tbody></table></div>\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> LabelsReport {
        let leak = |epoch, evidence, method, auc| LabelLeakage {
            epoch,
            evidence,
            method,
            auc,
        };
        use LabelEvidence::{Activations, Gradients};
        LabelsReport {
            labels: vec![
                leak(1, Gradients, Method::Norm, 0.5),
                leak(1, Gradients, Method::Hint, 0.7),
                leak(2, Gradients, Method::Norm, 0.55),
                leak(2, Gradients, Method::Hint, 0.994),
                leak(0, Activations, Method::Logistic, 0.8),
            ],
            ..LabelsReport::default()
        }
    }

    #[test]
    fn the_sentence_is_that_of_the_worst_epoch_and_of_the_strongest_method() {
        let sentences = sentences(&report());
        assert!(sentences[0].contains("gradients") && sentences[0].contains("99.4 %"));
        assert!(
            sentences[0].contains("epoch 2; method hint"),
            "{sentences:?}"
        );
        assert!(sentences[1].contains("80.0 %") && sentences[1].contains("before training"));
        assert!(sentences[2].starts_with("Count the labels"));
        let hidden = LabelsReport {
            labels: report().labels[..1].to_vec(),
            ..LabelsReport::default()
        };
        assert_eq!(super::sentences(&hidden).len(), 1);
    }

    /// By hand: width 290 for two epochs, so epoch 1 at 40 + 145; AUC 0.7 is half of 136 above 146.
    #[test]
    fn the_chart_is_drawn_to_scale_and_its_numbers_stand_in_the_title() {
        let drawn = html(&report());
        assert!(drawn.contains("points=\"185.0,78.0 330.0,"), "{drawn}");
        assert!(drawn.contains("gradients 2: 99.4 %"));
        assert!(drawn.contains("<td class=\"n\">0.994</td>"));
        let text = text(&report());
        assert!(text.contains("gradients        2    0.550"), "{text}");
    }

    #[test]
    fn without_an_attack_there_is_no_part_and_a_reason_is_given() {
        assert!(html(&LabelsReport::default()).is_empty());
        assert!(text(&LabelsReport::default()).is_empty());
        let few = LabelsReport {
            labels_not_run: Some("too few".to_owned()),
            ..LabelsReport::default()
        };
        assert!(html(&few).contains("too few") && !html(&few).contains("<svg"));
    }
}
