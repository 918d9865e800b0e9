//! A row: a data set, how its text is protected, and what is measured.

use serde_json::{Map, Value};

use super::data::DataSet;
use super::measure::Measure;

/// One line of an experiment's list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Unique in the experiment: what `--only` looks at.
    pub(crate) name: String,
    pub(crate) data: DataSet,
    /// Options of cut and privacy, as they are typed.
    pub(crate) options: String,
    pub(crate) measures: Vec<Measure>,
}

/// Cut, mechanism, level and contribution with its parameter; the last two may be empty.
pub(crate) type Setting = (u32, &'static str, &'static str, &'static str);

impl Row {
    /// A row of a list; its name says how it is set.
    pub(crate) fn new(data: DataSet, setting: Setting, measures: &[Measure]) -> Self {
        let (cut, mechanism, level, contribution) = setting;
        let mut name = format!("{}/{mechanism}", data.name());
        let mut options = format!("--cut {cut} --mechanism {mechanism}");
        if !level.is_empty() {
            name.push_str(&format!("-{level}"));
            options.push_str(&format!(" --protection {level}"));
        }
        let mut words = contribution.split_whitespace();
        if let Some(reading) = words.next() {
            name.push_str(&format!("-{}", contribution.replace(' ', "-")));
            options.push_str(&format!(" --contribution {reading}"));
        }
        if let Some(parameter) = words.next() {
            options.push_str(&format!(" --contribution-parameter {parameter}"));
        }
        if cut > 0 {
            name.push_str(&format!("-cut-{cut}"));
        }
        Self {
            name,
            data,
            options,
            measures: measures.to_vec(),
        }
    }

    /// Its name without the data set's.
    pub(crate) fn short_name(&self) -> &str {
        self.name
            .split_once('/')
            .map_or(&self.name, |(_, name)| name)
    }

    /// The value of an option of cut or privacy.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.options.split_whitespace();
        words.find(|word| word.strip_prefix("--") == Some(name))?;
        words.next().filter(|value| !value.starts_with("--"))
    }

    /// Its options as an object, for readers of the records.
    pub(crate) fn settings(&self) -> Value {
        let mut settings = Map::new();
        settings.insert("data".to_owned(), self.data.name().into());
        for word in self.options.split_whitespace() {
            if let Some(name) = word.strip_prefix("--") {
                let value = self.option(name).map_or(Value::Bool(true), Value::from);
                settings.insert(name.to_owned(), value);
            }
        }
        Value::Object(settings)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn name_and_options_say_the_same() {
        let row = Row::new(DataSet::Sst, (4, "vector", "0.90", "top 0.02"), &[]);
        assert_eq!(row.name, "sst/vector-0.90-top-0.02-cut-4");
        assert_eq!(row.short_name(), "vector-0.90-top-0.02-cut-4");
        let expected = "--cut 4 --mechanism vector --protection 0.90 --contribution top \
                        --contribution-parameter 0.02";
        assert_eq!(row.options, expected);
        let row = Row::new(DataSet::Mrpc, (0, "none", "", ""), &[]);
        assert_eq!(
            (row.name.as_str(), row.options.as_str()),
            ("mrpc/none", "--cut 0 --mechanism none")
        );
    }

    #[test]
    fn options_are_read_back() {
        let row = Row {
            options: "--cut 2 --mechanism token --label-dependent --protection 0.5".to_owned(),
            ..Row::new(DataSet::Sst, (2, "token", "0.5", ""), &[])
        };
        assert_eq!(row.option("protection"), Some("0.5"));
        assert_eq!(row.option("label-dependent"), None);
        assert_eq!(row.option("eta"), None);
        let expected = json!({
            "data": "sst", "cut": "2", "mechanism": "token", "label-dependent": true,
            "protection": "0.5",
        });
        assert_eq!(row.settings(), expected);
    }
}
