//! The options that say how the text is protected.

use clap::builder::PossibleValuesParser;
use client_wasm::options::{ContributionOptions, PROTECTION_DEFAULT, PrivacyOptions, ReadingName};
use shared::privacy::mechanism::{MECHANISMS, entry};
use shared::privacy::{Eta, Protection};

use super::named;

/// How the text is protected.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Privacy")]
pub(crate) struct Privacy {
    /// What hides the text; docs/threat-model.md says what each mechanism promises.
    #[arg(long, value_name = "NAME", default_value = "token", value_parser = names())]
    mechanism: String,

    /// How much is hidden, above 0 and below 1 [default: 0.5]. For `token` the share of words that
    /// are replaced.
    #[arg(long, value_name = "SHARE", value_parser = protection)]
    protection: Option<f64>,

    /// The mechanism's own parameter instead of --protection; less is more private.
    #[arg(long, value_name = "ETA", value_parser = eta, conflicts_with = "protection")]
    eta: Option<f64>,

    /// Less noise for words that matter for the labels (CTI), and by which reading.
    #[arg(
        long,
        default_value = "off",
        value_parser = named::<ReadingName>(&["off", "floor", "top", "sigmoid"])
    )]
    contribution: ReadingName,

    /// Parameter of the reading: the floor (0.6), the share of the vocabulary (0.01) or the centre
    /// of the sigmoid (0).
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    contribution_parameter: Option<f64>,

    /// Let the noise of a training row depend on its label. The server can then learn labels from
    /// the noise.
    #[arg(long)]
    label_dependent: bool,
}

impl From<&PrivacyOptions> for Privacy {
    fn from(options: &PrivacyOptions) -> Self {
        Self {
            mechanism: options.mechanism.clone(),
            protection: options.protection,
            eta: options.eta,
            contribution: options.contribution.reading,
            contribution_parameter: options.contribution.parameter,
            label_dependent: options.contribution.label_dependent,
        }
    }
}

impl Privacy {
    /// The options in the words of the client.
    pub(crate) fn options(&self) -> PrivacyOptions {
        let protection = self.protection.unwrap_or(PROTECTION_DEFAULT);
        PrivacyOptions {
            mechanism: self.mechanism.clone(),
            protection: Some(protection).filter(|_| self.eta.is_none()),
            eta: self.eta,
            contribution: ContributionOptions {
                reading: self.contribution,
                parameter: self.contribution_parameter,
                label_dependent: self.label_dependent,
            },
        }
    }

    /// Options that say nothing together.
    ///
    /// # Errors
    ///
    /// A sentence that says which.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.mechanism;
        let entry = entry(name).map_err(|error| error.to_string())?;
        if entry.level.is_empty() && self.protection.or(self.eta).is_some() {
            return Err(format!(
                "--mechanism {name} hides nothing: it takes no --protection and no --eta"
            ));
        }
        if !entry.takes_contribution && self.contribution != ReadingName::Off {
            return Err(format!("--mechanism {name} does not use --contribution"));
        }
        let unread = self.contribution_parameter.is_some() || self.label_dependent;
        if self.contribution == ReadingName::Off && unread {
            let sentence = "--contribution-parameter and --label-dependent need --contribution";
            return Err(sentence.to_owned());
        }
        Ok(())
    }
}

fn names() -> PossibleValuesParser {
    let names = MECHANISMS.iter().map(|entry| entry.name);
    PossibleValuesParser::new(names)
}

fn protection(text: &str) -> Result<f64, String> {
    let value = text.parse().map_err(|_| "not a number")?;
    let protection = Protection::new(value).map_err(|error| error.to_string())?;
    Ok(protection.get())
}

fn eta(text: &str) -> Result<f64, String> {
    let value = text.parse().map_err(|_| "not a number")?;
    let eta = Eta::new(value).map_err(|error| error.to_string())?;
    Ok(eta.get())
}
