//! The data sets of the experiments, as CSV files in the cache that `cutlayer` reads.
//!
//! The sets themselves are other people's text: they are read where they are and written to the
//! git-ignored cache only. Nothing of them is printed or committed.

mod formats;
mod sheet;

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use self::sheet::Sheet;
use crate::assets;
use crate::workspace::Workspace;

/// Names the folder of the data sets, where it is not `../shared/data`.
const FOLDER_VARIABLE: &str = "CUTLAYER_SHARED_DATA";

/// Rows of each file of a quick run: enough for every program to have something to do.
const QUICK_ROWS: usize = 300;

/// Private attributes of HappyDB, and the two values that are told apart.
pub(crate) const ATTRIBUTES: [(&str, [&str; 2]); 4] = [
    ("gender", ["m", "f"]),
    ("married", ["married", "single"]),
    ("parenthood", ["y", "n"]),
    ("country", ["USA", "IND"]),
];

/// A data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DataSet {
    /// Stanford Sentiment Treebank, sentences, two classes.
    Sst,
    /// Financial PhraseBank, 50 % agreement, three classes.
    PhraseBank,
    /// Microsoft Research Paraphrase Corpus, pairs, two classes.
    Mrpc,
    /// HappyDB / CL-Aff with attributes of the authors.
    HappyDb,
    /// Synthetic sentences with spans of names, numbers and addresses.
    Presidio,
}

/// A span of a text that says who or where somebody is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which row of the file it stands in.
    pub(crate) row: usize,
    /// What it is: `PERSON`, `CREDIT_CARD`.
    pub(crate) entity: String,
    /// The row of the file of values that holds its text.
    pub(crate) value: usize,
}

/// The spans of the synthetic sentences, with the number of rows of both files.
pub(crate) struct Spans {
    pub(crate) list: Vec<Span>,
    /// Rows of [`PRESIDIO_TEXTS`].
    pub(crate) texts: usize,
    /// Rows of [`PRESIDIO_VALUES`].
    pub(crate) values: usize,
}

/// Where the sets are and where their CSV files go.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// The sets as published.
    shared: PathBuf,
    /// Their CSV files; the programs run in it.
    pub(crate) csv: PathBuf,
    /// Whether the files are short.
    quick: bool,
}

impl Folders {
    /// Finds both folders.
    pub(crate) fn locate(workspace: &Workspace, quick: bool) -> Self {
        let shared = env::var_os(FOLDER_VARIABLE).map_or_else(
            || workspace.root.join("../shared/data"),
            |folder| workspace.root.join(folder),
        );
        let kind = if quick { "quick" } else { "full" };
        Self {
            shared,
            csv: workspace.cache.join("experiments/data").join(kind),
            quick,
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let full = self.shared.join(path);
        fs::read(&full).with_context(|| {
            format!(
                "The data set {path} is not in {}: put it there, or name its folder with \
                 {FOLDER_VARIABLE} (docs/results/README.md lists the sets).",
                self.shared.display()
            )
        })
    }

    fn read_text(&self, path: &str) -> Result<String> {
        let bytes = self.read(path)?;
        String::from_utf8(bytes)
            .with_context(|| format!("{path} is not UTF-8: take it as published."))
    }

    /// Writes a file, or a thin one in a quick run.
    fn write(&self, name: &str, sheet: &Sheet) -> Result<()> {
        match self.quick {
            true => self.write_whole(name, &sheet.thinned(QUICK_ROWS)),
            false => self.write_whole(name, sheet),
        }
    }

    fn write_whole(&self, name: &str, sheet: &Sheet) -> Result<()> {
        ensure!(
            !sheet.rows.is_empty(),
            "{name} would have no row: take the data set as published."
        );
        assets::write_whole(&self.csv.join(name), sheet.to_csv()?.as_bytes())
    }
}

impl DataSet {
    /// How files and rows begin.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sst => "sst",
            Self::PhraseBank => "phrasebank",
            Self::Mrpc => "mrpc",
            Self::HappyDb => "happydb",
            Self::Presidio => "presidio",
        }
    }

    /// For a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sst => "SST sentences",
            Self::PhraseBank => "Financial PhraseBank (50Agree)",
            Self::Mrpc => "MRPC sentence pairs",
            Self::HappyDb => "HappyDB (CL-Aff)",
            Self::Presidio => "Presidio synthetic sentences",
        }
    }

    /// Tokens of its texts that are used. SST and its kin: as in the reference runs.
    pub(crate) fn seq_length_max(self) -> u32 {
        match self {
            Self::Sst | Self::PhraseBank | Self::HappyDb => 48,
            Self::Mrpc => 96,
            Self::Presidio => 128,
        }
    }

    /// Whether an example is two texts.
    pub(crate) fn has_pairs(self) -> bool {
        self == Self::Mrpc
    }

    /// The file that a client trains on.
    pub(crate) fn train(self) -> String {
        format!("{}-train.csv", self.name())
    }

    /// The file that is classified after training.
    pub(crate) fn test(self) -> String {
        format!("{}-test.csv", self.name())
    }

    /// Writes the set's files.
    ///
    /// # Errors
    /// One sentence that says which set is missing and where it should be.
    pub(crate) fn prepare(self, folders: &Folders) -> Result<()> {
        match self {
            Self::Sst => {
                for (source, name) in [("train", self.train()), ("test", self.test())] {
                    let path = format!("sst2_sentence/stsa.binary.{source}");
                    let sheet = formats::sst(&folders.read_text(&path)?)?;
                    folders.write(&name, &sheet)?;
                    if source == "train" {
                        folders.write(SST_SHORT, &sheet.thinned(SST_SHORT_ROWS))?;
                    }
                }
            }
            Self::PhraseBank => {
                let text = folders.read_text("financial_phrasebank/Sentences_50Agree.txt")?;
                let sheet = formats::phrasebank(&text)?;
                // 80 / 10 / 10: nothing is chosen by validation here, so the second tenth stays
                // unused.
                folders.write(&self.train(), &sheet.side(0..80))?;
                folders.write(&self.test(), &sheet.side(90..100))?;
            }
            Self::Mrpc => {
                for (source, name) in [("train", self.train()), ("test", self.test())] {
                    folders.write(&name, &mrpc(folders, source)?)?;
                }
            }
            Self::HappyDb => {
                let bytes = folders.read("happydb_claff/labeled_10k.csv")?;
                let sheet = formats::happydb(&bytes)?;
                let (train, test) = (sheet.side(0..60), sheet.side(60..100));
                folders.write(&self.train(), &train)?;
                folders.write(&self.test(), &test)?;
                for (attribute, values) in &ATTRIBUTES {
                    let known = train.with(attribute, values)?;
                    folders.write(&attribute_file(attribute), &known)?;
                }
            }
            Self::Presidio => {
                let made = presidio(folders)?;
                folders.write_whole(PRESIDIO_TEXTS, &made.texts)?;
                folders.write_whole(PRESIDIO_PUBLIC, &made.public)?;
                folders.write_whole(PRESIDIO_VALUES, &made.values)?;
            }
        }
        Ok(())
    }
}

/// Rows of SST's training file, evenly spread, for runs that are recorded frame by frame.
pub(crate) const SST_SHORT: &str = "sst-short.csv";

/// How many of them. An AUC over four fifths of them deviates by chance by 0.015.
const SST_SHORT_ROWS: usize = 2_000;

/// Rows of HappyDB's training file whose author's attribute is one of the two values.
pub(crate) fn attribute_file(attribute: &str) -> String {
    format!("happydb-{attribute}.csv")
}

/// The synthetic sentences whose spans are looked for.
pub(crate) const PRESIDIO_TEXTS: &str = "presidio-texts.csv";

/// Synthetic sentences of other templates, for an attacker.
pub(crate) const PRESIDIO_PUBLIC: &str = "presidio-public.csv";

/// The texts of the spans, each once.
pub(crate) const PRESIDIO_VALUES: &str = "presidio-values.csv";

/// The spans of [`PRESIDIO_TEXTS`], by rows of that file and of [`PRESIDIO_VALUES`].
///
/// # Errors
/// As [`DataSet::prepare`].
pub(crate) fn spans(folders: &Folders) -> Result<Spans> {
    presidio(folders).map(|made| Spans {
        list: made.spans,
        texts: made.texts.rows.len(),
        values: made.values.rows.len(),
    })
}

fn presidio(folders: &Folders) -> Result<formats::Synthetic> {
    let text = folders.read_text("presidio_synth_pii/synth_dataset_v2.json")?;
    formats::presidio(&text, if folders.quick { 5 } else { 1 })
}

fn mrpc(folders: &Folders, side: &str) -> Result<Sheet> {
    formats::mrpc(&folders.read_text(&format!("mrpc/msr_paraphrase_{side}.txt"))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_set_is_said_with_its_folder() {
        let folders = Folders {
            shared: PathBuf::from("/no/such/folder"),
            csv: PathBuf::from("/no/such/cache"),
            quick: false,
        };
        let error = DataSet::Sst.prepare(&folders).unwrap_err().to_string();
        assert!(
            error.contains("sst2_sentence") && error.contains("/no/such/folder"),
            "{error}"
        );
        assert!(error.contains(FOLDER_VARIABLE));
    }
}
