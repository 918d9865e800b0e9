//! The report of an audit as one HTML file: no script, nothing from elsewhere, made to be printed.
//!
//! Pure: it writes a string. Every number of a picture stands beside it as text.

use std::fmt::Write;

use shared::audit::report::{AttackReport, AuditReport, Control};
use shared::audit::score::Scores;
use shared::audit::statistics::Interval;
use shared::audit::thresholds;

use super::document::{Document, Shown};
use super::{bars, checks, labels};

const STYLE: &str = include_str!("report.css");

/// Writes the report.
pub(super) fn html(document: &Document, shown: &[Shown]) -> String {
    let mut page = String::new();
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += "<meta name=\"referrer\" content=\"no-referrer\">\n";
    page += "<title>Cutlayer: what the server could learn</title>\n<style>\n";
    page += STYLE;
    page += "</style>\n</head>\n<body>\n<main>\n";
    page += &heading(document);
    page += &headline(document);
    page += &audited(document);
    page += &attacks(&document.report);
    page += &recovered(&document.report);
    page += &controls(&document.report);
    page += &labels::html(&document.report.labels);
    page += &checks::html(&document.report);
    page += &list("What this audit does not cover", &document.not_covered);
    page += &texts(shown);
    page += "<div class=\"signature\"><div>Date, name</div><div>Signature</div></div>\n";
    page += "</main>\n</body>\n</html>\n";
    page
}

/// Text as HTML holds it.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}&nbsp;%", 100.0 * share)
}

/// A share with its interval.
fn interval(value: Option<Interval>) -> String {
    match value {
        None => "–".to_owned(),
        Some(Interval { mean, half_width }) => match half_width {
            None => percent(mean),
            Some(half) => format!("{}&nbsp;±&nbsp;{:.1}", percent(mean), 100.0 * half),
        },
    }
}

pub(super) fn verdict(passed: bool) -> &'static str {
    match passed {
        true => "<span class=\"good\">PASS</span>",
        false => "<span class=\"bad\">FAIL</span>",
    }
}

fn heading(document: &Document) -> String {
    let mut out = String::from("<h1>What the server could learn</h1>\n");
    let _ = writeln!(
        out,
        "<p class=\"faint\">Audit of Cutlayer {} on {}. Only the owner of the texts has this \
         file.</p>",
        escaped(document.version),
        escaped(&document.date)
    );
    out
}

fn headline(document: &Document) -> String {
    let report = &document.report;
    let mut out = String::from("<section class=\"headline\">\n");
    match (report.strongest, report.empirical_privacy) {
        (Some(id), Some(privacy)) => {
            let found = privacy.complement();
            let _ = writeln!(out, "<div class=\"number\">{}</div>", interval(Some(found)));
            let what = match report.keeps_positions {
                true => "of the words were recovered, each at its place,",
                false => "of the words were recovered, wherever they stood,",
            };
            let _ = writeln!(
                out,
                "<p>{what} by the strongest attack that was run, <b>{id}</b>. The empirical \
                 privacy of this setting is {}.</p>",
                interval(Some(privacy))
            );
        }
        _ => out += "<p>No attack could be run against this setting.</p>\n",
    }
    let all = match document.passed {
        true => "Every control and check passed.",
        false => "At least one control or check failed: the numbers concerned do not count.",
    };
    let _ = writeln!(out, "<p>{} {all}</p>", verdict(document.passed));
    out += "</section>\n";
    out
}

fn audited(document: &Document) -> String {
    let report = &document.report;
    let privacy = &document.privacy;
    let eta = privacy
        .eta
        .map_or("none".to_owned(), |eta| format!("{eta:.3}"));
    let level = privacy
        .protection
        .map_or("none".to_owned(), |level| format!("{level:.3}"));
    let source = match document.recorded {
        true => "traffic that was recorded when it was sent",
        false => "releases of this client, as training would send them",
    };
    let rows = [
        ("Model", escaped(&document.model)),
        ("Blocks at the client (cut)", document.cut.to_string()),
        ("Mechanism", escaped(privacy.mechanism)),
        ("Parameter eta", eta),
        ("Protection level", level),
        ("What the setting does", escaped(&privacy.sentence)),
        ("What is promised", escaped(&promise(document))),
        ("What was attacked", source.to_owned()),
        (
            "How much",
            format!(
                "{} texts with {} words or parts of words, {} of them in names and numbers",
                report.examples, report.tokens, report.named_tokens
            ),
        ),
        (
            "The attacker",
            format!(
                "knows the model's lower part, the mechanism and its parameters, and {} other \
                 texts: {}. It does not know the noise.",
                report.public_texts,
                escaped(&document.attacker)
            ),
        ),
        (
            "Runs",
            format!("{} (start {})", report.seeds, document.seed),
        ),
    ];
    let mut out = String::from("<h2>What was audited</h2>\n<div class=\"scroll\"><table>\n");
    for (name, value) in rows {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>"
        );
    }
    out += "</table></div>\n";
    out
}

/// The guarantee, and what the choice of words that matter costs of it.
fn promise(document: &Document) -> String {
    let caveats = document.privacy.caveats.iter().copied();
    let sentences: Vec<&str> = std::iter::once(document.guarantee).chain(caveats).collect();
    sentences.join(" ")
}

fn attacks(report: &AuditReport) -> String {
    let mut out = String::from("<h2>Attacks</h2>\n");
    out += "<p>Each bar says how much of the text an attack recovered: filled, against this \
            setting, with its 95&nbsp;% interval; outlined, without any protection; the dashed \
            line is what guessing by frequency alone gets.</p>\n";
    out += "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Attack</th>\
            <th scope=\"col\">Recovered</th><th scope=\"col\" class=\"n\">With</th>\
            <th scope=\"col\" class=\"n\">Without</th><th scope=\"col\" class=\"n\">Chance</th>\
            <th scope=\"col\" class=\"n\">Seconds</th></tr></thead>\n<tbody>\n";
    for attack in &report.attacks {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}<br><span class=\"unit\">{}</span></th>",
            attack.id,
            escaped(attack.about)
        );
        if let Some(reason) = &attack.not_run {
            let _ = writeln!(
                out,
                "<td colspan=\"5\">Not run: {}.</td></tr>",
                escaped(reason)
            );
            continue;
        }
        let success = attack.defended.success;
        let without = attack.undefended.as_ref().map(Scores::success);
        let share = |value: Option<f64>| value.map_or("–".to_owned(), percent);
        let _ = writeln!(
            out,
            "<td>{}{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{:.1}</td></tr>",
            bars::svg(attack.id, success, without, attack.chance),
            tried(attack, report),
            interval(success),
            share(without),
            share(attack.chance),
            attack.seconds
        );
    }
    out += "</tbody></table></div>\n";
    out
}

/// Says when an attack did not try every text.
fn tried(attack: &AttackReport, report: &AuditReport) -> String {
    if attack.examples < report.examples {
        format!(
            "<span class=\"unit\">on the first {} texts only</span>",
            attack.examples
        )
    } else {
        String::new()
    }
}

fn recovered(report: &AuditReport) -> String {
    let mut out = String::from("<h2>By word and by document</h2>\n<div class=\"scroll\"><table>\n");
    out += "<caption>Against this setting. Words: the first guess is right; one of five is; found \
            anywhere in the text. Documents: recovered to the last word; likeness (ROUGE-L). Names \
            and numbers by a rough reading of capitals and digits.</caption>\n";
    out += "<thead><tr><th scope=\"col\">Attack</th><th scope=\"col\" class=\"n\">First guess</th>\
            <th scope=\"col\" class=\"n\">One of five</th>\
            <th scope=\"col\" class=\"n\">Anywhere</th>\
            <th scope=\"col\" class=\"n\">Names, numbers</th>\
            <th scope=\"col\" class=\"n\">Whole documents</th>\
            <th scope=\"col\" class=\"n\">ROUGE-L</th></tr></thead>\n<tbody>\n";
    for attack in report
        .attacks
        .iter()
        .filter(|attack| attack.not_run.is_none())
    {
        let found = &attack.defended;
        let columns = [
            found.top1,
            found.top5,
            found.bag_recall,
            found.named,
            found.exact_documents,
            found.rouge_l,
        ];
        let cells: String = columns
            .map(|value| format!("<td class=\"n\">{}</td>", interval(value)))
            .concat();
        let _ = writeln!(out, "<tr><th scope=\"row\">{}</th>{cells}</tr>", attack.id);
    }
    out += "</tbody></table></div>\n";
    for attack in report
        .attacks
        .iter()
        .filter(|attack| attack.defended.macro_f1.is_some())
    {
        let found = &attack.defended;
        let _ = writeln!(
            out,
            "<p>{}: right classes {}, macro-F1 {}, area under the curve {}.</p>",
            attack.id,
            interval(found.success),
            interval(found.macro_f1),
            interval(found.auc)
        );
    }
    out
}

fn controls(report: &AuditReport) -> String {
    let mut out = String::from("<h2>Controls</h2>\n");
    let _ = writeln!(
        out,
        "<p>An attack that fails proves nothing unless it is known to work. Each was run three \
         more times: on the same texts without protection, where it must succeed; with its guesses \
         held against the texts of others, where it must fall to chance; and with one document of \
         {} released in the clear, which it must find. The bounds were set before the run.</p>",
        thresholds::LEAK_ONE_OF
    );
    out += "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Attack</th>\
            <th scope=\"col\">Control</th><th scope=\"col\" class=\"n\">Measured</th>\
            <th scope=\"col\" class=\"n\">Bound</th><th scope=\"col\">Verdict</th></tr></thead>\n\
            <tbody>\n";
    for attack in &report.attacks {
        for control in &attack.controls {
            out += &control_row(attack.id, control);
        }
    }
    if let Some(averaging) = &report.averaging {
        out += &control_row("avg", &averaging.control);
    }
    out += "</tbody></table></div>\n";
    out
}

pub(super) fn control_row(id: &str, control: &Control) -> String {
    let sense = if control.at_least {
        "at least"
    } else {
        "at most"
    };
    format!(
        "<tr><th scope=\"row\">{id}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{sense} \
         {}</td><td>{}</td></tr>\n",
        control.name,
        percent(control.value),
        percent(control.bound),
        verdict(control.passed)
    )
}

fn list(title: &str, points: &[&str]) -> String {
    let items: String = points
        .iter()
        .map(|point| format!("<li>{}</li>\n", escaped(point)))
        .collect();
    format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n")
}

fn texts(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Texts and what was recovered of them</h2>\n");
    out += "<p class=\"bad\">This part holds private text. The report is as private as the file \
            itself.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Text</th>\
            <th scope=\"col\">Recovered by the strongest attack</th></tr></thead>\n<tbody>\n";
    for Shown {
        original,
        recovered,
    } in shown
    {
        let (original, recovered) = (escaped(original), escaped(recovered));
        let _ = writeln!(out, "<tr><td>{original}</td><td>{recovered}</td></tr>");
    }
    out += "</tbody></table></div>\n";
    out
}
