//! `cutlayer audit`: how it is started, and what is taken out of what it prints.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::data::{DataSet, PRESIDIO_PUBLIC, PRESIDIO_TEXTS, attribute_file};
use super::measure::Measure;
use super::report::{Run, code};
use crate::assets;

/// Attacks that need no training, and the checks. `eia-opt` is left out: it takes minutes for eight
/// texts, and a strongest attack is one that tried them all.
const DIRECT: &str =
    "as-is,eia-nn,eia-nn-cosine,eia-table,eia-bayes,eia-bayes-pairs,avg,side,claim";

/// Attacks that are trained for minutes.
const TRAINED: &str = "mask,bag";

/// Attacks on the tokens of the texts that a client trains on. The attacker has the other rows of the
/// same file to learn from, which is more than a real one has; for names, texts of other templates.
pub(super) fn direct(data: DataSet, quick: bool) -> String {
    format!("{} --attacks {DIRECT} {}", of_texts(data), size(200, quick))
}

/// The same texts before attackers who learn. One of them owns the blocks above the cut, as the
/// server does.
pub(super) fn trained(data: DataSet, quick: bool) -> String {
    // From the folder of the CSV files in the cache.
    let model = format!("--model ../../../{}", assets::DEFAULT_MODEL);
    format!(
        "{} {model} --attacks {TRAINED} {}",
        of_texts(data),
        size(200, quick)
    )
}

/// The attack on an attribute of the authors, by an attacker who knows it of other authors.
pub(super) fn attribute(attribute: &str, quick: bool) -> String {
    let file = attribute_file(attribute);
    let size = size(1000, quick);
    format!("audit {file} --attribute {attribute} --attacks attribute {size}")
}

fn of_texts(data: DataSet) -> String {
    match data {
        DataSet::Presidio => format!("audit {PRESIDIO_TEXTS} --public {PRESIDIO_PUBLIC}"),
        _ => format!("audit {}", data.train()),
    }
}

/// Intervals are over the seeds of rows, so that an audit has one.
fn size(examples: u32, quick: bool) -> String {
    let examples = if quick { 30 } else { examples };
    format!("--examples {examples} --seeds 1")
}

/// What an audit says, by attack: numbers only, and which controls failed.
///
/// # Errors
/// When no attack was run.
pub(super) fn results(lines: &[Value]) -> Result<Value> {
    let report = lines.iter().rev().find_map(report);
    let report = report.context("`cutlayer audit` printed no report.")?;
    let listed = report["attacks"].as_array().into_iter().flatten();
    let run: Vec<&Value> = listed
        .filter(|attack| attack["not_run"].is_null())
        .collect();
    ensure!(!run.is_empty(), "`cutlayer audit` ran no attack.");
    let attacks = run
        .iter()
        .filter_map(|attack| Some((name(attack)?, numbers(attack))));
    let attacks: Map<String, Value> = attacks.collect();
    let averaging = &report["averaging"];
    let others = [("averaging", &averaging["control"])].into_iter();
    let claims = report["claim"].as_array().into_iter().flatten();
    let others = others.chain(claims.map(|claim| ("claim", claim)));
    let failed = run.iter().flat_map(|attack| controls(attack)).chain(others);
    let failed = failed.filter(|(_, control)| control["passed"] == false);
    let failed: Vec<String> = failed.map(|(of, control)| named(of, control)).collect();
    Ok(json!({
        "examples": report["examples"],
        "tokens": report["tokens"],
        "strongest": report["strongest"],
        "empirical_privacy": report["empirical_privacy"]["mean"],
        "attacks": attacks,
        "averaging": averaging,
        "failed_controls": failed,
    }))
}

/// The report in a line, whether it is the line or stands in it.
fn report(line: &Value) -> Option<&Value> {
    let inner = &line["report"];
    [inner, line]
        .into_iter()
        .find(|value| value["attacks"].is_array())
}

fn name(attack: &Value) -> Option<String> {
    attack["id"].as_str().map(str::to_owned)
}

/// The means of one attack, without the mechanism too.
fn numbers(attack: &Value) -> Value {
    let mut numbers = Map::new();
    for (key, value) in attack["defended"].as_object().into_iter().flatten() {
        if let Some(mean) = value["mean"].as_f64() {
            numbers.insert(key.clone(), json!(mean));
        }
    }
    let success = numbers.get("success").and_then(Value::as_f64);
    // Classes have a majority: the share that is not guessed right says nothing of them.
    if let Some(success) = success.filter(|_| !numbers.contains_key("macro_f1")) {
        numbers.insert("empirical_privacy".to_owned(), json!(1.0 - success));
    }
    let undefended = &attack["undefended"];
    let clear = [
        &undefended["top1"],
        &undefended["bag_recall"],
        &undefended["classes"]["auc"],
    ];
    let clear = clear.into_iter().find(|value| value.is_number());
    numbers.insert("undefended".to_owned(), clear.cloned().unwrap_or_default());
    for key in ["chance", "examples", "seconds"] {
        numbers.insert(key.to_owned(), attack[key].clone());
    }
    Value::Object(numbers)
}

fn controls(attack: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let id = attack["id"].as_str().unwrap_or_default();
    let controls = attack["controls"].as_array().into_iter().flatten();
    controls.map(move |control| (id, control))
}

fn named(of: &str, control: &Value) -> String {
    format!("{of}: {}", control["name"].as_str().unwrap_or("unnamed"))
}

/// The audits of a run: without training and with.
fn audits(run: &Run) -> impl Iterator<Item = &Value> {
    let keys = [Measure::Attacks, Measure::TrainedAttacks].map(Measure::key);
    keys.into_iter().filter_map(|key| run.measured.get(key))
}

/// How many audits a run has.
pub(super) fn audit_count(run: &Run) -> usize {
    audits(run).count()
}

/// The attacks on tokens that some run holds.
pub(super) fn names<'r>(runs: impl Iterator<Item = &'r Run>) -> Vec<String> {
    let attacks = runs
        .flat_map(audits)
        .filter_map(|audit| audit["attacks"].as_object());
    let on_tokens = |(_, numbers): &(&String, &Value)| numbers["empirical_privacy"].is_number();
    let names: BTreeSet<&String> = attacks
        .flatten()
        .filter(on_tokens)
        .map(|(name, _)| name)
        .collect();
    names.into_iter().cloned().collect()
}

/// Empirical privacy against one attack.
pub(super) fn empirical_privacy(run: &Run, attack: &str) -> Option<f64> {
    audits(run).find_map(|audit| audit["attacks"][attack]["empirical_privacy"].as_f64())
}

/// The attack that recovered most, of those that tried every example, and the empirical privacy
/// against it.
pub(super) fn strongest(run: &Run) -> Option<(&str, f64)> {
    let strongest = |audit: &'_ Value| audit["empirical_privacy"].as_f64();
    let audited =
        audits(run).filter_map(|audit| Some((audit["strongest"].as_str()?, strongest(audit)?)));
    audited.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// 1 - the largest share of a text's tokens that some attack names, wherever they stand: the one
/// number that rows with and without places have in common.
pub(super) fn privacy_anywhere(run: &Run) -> Option<f64> {
    let attacks = audits(run).filter_map(|audit| audit["attacks"].as_object());
    let recalls = attacks
        .flatten()
        .filter_map(|(_, numbers)| numbers["bag_recall"].as_f64());
    recalls.max_by(f64::total_cmp).map(|recall| 1.0 - recall)
}

/// Share of names and numbers that the strongest attack recovers.
pub(super) fn named_recovered(run: &Run) -> Option<f64> {
    let (attack, _) = strongest(run)?;
    audits(run).find_map(|audit| audit["attacks"][attack]["named"].as_f64())
}

/// The strongest attack of each run, each once.
pub(super) fn strongest_names<'r>(runs: impl Iterator<Item = &'r Run>) -> String {
    let names: BTreeSet<&str> = runs.filter_map(|run| Some(strongest(run)?.0)).collect();
    names.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

/// The controls that failed in some run; without them no number of the attack counts.
pub(super) fn failed_controls<'r>(runs: impl Iterator<Item = &'r Run>) -> String {
    let failed = runs
        .flat_map(audits)
        .filter_map(|audit| audit["failed_controls"].as_array());
    let failed: BTreeSet<&str> = failed.flatten().filter_map(Value::as_str).collect();
    match failed.is_empty() {
        true => "none".to_owned(),
        false => failed.into_iter().collect::<Vec<_>>().join("; "),
    }
}

/// AUC of the inference of an attribute.
pub(super) fn attribute_auc(run: &Run, attribute: &str) -> Option<f64> {
    run.number(&format!("/{attribute}/attacks/attribute/auc"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn audited() -> Value {
        json!({
            "examples": 40, "tokens": 400, "strongest": "eia-nn",
            "empirical_privacy": { "mean": 0.25, "half_width": null },
            "attacks": [
                {
                    "id": "eia-nn", "about": "words", "not_run": null, "examples": 40,
                    "seconds": 1.5, "chance": 0.01,
                    "defended": {
                        "success": { "mean": 0.75 }, "top5": { "mean": 0.875 }, "auc": null,
                    },
                    "undefended": { "top1": 1.0, "classes": null },
                    "controls": [
                        { "name": "shuffled pairs", "passed": true },
                        { "name": "injected leak", "passed": false },
                    ],
                },
                { "id": "mask", "not_run": "the model has no head", "defended": {} },
                {
                    "id": "attribute", "not_run": null, "examples": 40,
                    "defended": {
                        "success": { "mean": 0.6 }, "macro_f1": { "mean": 0.5 },
                        "auc": { "mean": 0.625 },
                    },
                    "undefended": { "top1": null, "bag_recall": null, "classes": { "auc": 0.75 } },
                    "controls": [],
                },
            ],
            "averaging": null,
            "claim": [{ "name": "eta", "passed": false }],
        })
    }

    #[test]
    fn numbers_of_attacks_that_were_run_are_kept() {
        let results = results(&[json!({ "type": "privacy" }), audited()]).unwrap();
        assert_eq!(results["empirical_privacy"], 0.25);
        let nearest = &results["attacks"]["eia-nn"];
        assert_eq!(
            (&nearest["success"], &nearest["empirical_privacy"]),
            (&json!(0.75), &json!(0.25))
        );
        assert_eq!(
            (&nearest["undefended"], &nearest["top5"]),
            (&json!(1.0), &json!(0.875))
        );
        assert!(results["attacks"].get("mask").is_none());
        let attribute = &results["attacks"]["attribute"];
        assert_eq!(
            (&attribute["auc"], &attribute["undefended"]),
            (&json!(0.625), &json!(0.75))
        );
        assert!(attribute.get("empirical_privacy").is_none());
        assert_eq!(
            results["failed_controls"],
            json!(["eia-nn: injected leak", "claim: eta"])
        );
        assert!(super::results(&[json!({ "type": "privacy" })]).is_err());
    }

    fn run(measured: &Value) -> Run {
        Run {
            measured: measured.as_object().unwrap().clone(),
            ..Run::default()
        }
    }

    #[test]
    fn a_run_answers_for_its_audits() {
        let audit = results(&[audited()]).unwrap();
        let run = run(&json!({ "attacks": audit, "gender": audit }));
        assert_eq!(strongest(&run), Some(("eia-nn", 0.25)));
        assert_eq!(empirical_privacy(&run, "eia-nn"), Some(0.25));
        assert_eq!(attribute_auc(&run, "gender"), Some(0.625));
        assert_eq!(names([&run].into_iter()), ["eia-nn"]);
        assert_eq!(strongest_names([&run].into_iter()), "`eia-nn`");
        assert_eq!(
            failed_controls([&run].into_iter()),
            "claim: eta; eia-nn: injected leak"
        );
    }

    /// Breaks when a trained attack that recovers more is not heard.
    #[test]
    fn the_strongest_of_both_audits_counts() {
        let trained = json!({
            "strongest": "mask", "empirical_privacy": 0.125, "failed_controls": [],
            "attacks": { "mask": { "empirical_privacy": 0.125, "named": 0.5 } },
        });
        let audit = results(&[audited()]).unwrap();
        let run = run(&json!({ "attacks": audit, "trained_attacks": trained }));
        assert_eq!(
            (strongest(&run), audit_count(&run)),
            (Some(("mask", 0.125)), 2)
        );
        assert_eq!(named_recovered(&run), Some(0.5));
        assert_eq!(names([&run].into_iter()), ["eia-nn", "mask"]);
    }
}
