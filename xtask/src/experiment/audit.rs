//! `cutlayer audit`: how it is started, and what is taken out of what it prints.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::data::{DataSet, PUBLIC, attribute_file};
use super::record::Record;
use super::report::code;

/// Attacks on the tokens of the texts that a client trains on, by an attacker who reads newspapers.
pub(super) fn attacks(data: DataSet, quick: bool) -> String {
    format!("audit {} --public {PUBLIC} {}", data.train(), size(quick))
}

/// The attack on an attribute of the authors, by an attacker who knows other authors.
pub(super) fn attribute(attribute: &str, quick: bool) -> String {
    let attacked = attribute_file("attacked", attribute);
    let attacker = attribute_file("attacker", attribute);
    format!(
        "audit {attacked} --public {attacker} --attribute {attribute} {}",
        size(quick)
    )
}

fn size(quick: bool) -> &'static str {
    if quick { "--rows 40" } else { "--rows 400" }
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

/// The attacks whose empirical privacy some record holds.
pub(super) fn names<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<String> {
    let names = records.flat_map(|record| {
        let attacks = record
            .measured
            .get("attacks")
            .and_then(|audit| audit["attacks"].as_object());
        let attacks = attacks.into_iter().flatten();
        attacks
            .filter(|(_, numbers)| numbers["empirical_privacy"].is_number())
            .map(|(name, _)| name)
    });
    let names: BTreeSet<&String> = names.collect();
    names.into_iter().cloned().collect()
}

/// Empirical privacy against one attack.
pub(super) fn empirical_privacy(record: &Record, attack: &str) -> Option<f64> {
    record.number(&format!("/attacks/attacks/{attack}/empirical_privacy"))
}

/// The attack that recovered most, of those that tried every example.
pub(super) fn strongest(record: &Record) -> Option<&str> {
    record.measured.get("attacks")?["strongest"].as_str()
}

/// Share of names and numbers that the strongest attack recovers.
pub(super) fn named_recovered(record: &Record) -> Option<f64> {
    let attack = strongest(record)?;
    record.number(&format!("/attacks/attacks/{attack}/named"))
}

/// The strongest attack of each seed, each once.
pub(super) fn strongest_names(records: &[Record]) -> String {
    let names: BTreeSet<&str> = records.iter().filter_map(strongest).collect();
    let names: Vec<String> = names.into_iter().map(code).collect();
    names.join(", ")
}

/// The controls that failed under some seed; without them no number of the attack counts.
pub(super) fn failed_controls(records: &[Record]) -> String {
    let failed = records
        .iter()
        .filter_map(|record| record.measured.get("attacks"));
    let failed = failed.flat_map(|audit| audit["failed_controls"].as_array().into_iter().flatten());
    let failed: BTreeSet<&str> = failed.filter_map(Value::as_str).collect();
    match failed.is_empty() {
        true => "none".to_owned(),
        false => failed.into_iter().collect::<Vec<_>>().join("; "),
    }
}

/// AUC of the inference of an attribute.
pub(super) fn attribute_auc(record: &Record, attribute: &str) -> Option<f64> {
    record.number(&format!("/{attribute}/attacks/attribute/auc"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::record::tests::record;
    use super::*;

    fn audited() -> Value {
        json!({
            "type": "audit", "examples": 40, "tokens": 400, "strongest": "eia-nn",
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

    #[test]
    fn a_record_answers_for_its_audit() {
        let audit = results(&[audited()]).unwrap();
        let numbers = json!({ "attacks": audit, "gender": audit });
        let record = record("sst/none", 1, numbers);
        assert_eq!(strongest(&record), Some("eia-nn"));
        assert_eq!(empirical_privacy(&record, "eia-nn"), Some(0.25));
        assert_eq!(attribute_auc(&record, "gender"), Some(0.625));
        assert_eq!(names([&record].into_iter()), ["eia-nn"]);
        assert_eq!(strongest_names(&[record.clone()]), "`eia-nn`");
        assert_eq!(
            failed_controls(&[record]),
            "claim: eta; eia-nn: injected leak"
        );
    }
}
