//! `cutlayer audit`: attacks what this client sends, and says what was recovered.

pub(crate) mod args;
mod attribute;
mod bars;
mod checks;
mod document;
mod labels;
mod material;
mod recorded;
mod report;
mod table;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use client_wasm::client::audit::system_seed;
use shared::audit::attacks::{ATTACKS, named};
use shared::audit::{Attack, Watch};

use crate::input::{OwnedFile, check_writable, read_texts};
use crate::output::{Line, Output};
use crate::setup;
use args::AuditArgs;
use attribute::Attribute;
use document::{Document, date, guarantee, not_covered};
use material::Material;
use recorded::Recorded;

/// Checks that are no attacks on single texts.
const CHECKS: [&str; 4] = ["avg", "side", "claim", LABELS];

/// LABEL by epoch, of a recorded run.
const LABELS: &str = "labels";

/// Runs the command. It opens no session: nothing of the file is sent.
///
/// # Errors
///
/// When a file cannot be used, the server cannot be reached for the bottom of the model, or an
/// attack fails.
pub(crate) async fn run(args: &AuditArgs, output: &mut Output) -> anyhow::Result<()> {
    let chosen = Chosen::parse(&args.attacks)?;
    args.report.as_deref().map_or(Ok(()), check_writable)?;
    let recorded = args.recorded.as_deref().map(Recorded::read).transpose()?;
    let common = match &recorded {
        Some(recorded) => recorded.common(&args.common),
        None => args.common.clone(),
    };
    let columns = common.columns();
    let file = OwnedFile::read_labelled(&args.file, &columns)?;
    let public = args.public.as_deref();
    let public = public.map(|path| read_texts(path, &columns)).transpose()?;
    let attribute = args.attribute.as_deref();
    let attribute = attribute.map(|name| Attribute::read(&file, &columns, name));
    let attribute = attribute.transpose()?;

    let ready = Box::pin(setup::client(&common, &file, output)).await?;
    let client = &ready.client;
    let public = public.map(|rows| {
        let texts: Vec<_> = rows.into_iter().map(|row| (row.text, row.pair)).collect();
        client.encode(&texts)
    });
    let gathered = Material::gather(client, args, recorded.as_ref(), public, attribute.as_ref());
    let material = Box::pin(gathered).await?;
    let seed = common.seed.map_or_else(system_seed, Ok)?;
    let attacked = material.attack(client, args, &chosen, seed, output);
    let outcome = Box::pin(attacked).await?;

    let mut report = outcome.report.clone();
    if let Some(recorded) = &recorded {
        report.pattern = recorded.transcript.pattern.clone();
        if recorded.kept_labels() && chosen.checks.contains(LABELS) {
            let knowledge = client.knowledge(&[], &[], None);
            report.labels = recorded.labels(seed, &knowledge, &Bar::new(output))?;
            output.clear();
        }
    }
    let document = Document {
        date: today(),
        version: env!("CARGO_PKG_VERSION"),
        model: client.catalogue().model_id.clone(),
        cut: client.cut(),
        privacy: ready.privacy.clone(),
        guarantee: guarantee(&client.noise(), ready.privacy.guarantee),
        attacker: material.attacker.clone(),
        recorded: args.recorded.is_some(),
        seed,
        passed: report.passed(),
        not_covered: not_covered(&report, recorded.as_ref()),
        report,
    };
    if let Some(path) = &args.report {
        let shown = match args.show_text {
            true => material.shown(client, &outcome),
            false => Vec::new(),
        };
        fs::write(path, report::html(&document, &shown))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        output.note(&format!("Wrote the report to {}.", path.display()));
        if args.show_text {
            output.warning("WARNING: the report holds private text.");
        }
    }
    finish(&document, output)
}

fn finish(document: &Document, output: &mut Output) -> anyhow::Result<()> {
    if output.is_json() {
        output.line(&Line::Audit(&serde_json::to_value(document)?))?;
    } else {
        output.text(&table::table(document))?;
    }
    if !document.passed {
        output.warning("A control or a check failed: the numbers concerned do not count.");
    }
    Ok(())
}

/// What is run.
struct Chosen {
    attacks: Vec<&'static dyn Attack>,
    checks: HashSet<&'static str>,
}

impl Chosen {
    fn parse(names: &[String]) -> anyhow::Result<Self> {
        if names.is_empty() {
            return Ok(Self {
                attacks: ATTACKS.to_vec(),
                checks: CHECKS.into(),
            });
        }
        let is_check = |name: &&'static str| names.iter().any(|chosen| chosen == name);
        let checks: HashSet<_> = CHECKS.into_iter().filter(is_check).collect();
        let attacks = names.iter().filter(|name| !checks.contains(name.as_str()));
        let attacks: Vec<String> = attacks.cloned().collect();
        match named(&attacks) {
            Ok(attacks) => Ok(Self { attacks, checks }),
            Err(unknown) => {
                let known = ATTACKS.iter().map(|attack| attack.id()).chain(CHECKS);
                let known: Vec<&str> = known.collect();
                bail!(
                    "there is no attack {unknown}; there are {}",
                    known.join(", ")
                )
            }
        }
    }
}

/// Shows what the audit works on.
struct Bar<'a> {
    output: RefCell<&'a mut Output>,
    started: Instant,
}

impl<'a> Bar<'a> {
    fn new(output: &'a mut Output) -> Self {
        Self {
            output: RefCell::new(output),
            started: Instant::now(),
        }
    }
}

impl Watch for Bar<'_> {
    fn progress(&self, what: &str, share: f64) {
        self.output.borrow_mut().working(what, share);
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_secs() / 86_400);
    date(i64::try_from(days).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attacks_and_checks_are_chosen_by_name() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let all = Chosen::parse(&[]).unwrap();
        assert_eq!((all.attacks.len(), all.checks.len()), (ATTACKS.len(), 4));
        let some = Chosen::parse(&names(&["side", "eia-nn"])).unwrap();
        assert_eq!(some.attacks[0].id(), "eia-nn");
        assert_eq!((some.attacks.len(), some.checks.len()), (1, 1));
        let Err(error) = Chosen::parse(&names(&["eia-xx"])) else {
            panic!("there is no such attack");
        };
        assert!(error.to_string().contains("eia-nn"), "{error}");
    }
}
