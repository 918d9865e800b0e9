//! `cutlayer audit`: how it is started, and what is taken out of what it prints.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::data::{DataSet, PUBLIC, attribute_file};
use super::record::Record;

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

/// The results of an audit by attack.
///
/// # Errors
/// When no attack was run.
pub(super) fn results(lines: &[Value]) -> Result<Value> {
    let mut attacks = Map::new();
    for line in lines.iter().filter(|line| line["type"] == "attack") {
        if let Some(id) = line["id"].as_str() {
            attacks.insert(id.to_owned(), line.clone());
        }
    }
    ensure!(
        !attacks.is_empty(),
        "`cutlayer audit` printed no attack: report it."
    );
    Ok(json!({ "attacks": attacks }))
}

/// The attacks whose empirical privacy some record holds.
pub(super) fn names<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<String> {
    let names: BTreeSet<String> = records
        .flat_map(|record| privacies(record).map(|(name, _)| name.to_owned()))
        .collect();
    names.into_iter().collect()
}

/// Empirical privacy against one attack.
pub(super) fn empirical_privacy(record: &Record, attack: &str) -> Option<f64> {
    privacies(record).find_map(|(name, privacy)| (name == attack).then_some(privacy))
}

/// The attack that recovers most, and the empirical privacy against it.
pub(super) fn strongest(record: &Record) -> Option<(&str, f64)> {
    privacies(record).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The strongest attack of each seed, each once.
pub(super) fn strongest_names(records: &[Record]) -> String {
    let names: BTreeSet<&str> = records
        .iter()
        .filter_map(|record| Some(strongest(record)?.0))
        .collect();
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// AUC of the inference of an attribute.
pub(super) fn attribute_auc(record: &Record, attribute: &str) -> Option<f64> {
    record.number(&format!("/{attribute}/attacks/attribute/auc"))
}

fn privacies(record: &Record) -> impl Iterator<Item = (&str, f64)> {
    let attacks = record
        .measured
        .get("attacks")
        .and_then(|measured| measured["attacks"].as_object());
    let attacks = attacks.into_iter().flatten();
    attacks
        .filter_map(|(name, result)| Some((name.as_str(), result["empirical_privacy"].as_f64()?)))
}
