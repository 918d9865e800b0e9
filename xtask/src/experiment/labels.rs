//! What `cutlayer audit --recorded` says of labels, by epoch.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::measure::line;
use super::report::Run;

/// Numbers of the training, with the AUC by kind of evidence, epoch and method added, and which
/// controls failed.
///
/// # Errors
/// When no label was attacked.
pub(super) fn results(trained: Value, audited: &[Value]) -> Result<Value> {
    let audit = line(audited, "audit").context("`cutlayer audit` printed no report.")?;
    let report = &audit["report"];
    let leaks = report["labels"].as_array();
    let leaks = leaks.context("The report says nothing of labels.")?;
    ensure!(
        !leaks.is_empty(),
        "`cutlayer audit` attacked no label: {}.",
        report["labels_not_run"]
            .as_str()
            .unwrap_or("no reason was given")
    );
    let mut aucs = Map::new();
    for leak in leaks {
        let (Some(evidence), Some(method)) = (leak["evidence"].as_str(), leak["method"].as_str())
        else {
            continue;
        };
        let epoch = leak["epoch"].to_string();
        let of_evidence = aucs.entry(evidence).or_insert_with(|| json!({}));
        of_evidence[epoch.as_str()][method] = leak["auc"].clone();
    }
    let controls = report["label_controls"].as_array().into_iter().flatten();
    let failed = controls.filter(|control| control["control"]["passed"] == false);
    let failed: Vec<String> = failed
        .map(|control| {
            let text = |value: &Value| value.as_str().unwrap_or("unnamed").to_owned();
            let (evidence, name) = (&control["evidence"], &control["control"]["name"]);
            format!("{}: {}", text(evidence), text(name))
        })
        .collect();
    let mut numbers = trained;
    numbers["auc"] = Value::Object(aucs);
    numbers["failed_controls"] = json!(failed);
    Ok(numbers)
}

/// AUC of the method that read most out of one kind of evidence in one epoch.
pub(super) fn strongest_auc(run: &Run, evidence: &str, epoch: u32) -> Option<f64> {
    let labels = run.measured.get("labels")?;
    let methods = labels["auc"][evidence][epoch.to_string().as_str()].as_object()?;
    methods.values().filter_map(Value::as_f64).reduce(f64::max)
}

/// The controls that failed in some run.
pub(super) fn failed_controls<'r>(runs: impl Iterator<Item = &'r Run>) -> String {
    let failed = runs.filter_map(|run| run.measured.get("labels")?["failed_controls"].as_array());
    let mut failed: Vec<&str> = failed.flatten().filter_map(Value::as_str).collect();
    failed.sort_unstable();
    failed.dedup();
    match failed.is_empty() {
        true => "none".to_owned(),
        false => failed.join("; "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn audited() -> Value {
        let leak = |epoch: u32, evidence: &str, method: &str, auc: f64| json!({ "epoch": epoch, "evidence": evidence, "method": method, "auc": auc });
        json!({ "type": "audit", "report": {
            "labels": [
                leak(1, "gradients", "norm", 0.5),
                leak(1, "gradients", "hint", 0.75),
                leak(2, "gradients", "hint", 0.875),
                leak(0, "activations", "logistic", 0.625),
            ],
            "label_controls": [
                { "evidence": "gradients", "control": { "name": "injected leak", "passed": false } },
                { "evidence": "activations", "control": { "name": "injected leak", "passed": true } },
            ],
        }})
    }

    #[test]
    fn the_strongest_method_of_an_epoch_counts_and_failed_controls_are_named() {
        let numbers = results(json!({ "accuracy": 0.5 }), &[audited()]).unwrap();
        assert_eq!(numbers["accuracy"], 0.5);
        let measured = json!({ "labels": numbers });
        let run = Run {
            measured: measured.as_object().unwrap().clone(),
            ..Run::default()
        };
        assert_eq!(strongest_auc(&run, "gradients", 1), Some(0.75));
        assert_eq!(strongest_auc(&run, "gradients", 2), Some(0.875));
        assert_eq!(strongest_auc(&run, "activations", 0), Some(0.625));
        assert_eq!(strongest_auc(&run, "outputs", 1), None);
        assert_eq!(
            failed_controls([&run].into_iter()),
            "gradients: injected leak"
        );
        assert_eq!(failed_controls([].into_iter()), "none");
    }

    #[test]
    fn a_report_without_labels_is_an_error() {
        let empty = json!({ "type": "audit", "report": { "labels": [], "labels_not_run": "few" } });
        let error = results(json!({}), &[empty]).unwrap_err().to_string();
        assert!(error.contains("few"), "{error}");
        assert!(results(json!({}), &[]).is_err());
    }
}
